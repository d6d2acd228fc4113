"""TensorBoard: what is written, where a resumed run goes on, and what is said without it."""

import sys
from dataclasses import replace

import pytest
from training_data import Recorder, short_recipe

from srcnn_fused.errors import UserError
from srcnn_fused.train import Stopped, train
from srcnn_fused.training.board import TensorBoardMonitor
from srcnn_fused.training.monitor import Monitors


@pytest.fixture
def config(tmp_path):
    return replace(short_recipe(tmp_path), lr=1e-4, lr_last=1e-5)


class Writer:
    """Stands in for SummaryWriter: keeps what it is given."""

    def __init__(self, folder, purge_step):
        self.folder, self.purge_step = folder, purge_step
        self.scalars, self.images, self.closed = {}, {}, False

    def add_scalar(self, name, value, step):
        self.scalars.setdefault(name, {})[step] = value

    def add_image(self, name, image, step):
        self.images.setdefault(name, {})[step] = image

    def flush(self):
        pass

    def close(self):
        self.closed = True


def watched(config, recorder, **options):
    """Trains with a board; returns its writer."""
    board = TensorBoardMonitor(config, Writer)
    train(config, monitor=Monitors([board, recorder]), **options)
    return board._writer


def test_scalars_and_pictures_are_those_of_the_run(config, tmp_path):
    recorder = Recorder()
    writer = watched(config, recorder)
    assert writer.folder == tmp_path / "run" / "tensorboard"
    assert writer.scalars["validation/psnr"] == recorder.psnr
    losses = [loss for _, loss in recorder.steps]
    expected = {i: pytest.approx(sum(losses[i - 10 : i]) / 10) for i in (10, 20, 30, 40)}
    assert writer.scalars["train/loss"] == expected
    rates = writer.scalars["train/lr"]
    assert config.lr > rates[10] > rates[40] > 0
    assert all(speed > 0 for speed in writer.scalars["train/images_per_second"].values())
    assert writer.images["9/srcnn"].keys() == recorder.psnr.keys()
    assert writer.images["9/srcnn"][40].shape == writer.images["9/truth"][0].shape == (1, 48, 48)
    assert writer.closed


def test_a_resumed_run_forgets_what_came_after_its_checkpoint(config):
    recorder = Recorder()
    with pytest.raises(Stopped):
        train(config, monitor=recorder, should_stop=lambda: len(recorder.steps) == 15)
    writer = watched(config, Recorder(), resume=True)
    assert writer.purge_step == 16
    assert min(writer.scalars["train/loss"]) == 20


def test_the_real_tensorboard_reads_it(config, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    recorder = Recorder()
    train(replace(config, iterations=10), monitor=Monitors([TensorBoardMonitor(config), recorder]))
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    points = {point.step: point.value for point in events.Scalars("validation/psnr")}
    assert points == pytest.approx(recorder.psnr, rel=1e-6)
    assert events.Tags()["images"] == ["9/bicubic", "9/truth", "9/srcnn"]


def test_without_the_package_the_extra_is_named(config, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UserError, match=r"pip install 'srcnn_fused\[tensorboard\]'"):
        TensorBoardMonitor(config)
