"""PyTorch's own training tools around FusedSRCNN: none of them needs to know that it is fused.

Where the same kernels see the same values, results are equal to the bit; elsewhere gradients are
compared with float64 autograd of the reference.
"""

from __future__ import annotations

import copy
import datetime as dt
import functools
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from gradient_comparison import NAMES, assert_gradients_close, errors
from sample_inputs import Case
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from training_step import (
    ENLARGED,
    SMALL,
    TABLE,
    FusedCalls,
    assert_same_bits,
    every_case,
    exact_gradients,
    gradients,
    loss_of,
    plain_gradients,
    setup,
)

pytestmark = pytest.mark.usefixtures("extension")


@every_case
def test_a_plain_step_runs_fused_and_equals_float64(case: Case) -> None:
    with FusedCalls() as seen:
        actual = plain_gradients(case)
    assert [name for name, _ in seen.calls] == ["srcnn_forward", "srcnn_backward"]
    assert_gradients_close(actual, exact_gradients(case), NAMES[1:])


# --- torch.amp ------------------------------------------------------------------------------------


@every_case
def test_a_scaled_loss_makes_the_same_step(case: Case) -> None:
    plain, x, target = setup(case)
    scaled = copy.deepcopy(plain)
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.1, momentum=0.9) for m in (plain, scaled)]
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    for _ in range(2):
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss_of(plain, x, target).backward()
        optimizers[0].step()
        scaler.scale(loss_of(scaled, x, target)).backward()
        assert_same_bits([g / 2**16 for g in gradients(scaled)], gradients(plain))
        scaler.unscale_(optimizers[1])
        assert_same_bits(gradients(scaled), gradients(plain))
        scaler.step(optimizers[1])
        scaler.update()
        assert_same_bits(list(scaled.parameters()), list(plain.parameters()))


