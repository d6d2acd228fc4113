"""Models that train fused: in 16 bits, partly frozen, parametrized, copied; and their optimizers.

Where the same kernels see the same values, results are equal to the bit; elsewhere gradients are
compared with float64 autograd of the reference.
"""

from __future__ import annotations

import copy
import functools
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from gradient_comparison import assert_gradients_close, errors
from sample_inputs import Case
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize
from torch.optim.swa_utils import AveragedModel
from training_step import (
    ENLARGED,
    SMALL,
    FusedCalls,
    assert_same_bits,
    every_case,
    exact_gradients,
    gradients,
    loss_of,
    plain_gradients,
    setup,
)

from srcnn_fused import FusedSRCNN

pytestmark = pytest.mark.usefixtures("extension")


# --- models in 16 bits ----------------------------------------------------------------------------


def assert_gradients_near_float64(
    model: FusedSRCNN, x: Tensor, target: Tensor, tolerance: float
) -> None:
    """The model's own gradients, against those of its rounded weights, image and target."""
    exact = copy.deepcopy(model).double()
    exact.backend = "reference"
    exact.zero_grad()
    loss_of(exact, x.double(), target.double()).backward()
    for actual, expected in zip(gradients(model), gradients(exact), strict=True):
        assert actual.dtype == x.dtype
        assert errors(actual, expected)[0] < tolerance


@every_case
def test_a_bfloat16_model_trains_fused(case: Case) -> None:
    model, x, target = setup(case, "fused", torch.bfloat16)
    with FusedCalls() as seen:
        loss_of(model, x, target).backward()
    assert [name for name, _ in seen.calls] == ["srcnn_forward", "srcnn_backward"]
    assert_gradients_near_float64(model, x, target, 2e-2)
    before = model.conv1.bias.detach().clone()
    torch.optim.SGD(model.parameters(), lr=1.0).step()
    assert not torch.equal(model.conv1.bias, before)


def test_a_float16_model_trains_on_the_reference_and_says_so(fresh_warnings: None) -> None:
    model, x, target = setup(SMALL, "auto", torch.float16)
    with pytest.warns(UserWarning, match=r"no fused kernel for torch.float16 on cpu"):
        loss_of(model, x, target).backward()
    assert_gradients_near_float64(model, x, target, 2e-2)
    model.backend = "fused"
    with pytest.raises(RuntimeError, match=r"no fused kernel for torch.float16 on cpu"):
        model(x)


# --- frozen layers, parametrizations, optimizers --------------------------------------------------


@pytest.mark.parametrize(
    "frozen",
    ["conv1", "conv2", "conv3", "conv1 conv2", "weight", "bias", "conv1 conv2 conv3"],
)
@pytest.mark.parametrize("case", [SMALL, ENLARGED], ids=lambda case: case.name)
def test_frozen_parameters_get_no_gradient_and_cost_none(case: Case, frozen: str) -> None:
    model, x, target = setup(case)
    x.requires_grad_(frozen == "conv1 conv2 conv3")
    wanted = [x.requires_grad]
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not any(part in frozen.split() for part in name.split(".")))
        wanted.append(parameter.requires_grad)
    with FusedCalls() as seen:
        loss_of(model, x, target).backward()
    name, arguments = seen.calls[-1]
    assert name == "srcnn_backward"
    assert list(arguments[11]) == wanted
    for (name, parameter), exact in zip(
        model.named_parameters(), exact_gradients(case), strict=True
    ):
        if parameter.requires_grad:
            assert_gradients_close([parameter.grad], [exact], [name])
        else:
            assert parameter.grad is None
    assert (x.grad is not None) == wanted[0]


class ZeroSum(nn.Module):
    """Filters that see no mean brightness."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight - weight.mean(dim=(2, 3), keepdim=True)


@every_case
def test_parametrized_weights_train(case: Case) -> None:
    found = []
    for backend, dtype in (("fused", torch.float32), ("reference", torch.float64)):
        model, x, target = setup(case, backend, dtype)
        parametrize.register_parametrization(model.conv1, "weight", ZeroSum())
        parametrizations.weight_norm(model.conv2)
        loss_of(model, x, target).backward()
        found.append({name: parameter.grad for name, parameter in model.named_parameters()})
    assert "conv1.parametrizations.weight.original" in found[0]
    assert len(found[0]) == 7  # weight_norm has made two of one
    for name, expected in found[1].items():
        assert errors(found[0][name], expected)[0] < 1e-4, name


def test_a_channels_last_model_trains() -> None:
    model, x, target = setup(ENLARGED)
    model = model.to(memory_format=torch.channels_last)
    loss_of(model, x.to(memory_format=torch.channels_last), target).backward()
    for conv in (model.conv1, model.conv2, model.conv3):
        assert conv.weight.grad.is_contiguous(memory_format=torch.channels_last)
    assert_same_bits(gradients(model), plain_gradients(ENLARGED))


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": functools.partial(torch.optim.SGD, lr=0.05, momentum=0.9, nesterov=True),
    "adam": functools.partial(torch.optim.Adam, lr=1e-3, eps=1e-3, amsgrad=True),
    "adamw": functools.partial(torch.optim.AdamW, lr=1e-3, eps=1e-3),
    "rmsprop": functools.partial(torch.optim.RMSprop, lr=1e-3, eps=1e-3),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_of_many_tensors_at_once_step_alike(name: str) -> None:
    trained = []
    for backend, foreach in (("fused", True), ("fused", False), ("reference", False)):
        model, x, target = setup(SMALL, backend)
        optimizer = OPTIMIZERS[name](model.parameters(), foreach=foreach)
        for _ in range(3):
            optimizer.zero_grad(set_to_none=not foreach)
            loss_of(model, x, target).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5, foreach=foreach)
            optimizer.step()
        trained.append(list(model.parameters()))
    start = list(setup(SMALL)[0].parameters())
    for one, other, reference, first in zip(*trained, start, strict=True):
        assert (one - first).norm() > 1e-4
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
        assert (one - reference).norm() <= 1e-2 * (one - first).norm()


# --- copies ---------------------------------------------------------------------------------------


def saved_and_loaded(pair: Any) -> Any:
    buffer = io.BytesIO()
    torch.save(pair, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


COPIES: dict[str, Callable[[Any], Any]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda pair: pickle.loads(pickle.dumps(pair)),
    "torch.save": saved_and_loaded,
}


@pytest.mark.parametrize("make", COPIES.values(), ids=COPIES)
def test_a_copy_goes_on_training_as_the_original_does(make: Callable[[Any], Any]) -> None:
    model, x, target = setup(ENLARGED)
    optimizer: torch.optim.Optimizer = torch.optim.Adam(model.parameters())

    def train(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[Tensor]:
        for _ in range(2):
            optimizer.zero_grad()
            loss_of(model, x, target).backward()
            optimizer.step()
        return [parameter.detach().clone() for parameter in model.parameters()]

    halfway = train(model, optimizer)
    clone, its_optimizer = make((model, optimizer))
    after = train(model, optimizer)
    assert_same_bits(list(clone.parameters()), halfway)  # has memory of its own
    assert_same_bits(train(clone, its_optimizer), after)
    assert not torch.equal(after[0], halfway[0])


def test_an_averaged_model_runs_fused() -> None:
    model, x, _ = setup(ENLARGED)
    average = AveragedModel(model)
    average.update_parameters(model)
    with torch.no_grad(), FusedCalls() as seen:
        assert torch.equal(average(x), model(x))
    assert [name for name, _ in seen.calls] == ["srcnn_forward"] * 2
