"""The range test on torch modules: everything is as it was afterwards."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from lettrine import health  # noqa: E402
from lettrine.errors import HealthError  # noqa: E402

KINDS: dict[str, Any] = {
    "sgd": lambda groups: torch.optim.SGD(groups, momentum=0.9),
    "adamw": torch.optim.AdamW,
    "adagrad": torch.optim.Adagrad,
    "capturable": lambda groups: torch.optim.Adam([{**g, "lr": torch.tensor(g["lr"])} for g in groups]),
    "lbfgs": lambda groups: torch.optim.LBFGS([p for g in groups for p in g["params"]], lr=0.1, max_iter=2),
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """These networks are too small to share out: on a busy machine threads wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def build(kind: str = "adamw") -> tuple[nn.Module, torch.optim.Optimizer, list[tuple[torch.Tensor, torch.Tensor]]]:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(6, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 4))
    groups = [{"params": list(model[0].parameters()), "lr": 0.004}, {"params": list(model[4].parameters()), "lr": 0.001}]
    teacher = nn.Linear(6, 4)
    batches = [(x := torch.randn(24, 6), teacher(x).argmax(1)) for _ in range(7)]
    return model, KINDS[kind](groups), batches


def state_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    return {
        "model": {name: value.clone() for name, value in model.state_dict().items()},
        "grads": [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        "optimizer": copy.deepcopy(optimizer.state_dict()),
        "identities": [id(v) for own in optimizer.state.values() for v in own.values() if isinstance(v, torch.Tensor)],
        "modes": [module.training for module in model.modules()],
        "random": torch.get_rng_state(),
    }


def assert_same(first: Any, second: Any) -> None:
    if isinstance(first, torch.Tensor):
        assert first.dtype == second.dtype
        assert torch.equal(first, second)
    elif isinstance(first, dict):
        assert list(first) == list(second)
        for key in first:
            assert_same(first[key], second[key])
    elif isinstance(first, list | tuple):
        assert len(first) == len(second)
        for a, b in zip(first, second, strict=True):
            assert_same(a, b)
    else:
        assert first == second


def train(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Any], steps: int) -> None:
    for step in range(steps):
        x, y = batches[step % len(batches)]

        def closure(x: torch.Tensor = x, y: torch.Tensor = y) -> torch.Tensor:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            return loss

        optimizer.step(closure)


@pytest.mark.parametrize("begun", [0, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_everything_is_bit_equal_afterwards_and_training_goes_on_as_if_nothing_had_been(kind: str, begun: int) -> None:
    model, optimizer, batches = build(kind)
    train(model, optimizer, batches, begun)
    model[1].eval()  # a norm that the user froze
    before = state_of(model, optimizer)
    health.lr_range(model, optimizer, nn.functional.cross_entropy, batches, steps=60)
    assert_same(before, state_of(model, optimizer))
    train(model, optimizer, batches, 3)
    other, its_optimizer, _ = build(kind)
    train(other, its_optimizer, batches, begun)
    other[1].eval()
    torch.set_rng_state(before["random"])
    train(other, its_optimizer, batches, 3)
    assert_same(dict(model.state_dict()), dict(other.state_dict()))


@pytest.mark.parametrize("at", [0, 7])
def test_everything_is_restored_when_an_exception_passes_through(at: int) -> None:
    model, optimizer, batches = build()
    train(model, optimizer, batches, 4)
    before, calls = state_of(model, optimizer), iter(range(100))

    def loss_fn(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if next(calls) == at:
            raise RuntimeError("in the middle")
        return nn.functional.cross_entropy(output, target)

    with pytest.raises(RuntimeError, match="in the middle"):
        health.lr_range(model, optimizer, loss_fn, batches, steps=60)
    assert_same(before, state_of(model, optimizer))


def test_groups_keep_their_ratios_and_the_highest_is_swept() -> None:
    model, optimizer, batches = build()
    seen: list[tuple[float, float]] = []
    handle = optimizer.register_step_pre_hook(lambda o, *_: seen.append((o.param_groups[0]["lr"], o.param_groups[1]["lr"])))
    found = health.lr_range(model, optimizer, nn.functional.cross_entropy, batches, low=1e-4, high=1.0, steps=40)
    handle.remove()
    assert [high for high, _ in seen[: len(found.rates)]] == pytest.approx(found.rates.tolist())
    assert all(low == pytest.approx(high / 4) for high, low in seen)
    assert [group["lr"] for group in optimizer.param_groups] == [0.004, 0.001]


def test_a_learnable_task_gets_a_suggestion_that_trains() -> None:
    model, optimizer, batches = build()
    found = health.lr_range(model, optimizer, nn.functional.cross_entropy, batches, steps=300)
    assert 1e-4 < found.suggestion < 0.3
    for group in optimizer.param_groups:
        group["lr"] = found.suggestion
    train(model, optimizer, batches, 100)
    model.eval()
    assert nn.functional.cross_entropy(model(batches[0][0]), batches[0][1]) < 0.5 * math.log(4)


def test_divergence_leaves_no_trace_in_the_weights() -> None:
    model, optimizer, batches = build("sgd")
    before = state_of(model, optimizer)
    found = health.lr_range(model, optimizer, nn.functional.cross_entropy, batches, high=1e6, steps=200)
    assert found.stopped
    assert_same(before, state_of(model, optimizer))


def test_what_cannot_be_swept_is_refused() -> None:
    model, optimizer, batches = build()
    loss = nn.functional.cross_entropy
    with pytest.raises(HealthError, match="ran out after 7"):
        health.lr_range(model, optimizer, loss, iter(batches), steps=60)
    with pytest.raises(HealthError, match="ran out after 0"):
        health.lr_range(model, optimizer, loss, [], steps=60)
    with pytest.raises(HealthError, match="expected a pair"):
        health.lr_range(model, optimizer, loss, [batches[0][0]], steps=60)
    with pytest.raises(HealthError, match="one number"):
        health.lr_range(model, optimizer, lambda a, b: loss(a, b, reduction="none"), batches, steps=60)
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    with pytest.raises(HealthError, match="all 0"):
        health.lr_range(model, optimizer, loss, batches, steps=60)
