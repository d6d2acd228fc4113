"""Training: it learns, it goes on exactly, and it loses nothing when something goes wrong."""

import errno
import json
from dataclasses import replace

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from training_data import Recorder, edges, short_recipe

from srcnn_fused import FusedSRCNN, evaluate
from srcnn_fused.errors import UserError
from srcnn_fused.train import Monitor, Stopped, train
from srcnn_fused.training import checkpoint, loop, network


@pytest.fixture
def config(tmp_path):
    return short_recipe(tmp_path)


def build_model(config):
    return network.build_model(config, torch.device("cpu"))


def weights(folder, name="9-1-5-x2"):
    """A run's model file, as bytes of its tensors."""
    with safe_open(folder / f"{name}.safetensors", framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118


def state(folder):
    return torch.load(folder / "checkpoint.pt", weights_only=True)


def assert_same(a, b):
    """Equal to the bit, all the way down."""
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    else:
        assert a == b or (a != a and b != b)


def test_training_beats_bicubic_within_seconds(config, tmp_path):
    recorder = Recorder()
    result = train(replace(config, iterations=100, validate_every=50), monitor=recorder)
    bicubic = evaluate.evaluate(FusedSRCNN.from_pretrained(result.model_path), config.val)
    bicubic_psnr = bicubic.mean["bicubic"]["psnr"]
    assert recorder.psnr[0] == pytest.approx(bicubic_psnr, abs=0.5)  # starts as the identity
    assert result.best_psnr > bicubic_psnr + 0.2
    assert result.best_psnr == max(recorder.psnr.values())
    assert bicubic.mean["srcnn"]["psnr"] == pytest.approx(result.best_psnr, abs=0.01)


def test_sgd_with_the_papers_rates_learns(config):
    recorder = Recorder()
    paper = {"optimizer": "sgd", "lr": 1e-4, "lr_last": 1e-5, "schedule": "constant"}
    train(replace(config, iterations=60, **paper), monitor=recorder)
    assert recorder.psnr[60] > recorder.psnr[0] + 0.02


def test_the_model_file_says_how_it_was_made(config, tmp_path):
    result = train(replace(config, iterations=10, padding_mode="zeros"))
    assert result.model_path == tmp_path / "run" / "9-1-5-x2.safetensors"
    with safe_open(result.model_path, framework="pt") as file:
        header = json.loads(file.metadata()["srcnn_fused"])
    assert header["kernel_sizes"] == [9, 1, 5]
    assert (header["scale"], header["bicubic"], header["padding_mode"]) == (2, "matlab", "zeros")
    training = header["metadata"]["training"]
    assert training["data"] == ["data"]  # names, no paths
    assert training["lr"] == config.lr
    assert str(tmp_path) not in json.dumps(header)
    model = FusedSRCNN.from_pretrained(result.model_path)
    assert (model.scale, model.padding_mode) == (2, "zeros")


@pytest.mark.parametrize(("optimizer", "lr_last"), [("adam", 1e-4), ("sgd", 1e-5)])
def test_resuming_gives_the_uninterrupted_run_to_the_bit(config, tmp_path, optimizer, lr_last):
    config = replace(config, optimizer=optimizer, lr=1e-4, lr_last=lr_last)
    straight = replace(config, out=str(tmp_path / "straight"))
    train(straight)

    stop_at = 23  # between two validations and two checkpoints
    recorder = Recorder()
    with pytest.raises(Stopped, match="stopped after 23 iterations"):
        train(config, monitor=recorder, should_stop=lambda: len(recorder.steps) == stop_at)
    assert state(tmp_path / "run")["iteration"] == stop_at
    train(config, resume=True)

    expected, actual = state(tmp_path / "straight"), state(tmp_path / "run")
    assert expected.pop("config") != actual.pop("config")  # they differ in --out alone
    assert_same(actual, expected)
    assert_same(weights(tmp_path / "run"), weights(tmp_path / "straight"))
    history = [(tmp_path / name / "history.csv").read_text() for name in ("run", "straight")]
    assert history[0] == history[1]
    assert history[0].count("\n") == 1 + 5  # header; iterations 0, 10, 20, 30, 40


def test_a_crash_costs_the_steps_since_the_checkpoint_and_no_more(config, tmp_path):
    train(replace(config, out=str(tmp_path / "straight")))

    class Crash(Monitor):
        def stepped(self, iteration, loss):
            if iteration == 27:
                raise MemoryError

    with pytest.raises(MemoryError):
        train(config, monitor=Crash())
    assert state(tmp_path / "run")["iteration"] == 20
    recorder = Recorder()
    train(config, resume=True, monitor=recorder)
    assert recorder.steps[0][0] == 21
    assert_same(weights(tmp_path / "run"), weights(tmp_path / "straight"))


def test_resuming_a_finished_run_changes_nothing(config, tmp_path):
    first = train(config)
    before = first.model_path.read_bytes()
    again = train(config, resume=True)
    assert again == first
    assert first.model_path.read_bytes() == before


def test_a_checkpoint_of_another_version_is_refused(config, tmp_path):
    train(replace(config, iterations=10))
    path = tmp_path / "run" / "checkpoint.pt"
    torch.save({**torch.load(path, weights_only=True), "format": 1}, path)
    with pytest.raises(UserError, match="was written by another version of this program"):
        train(replace(config, iterations=10), resume=True)


def test_a_checkpoint_is_written_in_time_however_slow_the_steps_are(config, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    reached = []

    class Look(Monitor):
        def stepped(self, iteration, loss):
            path = tmp_path / "run" / "checkpoint.pt"
            reached.append(state(tmp_path / "run")["iteration"] if path.exists() else 0)

    train(replace(config, iterations=4, checkpoint_every=1000), monitor=Look())
    assert reached == [0, 1, 2, 3]


def test_a_disk_that_fills_up_leaves_the_older_checkpoint(config, tmp_path, monkeypatch):
    real_save = torch.save

    def save(content, path):
        if content["iteration"] < 20:
            return real_save(content, path)
        path.write_bytes(b"half a checkpoint")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(UserError, match=r"checkpoint\.pt cannot be written: No space left"):
        train(config)
    monkeypatch.undo()
    assert state(tmp_path / "run")["iteration"] == 10
    names = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert names == ["9-1-5-x2.safetensors", "checkpoint.pt", "history.csv"]


def test_an_existing_run_is_not_overwritten_unasked(config, tmp_path):
    short = replace(config, iterations=10)
    train(short)
    before = state(tmp_path / "run")
    with pytest.raises(
        UserError, match=r"run holds a run already .*--resume continues it, --overwrite starts over"
    ):
        train(replace(short, seed=1))
    assert_same(state(tmp_path / "run"), before)
    train(replace(short, seed=1), overwrite=True)
    assert state(tmp_path / "run")["config"]["seed"] == 1


def test_overwriting_waits_until_everything_is_read(config, tmp_path):
    short = replace(config, iterations=10)
    train(short)
    with pytest.raises(UserError, match="elsewhere does not exist"):
        train(replace(short, data=(str(tmp_path / "elsewhere"),)), overwrite=True)
    assert state(tmp_path / "run")["iteration"] == 10


def test_other_files_in_the_folder_of_a_run_stay(config, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    train(replace(config, iterations=10))
    train(replace(config, iterations=10), overwrite=True)
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"


def test_resuming_needs_a_run_of_the_same_recipe_on_the_same_images(config, tmp_path):
    with pytest.raises(
        UserError, match=r"there is no run to resume: .*checkpoint\.pt does not exist"
    ):
        train(config, resume=True)
    train(replace(config, iterations=10))
    with pytest.raises(UserError, match="--iterations is 40, but the run to resume has 10"):
        train(config, resume=True)
    with pytest.raises(UserError, match=r"--lr is 0\.5, but the run to resume has 0\.001"):
        train(replace(config, iterations=10, lr=0.5), resume=True)
    Image.fromarray(edges(5)).save(tmp_path / "data" / "new.png")
    with pytest.raises(UserError, match="the images in --data are not those"):
        train(replace(config, iterations=10), resume=True)


@pytest.mark.parametrize(
    "content",
    [b"", b"nonsense", None, b"\x80\x02R."],
    ids=["empty", "nonsense", "cut", "a pickle that calls nothing"],
)
def test_a_damaged_checkpoint_is_named(config, tmp_path, content):
    train(replace(config, iterations=10))
    path = tmp_path / "run" / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:5000] if content is None else content)
    with pytest.raises(UserError, match=r"checkpoint\.pt cannot be read as a checkpoint: .+"):
        train(replace(config, iterations=10), resume=True)


def test_a_checkpoint_of_the_old_format_cut_anywhere_is_refused(tmp_path):
    path = tmp_path / "checkpoint.pt"
    content = {"format": 1, "history": [(1, 2.0, 3.0)], "model": {"weight": torch.zeros(3)}}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"checkpoint\.pt cannot be read as a checkpoint: .+$"):
            checkpoint.load_checkpoint(path)


