"""What one step does: batches, warm-up, moving average, clipping, precision."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training_data import Recorder, short_recipe

from srcnn_fused import FusedSRCNN
from srcnn_fused.errors import UserError
from srcnn_fused.train import train
from srcnn_fused.training import network
from srcnn_fused.training.checkpoint import load_checkpoint
from srcnn_fused.training.ema import MovingAverage


@pytest.fixture
def config(tmp_path):
    return replace(short_recipe(tmp_path), iterations=4, validate_every=4)


def losses(config):
    recorder = Recorder()
    train(config, monitor=recorder)
    return [loss for _, loss in recorder.steps]


def weights(config):
    return load_checkpoint(Path(config.out) / "checkpoint.pt").model


def test_accumulated_batches_equal_one_large_batch(config, tmp_path):
    large = replace(config, batch=12, out=str(tmp_path / "large"))
    small = replace(config, batch=4, accumulate=3, out=str(tmp_path / "small"))
    assert losses(small) == pytest.approx(losses(large), rel=1e-4)
    expected = weights(large)
    for key, value in weights(small).items():
        torch.testing.assert_close(value, expected[key], atol=1e-5, rtol=1e-4)


def test_the_learning_rates_warm_up_before_the_schedule(config):
    config = replace(config, iterations=50, warmup=10)
    factors = [network.learning_rate_factor(config, i) for i in (0, 4, 9, 10, 30, 49)]
    assert factors == pytest.approx([0.1, 0.5, 1, 1, 0.5, 0.5 * (1 - 0.99692)], abs=1e-4)


def test_the_moving_average_follows_the_weights():
    model = FusedSRCNN(kernel_sizes=(9, 1, 5))
    start = model.conv2.weight.detach().clone()
    average = MovingAverage(model, 0.9)
    with torch.no_grad():
        model.conv2.weight.add_(1)
    average.update(model, 1)  # early on the start weighs 2 / 11
    torch.testing.assert_close(average.model.conv2.weight, start + 9 / 11)
    average.update(model, 10_000)
    torch.testing.assert_close(average.model.conv2.weight, start + 1 - 0.9 * 2 / 11)
    assert not average.model.conv2.weight.requires_grad


def test_the_moving_average_is_what_is_validated_and_saved(config):
    config = replace(config, ema=0.99, validate_every=1, lr=1e-4, lr_last=1e-5)
    recorder = Recorder()
    result = train(config, monitor=recorder)
    checkpoint = load_checkpoint(Path(config.out) / "checkpoint.pt")
    assert result.best_psnr == max(recorder.psnr.values())
    assert recorder.psnr[4] == result.best_psnr  # tiny steps, all uphill
    saved = FusedSRCNN.from_pretrained(result.model_path).state_dict()
    assert all(torch.equal(saved[key], value) for key, value in checkpoint.average.items())
    assert not torch.equal(saved["conv2.weight"], checkpoint.model["conv2.weight"])


def test_long_gradients_are_cut(config, tmp_path):
    free = replace(config, optimizer="sgd", lr=1e-4, lr_last=1e-4, iterations=1)
    free = replace(free, out=str(tmp_path / "free"))
    cut = replace(free, clip_grad=1e-3, out=str(tmp_path / "cut"))
    start = network.build_model(config, torch.device("cpu")).state_dict()
    steps = []
    for each in (free, cut):
        train(each)
        after = weights(each)
        steps.append(sum((after[key] - start[key]).square().sum() for key in start).sqrt().item())
    assert steps[1] == pytest.approx(1e-3 * 1e-4, rel=0.2)  # weights are near 1: few digits left
    assert steps[0] > 10 * steps[1]


def test_bfloat16_trains_on_the_cpu_through_the_reference(config, tmp_path):
    exact = losses(replace(config, out=str(tmp_path / "exact")))
    config = replace(config, precision="bfloat16")
    rounded = losses(config)
    assert rounded == pytest.approx(exact, rel=0.3)
    assert rounded != pytest.approx(exact, rel=1e-5)
    assert all(value.dtype == torch.float32 for value in weights(config).values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"precision": "float16"}, "--precision float16 needs a CUDA device"),
        (
            {"precision": "bfloat16", "backend": "fused"},
            "--precision bfloat16 on a CPU runs on the reference, not --backend fused",
        ),
    ],
)
def test_precisions_that_the_cpu_has_not_are_refused(config, change, message):
    with pytest.raises(UserError, match=message):
        train(replace(config, device="cpu", **change))
