"""Networks of other widths and colours, and networks that grow from smaller ones."""

from dataclasses import replace

import pytest
import torch
from training_data import Recorder, coloured_edges, short_recipe

from srcnn_fused import FusedSRCNN, colour, evaluate, pretrained
from srcnn_fused.data import luma8, read_image
from srcnn_fused.errors import UserError
from srcnn_fused.train import train
from srcnn_fused.training import color_space, growth, network

CPU = torch.device("cpu")


@pytest.fixture
def config(tmp_path):
    return short_recipe(tmp_path, coloured_edges)


def random_network(channels=1, sizes=(9, 1, 5), **options):
    """Every weight and bias drawn, biases and all, for images in [0, 1]."""
    model = FusedSRCNN(channels, kernel_sizes=sizes, backend="reference", **options)
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        fan_in = max(1, parameter[0].numel())
        torch.nn.init.normal_(parameter, std=fan_in**-0.5, generator=generator)
    return model


@pytest.mark.parametrize("color", ["rgb", "ycbcr"])
def test_networks_of_three_channels_beat_bicubic(config, tmp_path, color):
    recorder = Recorder()
    config = replace(
        config, color=color, iterations=60, lr=2e-4, lr_last=1e-4 if color == "ycbcr" else 1e-3
    )
    result = train(config, monitor=recorder)
    assert result.model_path == tmp_path / "run" / f"9-1-5-x2-{color}.safetensors"
    # The file's network takes and gives RGB, whatever it trained as, and its luma is measured.
    model = FusedSRCNN.from_pretrained(result.model_path)
    report = evaluate.evaluate(model, config.val)
    assert model.num_channels == 3
    assert report.mean["srcnn"]["psnr"] == pytest.approx(result.best_psnr, abs=0.01)
    assert recorder.psnr[0] == pytest.approx(report.mean["bicubic"]["psnr"], abs=0.2)
    assert result.best_psnr > report.mean["bicubic"]["psnr"] + (0.01 if color == "ycbcr" else 0.1)


def test_a_resumed_run_finds_its_model_under_the_name_it_once_had(config):
    config = replace(config, color="rgb", iterations=2, lr=1e-6, lr_last=1e-6)
    result = train(config)
    best = result.model_path.read_bytes()
    former = result.model_path.rename(result.model_path.with_name("9-1-5-rgb-x2.safetensors"))
    assert train(config, resume=True).model_path.read_bytes() == best
    assert not former.exists()


def test_a_model_under_its_former_name_is_a_run_which_overwriting_removes(config):
    config = replace(config, color="rgb", iterations=2, lr=1e-6, lr_last=1e-6)
    run = train(config).model_path.parent
    former = run / "9-1-5-rgb-x2.safetensors"
    (run / "9-1-5-x2-rgb.safetensors").rename(former)
    for name in ("checkpoint.pt", "history.csv"):
        (run / name).unlink()
    with pytest.raises(UserError, match=rf"holds a run already \({former.name}\): "):
        train(config)
    train(config, overwrite=True)
    names = sorted(path.name for path in run.iterdir())
    assert names == ["9-1-5-x2-rgb.safetensors", "checkpoint.pt", "history.csv"]


def test_a_network_of_ycbcr_is_kept_as_the_rgb_network_that_equals_it():
    model = random_network(3, padding_mode="replicate")
    rgb = torch.rand(2, 3, 14, 15)
    with torch.no_grad():
        expected = colour.ycbcr_to_rgb(model(colour.rgb_to_ycbcr(rgb)))
        before = model(rgb)
        color_space.ycbcr_as_rgb(model)
        torch.testing.assert_close(model(rgb), expected, atol=2e-5, rtol=0)
        assert (expected - before).abs().max() > 0.1
        color_space.rgb_as_ycbcr(model)
        torch.testing.assert_close(model(rgb), before, atol=2e-5, rtol=0)


def test_other_widths_train_on_the_reference(config, tmp_path):
    config = replace(config, widths="16-8", iterations=60, lr=5e-4, lr_last=1e-4)
    recorder = Recorder()
    result = train(replace(config, backend="reference"), monitor=recorder)
    assert result.model_path.name == "9-1-5-n16-8-x2.safetensors"
    assert FusedSRCNN.from_pretrained(result.model_path).widths == (16, 8)
    both = replace(config, color="rgb")
    assert both.model_name == "9-1-5-n16-8-x2-rgb"
    assert result.best_psnr > recorder.psnr[0] + 0.05
    with pytest.raises(UserError, match=r"--backend fused cannot run: .+"):
        train(replace(config, backend="fused", out=str(tmp_path / "fused")))


@pytest.mark.parametrize("color", ["luma", "ycbcr"])
def test_deeper_networks_train_from_about_bicubic_on(config, color):
    change = {"network": "9-1-3-5", "widths": "16-8-6", "color": color, "iterations": 60}
    config = replace(config, **change, lr=3e-4, lr_last=1e-4, backend="reference")
    recorder = Recorder()
    result = train(config, monitor=recorder)
    suffix = "" if color == "luma" else "-ycbcr"
    assert result.model_path.name == f"9-1-3-5-n16-8-6-x2{suffix}.safetensors"
    model = FusedSRCNN.from_pretrained(result.model_path, backend="reference")
    assert (model.kernel_sizes, model.widths) == ((9, 1, 3, 5), (16, 8, 6))
    report = evaluate.evaluate(model, config.val)
    assert report.mean["srcnn"]["psnr"] == pytest.approx(result.best_psnr, abs=0.01)
    if color == "luma":  # so few maps carry three channels less well
        assert recorder.psnr[0] == pytest.approx(report.mean["bicubic"]["psnr"], abs=0.2)
    assert result.best_psnr > recorder.psnr[0] + 0.01