def test_a_file_that_is_no_checkpoint_is_refused(config, tmp_path):
    (tmp_path / "run").mkdir()
    torch.save({"weight": torch.zeros(3)}, tmp_path / "run" / "checkpoint.pt")
    with pytest.raises(UserError, match=r"checkpoint\.pt cannot be read as a checkpoint"):
        train(config, resume=True)


def test_a_loss_that_explodes_stops_before_it_reaches_a_file(config, tmp_path):
    with pytest.raises(
        UserError, match=r"the loss became (nan|inf) after \d+ iterations: .*lower --lr"
    ):
        train(replace(config, lr=1e30))
    assert all(tensor.isfinite().all() for tensor in weights(tmp_path / "run").values())


def test_weights_that_are_not_finite_are_not_saved(config, tmp_path, monkeypatch):
    model = build_model(config)
    monkeypatch.setattr("srcnn_fused.train.build_model", lambda config, device: model)

    class Spoil(Monitor):
        def stepped(self, iteration, loss):
            if iteration == 20:
                model.conv2.weight.data.fill_(float("inf"))

    with pytest.raises(UserError, match="the weights are no longer finite after 20 iterations"):
        train(config, monitor=Spoil())
    assert state(tmp_path / "run")["iteration"] == 10


def test_a_resumed_run_does_not_need_the_model_it_began_from(config, tmp_path):
    first = train(replace(config, iterations=10))
    other = replace(config, out=str(tmp_path / "other"), init=str(first.model_path))
    recorder = Recorder()
    with pytest.raises(Stopped):
        train(other, monitor=recorder, should_stop=lambda: len(recorder.steps) == 12)
    first.model_path.unlink()
    assert train(other, resume=True).iteration == 40


