"""Whatever an experiment does, everything is afterwards as it was, bit by bit."""

from __future__ import annotations

import copy
import os
import random
import signal
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from lettrine import health  # noqa: E402
from lettrine.torch.checkup import EXPERIMENTS  # noqa: E402
from lettrine.torch.checkup.making import make_task  # noqa: E402
from lettrine.torch.checkup.runner import perform  # noqa: E402
from lettrine.torch.checkup.sandbox import sandbox, uninterrupted  # noqa: E402
from lettrine.torch.checkup.task import Task  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Tripwire:
    """Raises at the n-th call of the model; not reachable from it."""

    def __init__(self) -> None:
        self.calls, self.at = 0, -1
        self.error: type[BaseException] = RuntimeError

    def __call__(self) -> None:
        self.calls += 1
        if self.calls == self.at:
            raise self.error("tripped")


WIRES = {"wire": Tripwire()}


class Full(nn.Module):
    """Everything that has a state: batch norm, dropout, a recurrent layer, a cache, a list, a counter, a generator."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(9, 12)
        self.norm = nn.BatchNorm1d(12)
        self.drop = nn.Dropout(0.2)
        self.rnn = nn.LSTM(12, 10, batch_first=True)
        self.hidden_layers = [nn.Linear(10, 10)]
        self.out = nn.Linear(10, 9)
        self.out.bias.requires_grad_(requires_grad=False)
        self.register_buffer("steps", torch.zeros(1))
        self.generator = torch.Generator().manual_seed(3)
        self.cache: Any = None
        self.seen: list[int] = []
        self.drop.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        WIRES["wire"]()
        self.steps += 1
        self.seen.append(len(x))
        h = self.norm(self.embed(x).transpose(1, 2)).transpose(1, 2)
        h, state = self.rnn(self.drop(h))
        self.cache = state
        noise = 1e-3 * torch.rand(1, generator=self.generator).item()
        noise += 1e-3 * random.random() + 1e-3 * np.random.rand()  # noqa: NPY002, S311
        return self.out(torch.tanh(self.hidden_layers[0](h))) * (1 + noise)


def loss_fn(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(output.flatten(0, 1), target.flatten())


def build() -> tuple[Full, torch.optim.Optimizer, list[Any]]:
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    model = Full()
    optimizer = torch.optim.Adam([each for each in model.parameters() if each.requires_grad], lr=1e-2)
    tokens = [torch.randint(1, 9, (6, 11)) for _ in range(5)]
    for each in tokens:
        each[::2, 8:] = 0
    batches = [(each[:, :-1], each[:, 1:]) for each in tokens]
    loss_fn(model(batches[0][0]), batches[0][1]).backward()
    optimizer.step()  # the optimiser has a memory, and gradients are in place
    model.embed.register_forward_hook(lambda *_: None)
    return model, optimizer, batches


def state_of(model: Full, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    tensors = [*model.parameters(), *model.buffers(), *model.hidden_layers[0].parameters()]
    return {
        "values": [each.detach().clone() for each in tensors],
        "places": [(id(each), each.data_ptr(), each._version) for each in tensors],
        "grads": [(id(each.grad), None if each.grad is None else each.grad.clone()) for each in tensors],
        "wanted": [each.requires_grad for each in tensors],
        "optimizer": copy.deepcopy(optimizer.state_dict()),
        "memory": [id(value) for own in optimizer.state.values() for value in own.values()],
        "settings": [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups],
        "modes": [each.training for each in (*model.modules(), model.hidden_layers[0])],
        "hooks": [(name, len(each._forward_hooks), len(each._forward_pre_hooks)) for name, each in model.named_modules()],
        "attributes": (id(model.cache), list(model.seen), id(model.hidden_layers)),
        "random": (torch.get_rng_state(), random.getstate(), model.generator.get_state()),
        "numpy": np.random.get_state()[1].copy(),  # noqa: NPY002
        "functions": [id(getattr(nn.functional, name)) for name in ("dropout", "dropout2d", "cross_entropy")],
    }


def assert_same(first: Any, second: Any, path: str = "") -> None:
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second), path
    elif isinstance(first, np.ndarray):
        assert np.array_equal(first, second), path
    elif isinstance(first, dict):
        assert list(first) == list(second), path
        for key in first:
            assert_same(first[key], second[key], f"{path}.{key}")
    elif isinstance(first, list | tuple):
        assert len(first) == len(second), path
        for place, (a, b) in enumerate(zip(first, second, strict=True)):
            assert_same(a, b, f"{path}[{place}]")
    else:
        assert first == second, path


@pytest.fixture
def wire() -> Iterator[Tripwire]:
    WIRES["wire"] = Tripwire()
    yield WIRES["wire"]
    WIRES["wire"] = Tripwire()


def task_of(model: Full, optimizer: torch.optim.Optimizer, batches: list[Any]) -> Task:
    return make_task(model, batches, loss_fn, optimizer, minutes=5)


@pytest.mark.parametrize("name", list(EXPERIMENTS))
@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
def test_every_experiment_leaves_everything_as_it_was(name: str, error: type[BaseException] | None, wire: Tripwire) -> None:
    model, optimizer, batches = build()
    before = state_of(model, optimizer)
    task = task_of(model, optimizer, batches)
    assert_same(before, state_of(model, optimizer))
    if error is not None:
        wire.at, wire.error = wire.calls + 3, error
    if error is KeyboardInterrupt:
        calls = wire.calls
        try:
            perform(EXPERIMENTS[name], task)
        except KeyboardInterrupt:
            pass
        else:
            assert wire.calls < calls + 3  # it never came so far
    else:
        _, outcome, _ = perform(EXPERIMENTS[name], task)
        assert outcome.status != "failed" or error is not None, outcome
    assert_same(before, state_of(model, optimizer))


@pytest.mark.usefixtures("wire")
def test_training_goes_on_as_if_nothing_had_been() -> None:
    ends = []
    for checked in (False, True):
        model, optimizer, batches = build()
        if checked:
            health.checkup(model, batches, loss_fn, optimizer, minutes=0.06, progress=False)
        for x, y in batches:
            optimizer.zero_grad()
            loss_fn(model(x), y).backward()
            optimizer.step()
        ends.append(state_of(model, optimizer))
    for key in ("values", "optimizer", "random", "modes"):
        assert_same(ends[0][key], ends[1][key], key)


def test_a_graph_that_waits_for_its_backward_pass_still_has_one() -> None:
    model, optimizer, batches = build()
    loss = loss_fn(model(batches[0][0]), batches[0][1])
    before = torch.autograd.grad(loss, list(model.out.parameters())[:1], retain_graph=True)[0].clone()
    task = task_of(model, optimizer, batches)
    perform(EXPERIMENTS["optimiser"], task)
    optimizer.zero_grad()
    loss.backward()
    assert torch.equal(model.out.weight.grad, before)


def test_what_was_swapped_is_written_to_inside_only() -> None:
    layer = nn.Linear(3, 3)
    kept = layer.weight.detach().clone()
    with sandbox(layer):
        with torch.no_grad():
            layer.weight.zero_()
            layer.new = torch.ones(1)
        layer.double()
        layer.eval()
        assert not layer.weight.any()
    assert torch.equal(layer.weight, kept)
    assert layer.weight.dtype is torch.float32
    assert layer.training
    assert not hasattr(layer, "new")


def test_a_state_that_is_carried_with_its_graph_keeps_its_values() -> None:
    layer = nn.Linear(3, 3)
    layer.state = layer(torch.ones(1, 3))  # no leaf
    kept = layer.state.detach().clone()
    with sandbox(layer), torch.no_grad():
        layer.state.detach().zero_()
    assert torch.equal(layer.state.detach(), kept)


def test_ctrl_c_waits_until_all_is_back() -> None:
    done: list[str] = []

    def press() -> None:
        with uninterrupted():
            os.kill(os.getpid(), signal.SIGINT)
            done.append("put back")

    with pytest.raises(KeyboardInterrupt):
        press()
    assert done == ["put back"]


def test_closures_and_loss_modules_are_put_back_too() -> None:
    partner, criterion = nn.BatchNorm1d(4), nn.BatchNorm1d(4)
    kept = partner.running_mean.clone(), criterion.running_mean.clone()

    def closed(model: nn.Module, batch: Any) -> torch.Tensor:
        return criterion(partner(model(batch[0]))).square().mean()

    bound: Callable[..., Any] = closed
    model = nn.Linear(4, 4)
    batches = [(torch.randn(8, 4) + 3, 0) for _ in range(3)]
    health.checkup(model, batches, bound, torch.optim.SGD(model.parameters(), lr=0.1), minutes=0.06, progress=False)
    assert torch.equal(partner.running_mean, kept[0])
    assert torch.equal(criterion.running_mean, kept[1])