def test_the_scaler_skips_a_step_of_infinite_gradients() -> None:
    model, x, target = setup(SMALL)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    target[2, 0, 3, 3] = torch.inf
    scaler.scale(loss_of(model, x, target)).backward()
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 2.0**15
    assert_same_bits(list(model.parameters()), before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@every_case
def test_autocast_on_the_cpu_rounds_nothing(case: Case, dtype: torch.dtype) -> None:
    model, x, target = setup(case)
    with torch.autocast("cpu", dtype):
        loss = loss_of(model, x, target)
    loss.backward()
    assert_same_bits(gradients(model), plain_gradients(case))


def test_autocast_takes_what_16_bit_layers_hand_over() -> None:
    results = []
    for backend in ("fused", "reference"):
        model, x, target = setup(ENLARGED, backend)
        before = nn.Conv2d(1, 1, 3, padding=1)
        nn.init.constant_(before.weight, 0.1)
        nn.init.zeros_(before.bias)
        with torch.autocast("cpu", torch.bfloat16):
            handed = before(x)
            loss = loss_of(model, handed, target)
        loss.backward()
        assert handed.dtype == torch.bfloat16
        results.append([*gradients(model), *gradients(before)])
    assert {gradient.dtype for gradient in results[0]} == {torch.float32}
    for one, other in zip(*results, strict=True):  # the image's gradient is rounded to bfloat16
        assert errors(one, other.double())[0] < 1e-2


# --- gradient accumulation, checkpoints, saved tensors --------------------------------------------


@every_case
def test_micro_batches_add_up_to_the_batch(case: Case) -> None:
    model, x, target = setup(case)
    parts = []
    for image, wanted in zip(x.split(1), target.split(1), strict=True):
        loss = loss_of(model, image, wanted) / len(x)
        parts.append(torch.autograd.grad(loss, list(model.parameters()), retain_graph=True))
        loss.backward()
    sums = [functools.reduce(torch.add, each) for each in zip(*parts, strict=True)]
    assert_same_bits(gradients(model), sums)
    assert_gradients_close(gradients(model), exact_gradients(case), NAMES[1:])


@pytest.mark.parametrize("use_reentrant", [False, True])
@every_case
def test_checkpointed_it_gives_the_same(case: Case, use_reentrant: bool) -> None:
    results = []
    for through in (False, True):
        model, x, target = setup(case)
        x.requires_grad_()
        with FusedCalls() as seen:
            y = checkpoint(model, x, use_reentrant=use_reentrant) if through else model(x)
            F.mse_loss(y, target).backward()
        forwards = [name for name, _ in seen.calls].count("srcnn_forward")
        assert forwards == 1 + through
        results.append([x.grad, *gradients(model)])
    assert_same_bits(*results)


@pytest.mark.parametrize("scale", [None, 3])
def test_only_the_image_and_the_weights_are_saved(scale: int | None) -> None:
    case = Case(1, 1, "zeros", scale, "matlab", (1, 40, 30))

    def saved(backend: str) -> list[Tensor]:
        kept: list[Tensor] = []

        def keep(tensor: Tensor) -> Tensor:
            kept.append(tensor)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            model(x).mean().backward()
        return kept

    model, x, _ = setup(case)
    given = [x, *model.parameters()]
    kept = saved("fused")
    assert {tensor.data_ptr() for tensor in kept} <= {tensor.data_ptr() for tensor in given}
    assert sum(t.nbytes for t in kept) == sum(t.nbytes for t in given)
    model.backend = "reference"
    features = 96 * 4 * x.numel() * (scale or 1) ** 2
    assert sum(t.nbytes for t in saved("reference")) > features


def test_saved_tensors_may_be_moved_away_meanwhile() -> None:
    model, x, target = setup(ENLARGED)
    with torch.autograd.graph.save_on_cpu():
        loss = loss_of(model, x, target)
    loss.backward()
    assert_same_bits(gradients(model), plain_gradients(ENLARGED))


@pytest.mark.parametrize("changed", ["x", "conv3.bias"])
def test_what_changes_between_forward_and_backward_is_noticed(changed: str) -> None:
    model, x, target = setup(SMALL)
    loss = loss_of(model, x, target)
    with torch.no_grad():
        (x if changed == "x" else model.conv3.bias).add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


# --- second derivatives, torch.func ---------------------------------------------------------------


def penalty(model: nn.Module, x: Tensor) -> Tensor:
    """The squared norm of the image's gradient, as gradient penalties have it."""
    (gradient,) = torch.autograd.grad(model(x).square().sum(), x, create_graph=True)
    return gradient.square().sum()


@every_case
def test_a_gradient_penalty_names_the_backend_that_can(case: Case) -> None:
    model, x, _ = setup(case)
    x.requires_grad_()
    value = penalty(model, x)
    with pytest.raises(RuntimeError, match='no second derivative; use backend="reference"'):
        value.backward()
    model.backend = "reference"
    expected = penalty(model, x)
    torch.testing.assert_close(value, expected, rtol=1e-4, atol=0)
    expected.backward()
    assert all(gradient.isfinite().all() for gradient in gradients(model))


@every_case
def test_functional_call_runs_fused_on_other_weights(case: Case) -> None:
    model, x, target = setup(case)
    weights = {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    with FusedCalls() as seen:
        y = torch.func.functional_call(model, weights, (x,))
    F.mse_loss(y, target).backward()
    assert [name for name, _ in seen.calls] == ["srcnn_forward"]
    assert_same_bits([w.grad for w in weights.values()], plain_gradients(case))


def per_image_gradients(model: nn.Module, x: Tensor, target: Tensor) -> dict[str, Tensor]:
    def loss(weights: dict[str, Tensor], image: Tensor, wanted: Tensor) -> Tensor:
        y = torch.func.functional_call(model, weights, (image[None],))
        return F.mse_loss(y, wanted[None])

    weights = {name: parameter.detach() for name, parameter in model.named_parameters()}
    return torch.func.vmap(torch.func.grad(loss), (None, 0, 0))(weights, x, target)


@every_case
def test_per_image_gradients_take_the_reference(case: Case, fresh_warnings: None) -> None:
    model, x, target = setup(case, "auto")
    with pytest.warns(UserWarning, match="running the slower .* under torch.func"):
        found = per_image_gradients(model, x, target)
    means = [gradient.mean(0) for gradient in found.values()]
    assert_gradients_close(means, exact_gradients(case), NAMES[1:])
    model.backend = "fused"
    with pytest.raises(RuntimeError, match=r'^backend="fused" cannot run: .* under torch.func'):
        per_image_gradients(model, x, target)


def test_compiled_per_image_gradients_take_the_reference() -> None:
    torch._dynamo.reset()
    model, x, target = setup(SMALL, "auto")
    compiled = torch.compile(per_image_gradients, fullgraph=True, backend="aot_eager")
    found = compiled(model, x, target)
    means = [gradient.mean(0) for gradient in found.values()]
    assert_gradients_close(means, exact_gradients(SMALL), NAMES[1:])
    model.backend = "fused"
    compiled = torch.compile(per_image_gradients, backend="aot_eager")
    with pytest.raises(RuntimeError, match=r'backend="fused" cannot run: .* under torch.func'):
        compiled(model, x, target)


@every_case
def test_many_gradients_of_one_forward_at_once(case: Case) -> None:
    model, x, target = setup(case)
    x.requires_grad_()
    y = model(x)
    given = torch.stack((target, 2 * target - 1, y.detach()))
    wanted = [x, *model.parameters()]
    each = [torch.autograd.grad(y, wanted, one, retain_graph=True) for one in given]
    batched = torch.func.vmap(lambda one: torch.autograd.grad(y, wanted, one, retain_graph=True))(
        given
    )
    assert_same_bits(batched, [torch.stack(grads) for grads in zip(*each, strict=True)])


@pytest.mark.parametrize("axis", [0, 2])
def test_no_gradients_at_all_of_one_forward(axis: int) -> None:
    model, x, target = setup(SMALL)
    x.requires_grad_()
    y = model(x)
    wanted = [x, *model.parameters()]
    none = target.unsqueeze(axis).narrow(axis, 0, 0)
    batched = torch.func.vmap(
        lambda one: torch.autograd.grad(y, wanted, one, retain_graph=True), in_dims=axis
    )(none)
    assert [grad.shape for grad in batched] == [(0, *tensor.shape) for tensor in wanted]
    assert [grad.dtype for grad in batched] == [tensor.dtype for tensor in wanted]


def test_what_the_older_vmap_cannot_says_what_can() -> None:
    model, x, _ = setup(SMALL)
    x.requires_grad_()
    message = 'cannot take several gradients at once .* use backend="reference"'
    y = model(x)
    with pytest.raises(RuntimeError, match=message):
        torch.autograd.grad(y, x, torch.stack((y, y)).detach(), is_grads_batched=True)
    jacobian = functools.partial(torch.autograd.functional.jacobian, vectorize=True)
    with pytest.raises(RuntimeError, match=message):
        jacobian(lambda x: model(x)[0, 0, 0, :2], x)
    expected = torch.autograd.functional.jacobian(lambda x: model(x)[0, 0, 0, :2], x)
    model.backend = "reference"
    actual = jacobian(lambda x: model(x)[0, 0, 0, :2], x)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)


# --- torch.compile --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "compiler"),
    [*((case, "aot_eager") for case in TABLE), (ENLARGED, "inductor")],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_compiled_step_has_no_graph_break_and_gives_the_same(case: Case, compiler: str) -> None:
    torch._dynamo.reset()
    model, x, target = setup(case)
    compiled = torch.compile(loss_of, fullgraph=True, backend=compiler)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    compiled(model, x, target).backward()
    assert_gradients_close(gradients(model), exact_gradients(case), NAMES[1:])
    optimizer.step()  # and again with other weights, without compiling again
    optimizer.zero_grad()
    with torch.compiler.set_stance("fail_on_recompile"):
        loss = compiled(model, x, target)
    loss.backward()
    actual = gradients(model)
    optimizer.zero_grad()
    loss_of(model, x, target).backward()
    for one, other in zip(actual, gradients(model), strict=True):
        assert errors(one, other.double())[0] < 1e-5


# --- DistributedDataParallel ----------------------------------------------------------------------

DDP_OPTIONS: dict[str, dict[str, bool]] = {
    "plain": {},
    "static_graph": {"static_graph": True},
    "bucket_view": {"gradient_as_bucket_view": True},
}
STEPS = 2


def one_of_two(rank: int, folder: str) -> None:
    """Trains on this process's half of the batch; writes the gradients of every step."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/rendezvous",
        rank=rank,
        world_size=2,
        timeout=dt.timedelta(seconds=120),
    )
    found = {}
    for case in TABLE:
        for name, options in DDP_OPTIONS.items():
            model, x, target = setup(case)
            replica = nn.parallel.DistributedDataParallel(model, **options)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
            steps = []
            for _ in range(STEPS):
                optimizer.zero_grad()
                loss_of(replica, x.chunk(2)[rank], target.chunk(2)[rank]).backward()
                steps.append([gradient.clone() for gradient in gradients(model)])
                optimizer.step()
            found[case.name, name] = steps
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_available(), reason="this torch has no distributed")
def test_two_processes_train_as_one_does(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(one_of_two, (str(tmp_path),), nprocs=2)
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    assert len(found[0]) == len(TABLE) * len(DDP_OPTIONS)
    for case in TABLE:
        model, x, target = setup(case)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        for step in range(STEPS):
            halves = [
                torch.autograd.grad(loss_of(model, *half), list(model.parameters()))
                for half in zip(x.chunk(2), target.chunk(2), strict=True)
            ]
            for parameter, *parts in zip(model.parameters(), *halves, strict=True):
                parameter.grad = parts[0] / 2 + parts[1] / 2
            for name in DDP_OPTIONS:
                for one in found:
                    assert_same_bits(one[case.name, name][step], gradients(model))
            if step == 0:
                assert_gradients_close(gradients(model), exact_gradients(case), NAMES[1:])
            optimizer.step()