def test_init_starts_from_another_model(config, tmp_path):
    first = train(replace(config, iterations=20))
    recorder = Recorder()
    other = replace(config, out=str(tmp_path / "other"), init=str(first.model_path), iterations=10)
    train(other, monitor=recorder)
    assert recorder.psnr[0] == pytest.approx(first.best_psnr, abs=1e-6)
    with pytest.raises(UserError, match="--init: no model 'nowhere'"):
        train(replace(other, init="nowhere", out=str(tmp_path / "third")))


def test_bad_images_are_named(config, tmp_path):
    (tmp_path / "data" / "broken.png").write_bytes(b"not a picture")
    with pytest.raises(UserError, match=r"broken\.png: is not an image of a kind"):
        train(config)
    with pytest.raises(UserError, match=r"elsewhere does not exist"):
        train(replace(config, val=str(tmp_path / "elsewhere")), overwrite=True)
    with pytest.raises(UserError, match=r"no image of .*val is large enough .*: 112x112"):
        train(replace(config, data=(config.val,), crop=100), overwrite=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"network": "9-1"},
            "--network must be three odd kernel sizes such as 9-1-5, or more, got '9-1'",
        ),
        ({"network": "9-2-5"}, "--network must be three odd kernel sizes"),
        ({"widths": "64"}, "--widths must be two numbers from 1 to 4096 such as 64-32, got '64'"),
        ({"widths": "0-32"}, "--widths must be two numbers"),
        (
            {"network": "9-1-1-5"},
            "--widths must be 3 numbers from 1 to 4096 such as 64-32-16 for the 4 layers of "
            "9-1-1-5, got '64-32'",
        ),
        ({"color": "cmyk"}, r"--color must be luma\|rgb\|ycbcr, got 'cmyk'"),
        (
            {"color": "ycbcr", "padding_mode": "zeros"},
            "--color ycbcr needs --padding-mode replicate",
        ),
        ({"scale": 1}, "--scale must be at least 2, got 1"),
        ({"batch": 0}, "--batch must be at least 1, got 0"),
        ({"validate_every": 0}, "--validate-every must be at least 1, got 0"),
        ({"accumulate": 0}, "--accumulate must be at least 1, got 0"),
        ({"warmup": 40}, "--warmup must be less than the 40 iterations, got 40"),
        ({"ema": 1.0}, r"--ema must be a decay from 0 to below 1, got 1\.0"),
        ({"clip_grad": -1.0}, r"--clip-grad must be a positive norm or 0, got -1\.0"),
        ({"precision": "half"}, r"--precision must be float32\|bfloat16\|float16, got 'half'"),
        ({"lr": -1.0}, "--lr must be a positive number, got -1.0"),
        ({"lr_last": float("nan")}, "--lr-last must be a positive number, got nan"),
        ({"optimizer": "lion"}, r"--optimizer must be adam\|sgd, got 'lion'"),
        ({"bicubic": "scipy"}, r"--bicubic must be matlab\|pil\|torch, got 'scipy'"),
        ({"data": ()}, "--data must name at least one folder of images"),
    ],
)
def test_settings_that_make_no_sense_are_refused(config, tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        train(replace(config, **change))
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_without_a_device_is_refused(config):
    with pytest.raises(UserError, match="--device cuda: no CUDA device is available"):
        train(replace(config, device="cuda"))


def test_unpadded_training_sees_what_the_padded_network_computes_inside(config):
    model = build_model(replace(config, network="9-3-5"))
    torch.nn.init.normal_(model.conv3.weight, std=0.1)
    x = torch.rand(2, 1, 30, 33)
    radius = network.receptive_radius(model)
    assert radius == 4 + 1 + 2
    padded = FusedSRCNN(kernel_sizes=(9, 3, 5), backend="reference")
    padded.load_state_dict(model.state_dict())
    inside = padded(x)[..., radius:-radius, radius:-radius]
    torch.testing.assert_close(network.forward_unpadded(model, x, "auto"), inside)


@pytest.mark.usefixtures("extension")
def test_auto_takes_the_fused_step_where_there_is_one_both_ways(config, monkeypatch):
    calls = []
    real = network.functional.srcnn

    def srcnn(*args, **kwargs):
        calls.append(kwargs["backend"])
        return real(*args, **kwargs)

    monkeypatch.setattr(network.functional, "srcnn", srcnn)
    x = torch.rand(1, 1, 20, 20)
    network.forward_unpadded(build_model(config), x, "auto")
    assert calls == ["fused"]
    network.forward_unpadded(build_model(replace(config, widths="32-16")), x, "auto")
    monkeypatch.setattr(network.ops, "has_fused_backward", lambda device: False)
    network.forward_unpadded(build_model(config), x, "auto")
    assert calls == ["fused"]


@pytest.mark.usefixtures("extension")
def test_the_fused_backend_trains_as_the_reference_does(config, tmp_path):
    losses = {}
    for backend in ("reference", "fused"):
        recorder = Recorder()
        out = str(tmp_path / backend)
        train(replace(config, iterations=5, backend=backend, out=out), monitor=recorder)
        losses[backend] = [loss for _, loss in recorder.steps]
    assert losses["fused"] == pytest.approx(losses["reference"], rel=1e-3)


def test_the_fused_backend_is_refused_where_there_is_no_kernel(config):
    with pytest.raises(UserError, match=r"--backend fused cannot run: .+"):
        train(replace(config, network="7-1-5", backend="fused"))


def test_learning_rates_are_per_layer_and_follow_the_schedule(config):
    model = build_model(config)
    first, last = network.build_optimizer(model, replace(config, lr=0.1, lr_last=0.2)).param_groups
    assert {id(p) for p in first["params"]} == {
        id(p) for conv in (model.conv1, model.conv2) for p in conv.parameters()
    }
    assert {id(p) for p in last["params"]} == {id(p) for p in model.conv3.parameters()}
    assert (first["lr"], last["lr"]) == (0.1, 0.2)
    factors = [network.learning_rate_factor(config, i) for i in (0, 20, 40)]
    assert factors == pytest.approx([1, 0.5, 0])
    assert network.learning_rate_factor(replace(config, schedule="constant"), 39) == 1


def test_a_checkpoint_is_read_back_as_it_was_written(config, tmp_path):
    train(replace(config, iterations=10))
    loaded = checkpoint.load_checkpoint(tmp_path / "run" / "checkpoint.pt")
    assert loaded.config == replace(config, iterations=10)
    assert loaded.history[-1][0] == loaded.iteration == 10