def test_all_layers_but_the_last_learn_at_the_first_rate(config):
    model = FusedSRCNN(kernel_sizes=(9, 1, 1, 5), widths=(16, 8, 6))
    hidden, last = network.build_optimizer(model, config).param_groups
    assert [p is q for p, q in zip(hidden["params"], model.parameters(), strict=False)] == [
        True
    ] * 6
    assert last["params"] == list(model.conv4.parameters())
    assert (hidden["lr"], last["lr"]) == (config.lr, config.lr_last)


def test_the_step_of_a_deeper_network_gives_what_the_whole_network_has_inside():
    model = random_network(sizes=(5, 1, 3, 3), widths=(8, 6, 4))
    x = torch.rand(2, 1, 15, 14)
    with torch.no_grad():
        inside = network.forward_unpadded(model, x, "auto")
        radius = network.receptive_radius(model)
        assert radius == 4
        torch.testing.assert_close(
            inside, model(x)[..., radius:-radius, radius:-radius], atol=1e-5, rtol=0
        )


@pytest.mark.parametrize("padding_mode", ["zeros", "replicate"])
@pytest.mark.parametrize("sizes", [(9, 5, 5), (11, 3, 7)])
def test_a_larger_network_starts_as_the_smaller_one(sizes, padding_mode):
    small = random_network(padding_mode=padding_mode)
    large = random_network(sizes=sizes, padding_mode=padding_mode)
    growth.grow(small, large)
    x = torch.rand(1, 1, 12, 13)  # borders everywhere
    with torch.no_grad():
        torch.testing.assert_close(large(x), small(x), atol=1e-5, rtol=0)
    middle = large.conv2.weight[..., sizes[1] // 2, sizes[1] // 2]
    assert torch.equal(middle, small.conv2.weight[..., 0, 0])
    assert large.conv2.weight.count_nonzero() == small.conv2.weight.count_nonzero()


def test_a_deeper_network_starts_from_one_as_deep_and_from_no_other(config, tmp_path):
    small = random_network(sizes=(5, 1, 1, 3), widths=(8, 6, 4))
    large = random_network(sizes=(7, 3, 1, 3), widths=(8, 6, 4))
    growth.grow(small, large)
    x = torch.rand(1, 1, 12, 13)
    with torch.no_grad():
        torch.testing.assert_close(large(x), small(x), atol=1e-5, rtol=0)
    colours = random_network(3, sizes=(5, 1, 1, 3), widths=(8, 6, 4))
    reason = "a luma network of 4 layers cannot start one of colours, only one of 3 can"
    assert growth.why_not_grown(small, colours) == reason
    config = replace(config, init="9-1-5-x2", network="9-1-1-5", widths="64-32-16")
    with pytest.raises(UserError, match=r"cannot start a 9-1-1-5-.*: it has 3 layers, not 4"):
        network.build_model(config, CPU)


def test_training_goes_on_in_larger_kernels_where_the_smaller_ones_were(config, tmp_path):
    first = train(config)
    larger = replace(config, network="9-3-5", init=str(first.model_path), lr=1e-4)
    recorder = Recorder()
    train(replace(larger, out=str(tmp_path / "larger")), monitor=recorder)
    assert recorder.psnr[0] == pytest.approx(first.best_psnr, abs=1e-3)
    model = FusedSRCNN.from_pretrained(tmp_path / "larger" / "9-3-5-x2.safetensors")
    assert model.conv2.weight[..., 0, 0].abs().max() > 0  # what was zero learns too


@pytest.mark.parametrize("color", ["rgb", "ycbcr"])
def test_a_luma_network_starts_one_of_colours_near_its_own_psnr(config, color):
    init = "9-1-5-x3"
    config = replace(config, scale=3, init=init, color=color)
    model = network.finished(network.build_model(config, CPU), config)
    options = {"bicubic": "matlab", "num_channels": 3}
    grey = evaluate.load_samples(config.val, 3)
    samples = evaluate.load_samples(config.val, 3, **options)
    luma = evaluate.mean_psnr(FusedSRCNN.from_pretrained(init), grey, 3)
    assert evaluate.mean_psnr(model, samples, 3) == pytest.approx(luma, abs=0.1)
    # And its chroma is bicubic's.
    x = torch.rand(1, 3, 20, 20)
    model.scale = None
    model.backend = "reference"
    with torch.no_grad():
        chroma = colour.rgb_to_ycbcr(model(x))[:, 1:]
    torch.testing.assert_close(chroma, colour.rgb_to_ycbcr(x)[:, 1:], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": "7-1-5"}, r"its kernels are 9-1-5, larger than 7-1-5"),
        ({"widths": "32-16"}, r"its widths are 64-32, not 32-16"),
    ],
)
def test_a_network_that_does_not_fit_is_named(config, change, message):
    config = replace(config, init="9-1-5-x2", **change)
    with pytest.raises(UserError, match=rf"--init 9-1-5-x2 cannot start a .*: {message}"):
        network.build_model(config, CPU)


def test_a_network_of_colours_does_not_start_one_of_luma(config, tmp_path):
    pretrained_rgb = tmp_path / "rgb.safetensors"
    random_network(3).save_pretrained(pretrained_rgb)
    assert pretrained.load(pretrained_rgb)[1]["num_channels"] == 3
    with pytest.raises(UserError, match=r"it has 3 channels, not 1"):
        network.build_model(replace(config, init=str(pretrained_rgb)), CPU)


def test_grey_images_train_networks_of_colours_too(tmp_path):
    config = replace(short_recipe(tmp_path), color="rgb", iterations=2)
    assert luma8(read_image(next((tmp_path / "data").iterdir()))).shape == (48, 48)
    assert train(config).iteration == 2
