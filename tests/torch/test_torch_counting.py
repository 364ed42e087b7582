"""The steps between the sampled ones, on the definition and on its compiled twin."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lettrine import health
from lettrine.errors import HealthError
from lettrine.torch.fast import counting, switch

Make = Callable[..., Any]


@pytest.fixture(params=["python", "compiled"])
def twin(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Make:
    monkeypatch.setenv(switch.VARIABLE, str(int(request.param == "compiled")))
    if request.param == "compiled" and switch.TENSORS is None:
        pytest.skip("the compiled part is not built")
    return partial(counting.step_counter, switch.tensors())


def test_the_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(switch.VARIABLE, raising=False)
    assert switch.tensors() is switch.TENSORS
    assert switch.tensors(False) is None
    monkeypatch.setenv(switch.VARIABLE, "0")
    assert switch.tensors() is None
    assert switch.tensors(True) is switch.TENSORS, "what is asked for in the code counts more"
    monkeypatch.setenv(switch.VARIABLE, "off")
    with pytest.raises(HealthError, match="LETTRINE_FAST got 'off'; expected 0"):
        health.watch(nn.Linear(1, 1))


def test_a_watch_without_the_fast_path_runs_no_compiled_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lettrine.torch.fast.counting.native", None)
    monkeypatch.setattr("lettrine.torch.fast.in_place.native", None)
    monkeypatch.setattr("lettrine.torch.fast.hooks.native", None)
    model = nn.Linear(2, 1)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    with health.watch(model, optimiser, every=1, fast=False) as watch:
        for _ in range(5):
            loss = model(torch.ones(3, 2)).sum()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    assert watch.trace().steps.tolist() == list(range(5))
    assert watch.trace().facts.errors == ()


def test_steps_are_counted_up_to_the_one_to_sample(twin: Make) -> None:
    called: list[Any] = []
    counter = twin(lambda *given: called.append(given), called.append, 4)
    counter.stepped("optimiser", (), {})
    assert called == [("optimiser", (), {})], "it counts only when told to"
    counter.counting, counter.step, counter.next = True, 5, 8
    for _ in range(4):
        counter.stepped("optimiser", (1,), {"closure": None})
    assert counter.step == 7, "step 8 is not its own affair"
    assert called[1:] == [("optimiser", (1,), {"closure": None})] * 2


def test_losses_are_noted_with_their_steps(twin: Make) -> None:
    called: list[Any] = []
    counter = twin(lambda *_: None, called.append, 3)
    first = torch.tensor(1.5, requires_grad=True)
    counter.loss(first)
    assert called == [first], "it notes only when told to"
    counter.noting, counter.step = True, 9
    counter.loss(torch.tensor(0.1, dtype=torch.float64))
    counter.late = 0
    counter.loss(first)
    strange = [torch.tensor(math.inf), math.nan, 2, None, torch.ones(2), "loss", torch.ones((), device="meta"), torch.tensor(1)]
    for each in strange:
        counter.loss(loss=each)
    assert all(given is each for given, each in zip(called[1:], strange, strict=True))
    counter.loss(-2.0)
    counter.loss(torch.tensor(-3.0))
    assert called[-1].item() == -3.0, "there was room for three"
    assert counter.losses() == [(8, 0.1), (9, 1.5), (9, -2.0)]
    assert counter.losses() == []


def small() -> tuple[nn.Module, torch.optim.Optimizer, Callable[[], Tensor]]:
    torch.manual_seed(8)
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    x, y = torch.randn(12, 3), torch.arange(12) % 2

    def step() -> Tensor:
        loss = functional.cross_entropy(model(x), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return loss.detach()

    return model, optimiser, step


@pytest.mark.usefixtures("twin")
def test_every_loss_is_recorded_at_its_step() -> None:
    model, optimiser, step = small()
    losses = []
    with health.watch(model, optimiser) as watch:
        for _ in range(700):  # more than are noted before they are handed on
            loss = step()
            losses.append(loss.item())
            watch.loss(loss)
            watch.loss(loss + 1.0)
    assert watch.steps == 700
    trace = watch.trace()
    assert trace.facts.errors == ()
    assert trace.loss.step.tolist() == list(range(700))
    assert trace.loss.mean.tolist() == pytest.approx([value + 0.5 for value in losses], rel=1e-6)
    sampled = trace.steps.tolist()
    assert sampled[:6] == [0, 1, 2, 3, 4, 6]
    assert trace.step_stats["loss"].tolist() == pytest.approx([losses[place] + 0.5 for place in sampled], rel=1e-6)


@pytest.mark.usefixtures("twin")
def test_a_watch_that_is_let_go_leaves_nothing_behind() -> None:
    model, optimiser, step = small()
    watch = health.watch(model, optimiser, every=3).start()
    for _ in range(20):
        watch.loss(step())
    held = weakref.ref(watch), weakref.ref(model)
    del model, optimiser, step, watch
    gc.collect()
    assert [each() for each in held] == [None, None]
