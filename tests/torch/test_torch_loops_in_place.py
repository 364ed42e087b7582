"""Loops of every shape, watched at every step: what is measured where the tensors lie, without Python wherever that can be,
leaves the same trace as copies.
"""

from __future__ import annotations

import copy
import gc
import io
import math
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from traces import same

from lettrine import health
from lettrine.health.trace import Trace
from lettrine.torch.fast import in_place, switch

X, Y = torch.linspace(-2.0, 2.0, 24 * 4).sin().reshape(24, 4), torch.arange(24) % 3
STEPS = 300  # more than are handed over together
Loop = Callable[["Run", int], None]

pytestmark = pytest.mark.skipif(switch.tensors() is None, reason="the fast path is off, or not built")


class Net(nn.Module):
    """Four modules; `spare` is called only when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.act, self.drop, self.last = nn.Linear(4, 6), nn.Tanh(), nn.Dropout(0.2), nn.Linear(6, 3)
        self.spare = nn.Softsign()

    def forward(self, x: Tensor, *, spare: bool = False) -> Tensor:
        out = self.last(self.drop(self.act(self.first(x))))
        return self.spare(out) if spare else out


class Run:
    """One training, and what a loop may need of it."""

    def __init__(self) -> None:
        torch.manual_seed(7)
        self.model = Net()
        self.optimiser = torch.optim.SGD(self.model.parameters(), lr=0.05, momentum=0.5)
        self.watch = health.watch(self.model, self.optimiser, every=1)
        self.kept: list[Any] = []

    def loss(self, **settings: Any) -> Tensor:
        return functional.cross_entropy(self.model(X, **settings), Y)

    def step(self, loss: Tensor) -> None:
        loss.backward()
        self.optimiser.step()
        self.optimiser.zero_grad()


def plain(run: Run, _: int) -> None:
    loss = run.loss()
    run.step(loss)
    run.watch.loss(loss)


def numbers(run: Run, _: int) -> None:
    loss = run.loss()
    run.watch.loss(loss.item())
    run.step(loss)


def without_losses(run: Run, _: int) -> None:
    run.step(run.loss())


def scheduled(run: Run, step: int) -> None:
    run.optimiser.param_groups[0]["lr"] = 0.05 / (1 + step)
    plain(run, step)


def keywords(run: Run, _: int) -> None:
    run.step(functional.cross_entropy(run.model(x=X), Y))


def evaluated(run: Run, step: int) -> None:
    plain(run, step)
    if step % 7 == 3:
        run.model.eval()
        with torch.no_grad():
            run.watch.dev_loss(run.loss())
        run.model.train()
    if step % 11 == 5:
        run.loss()  # with gradients that are never asked for


def modes(run: Run, step: int) -> None:
    run.model.act.train(step % 50 < 25)
    plain(run, step)


def smaller_at_times(run: Run, step: int) -> None:
    count = 10 if step % 9 == 8 else 24
    loss = functional.cross_entropy(run.model(X[:count]), Y[:count])
    run.step(loss)
    run.watch.loss(loss)


def smaller_from_then_on(run: Run, step: int) -> None:
    count = 24 if step < 100 else 10
    run.step(functional.cross_entropy(run.model(X[:count]), Y[:count]))


def several_losses(run: Run, _: int) -> None:
    loss = run.loss()
    run.watch.loss(loss)
    run.watch.loss(2 * loss)
    run.step(loss)


def transformed(run: Run, step: int) -> None:
    if step % 6 == 4:
        here = dict(run.model.named_parameters())
        torch.func.grad(lambda p: torch.func.functional_call(run.model, p, (X,)).square().sum())(here)
    plain(run, step)


def looked_at(run: Run, step: int) -> None:
    plain(run, step)
    if step in (40, 41, 170):
        run.kept.append(run.watch.trace())


def changed_between(run: Run, step: int) -> None:
    plain(run, step)
    if step % 20 == 10:
        with torch.no_grad():
            run.model.first.weight.mul_(0.9)


def broken_gradients(run: Run, step: int) -> None:
    loss = run.loss()
    if step == 200:
        loss = loss * math.inf
    loss.backward()
    run.watch.loss(loss)
    if step != 200:
        run.optimiser.step()
    run.optimiser.zero_grad()


def trace_of(loop: Loop) -> tuple[Trace, Run, int]:
    """The trace, the run, and how many steps were made without Python."""
    run, alone = Run(), [0]
    ran = in_place.StepsInPlace.ran

    def counted(self: Any, *given: Any) -> Any:
        found = ran(self, *given)
        alone[0] += len(found)
        return found

    in_place.StepsInPlace.ran = counted  # type: ignore[method-assign]
    try:
        with run.watch:
            for step in range(STEPS):
                loop(run, step)
    finally:
        in_place.StepsInPlace.ran = ran  # type: ignore[method-assign]
    return run.watch.trace(), run, alone[0]


LOOPS: dict[Loop, int] = {  # and how many steps at least are made without Python
    plain: 250,
    numbers: 250,
    without_losses: 250,
    scheduled: 250,
    keywords: 250,
    evaluated: 250,
    modes: 230,
    smaller_at_times: 180,
    smaller_from_then_on: 230,
    several_losses: 250,
    transformed: 250,
    looked_at: 250,
    changed_between: 250,
    broken_gradients: 240,
}


@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.__name__)
def test_a_loop_leaves_the_trace_that_copies_leave(monkeypatch: pytest.MonkeyPatch, loop: Loop) -> None:
    in_place, ours, alone = trace_of(loop)
    assert alone >= LOOPS[loop]
    monkeypatch.setenv(switch.VARIABLE, "0")
    copied, theirs, none = trace_of(loop)
    assert none == 0
    same(in_place, copied, rtol=1e-9)
    for mine, other in zip(ours.kept, theirs.kept, strict=True):
        same(mine, other, rtol=1e-9)
    for mine, other in zip(ours.model.parameters(), theirs.model.parameters(), strict=True):
        assert torch.equal(mine, other)


def accumulated(run: Run, step: int) -> None:
    for _ in range(2 if step >= 60 else 1):
        run.loss().backward()
    run.optimiser.step()
    run.optimiser.zero_grad()


def backward_twice(run: Run, step: int) -> None:
    loss = run.loss()
    if step >= 60:
        loss.backward(retain_graph=True)
    run.step(loss)


def another_module(run: Run, step: int) -> None:
    run.step(run.loss(spare=step >= 60))


@pytest.mark.parametrize("loop", [accumulated, backward_twice, another_module], ids=lambda loop: loop.__name__)
def test_what_is_not_as_it_was_loses_three_steps_at_most(monkeypatch: pytest.MonkeyPatch, loop: Loop) -> None:
    in_place, _, _ = trace_of(loop)
    monkeypatch.setenv(switch.VARIABLE, "0")
    copied, _, _ = trace_of(loop)
    assert in_place.facts.errors == copied.facts.errors == ()
    assert in_place.modules == copied.modules
    assert in_place.steps.tolist() == copied.steps.tolist() == list(range(STEPS))
    for name, theirs in copied.outputs.items():
        ours = in_place.outputs[name]
        lost = ~np.isclose(ours, theirs, rtol=1e-6, equal_nan=True).all(axis=1)  # or only a part of the step's calls was seen
        assert lost.sum() <= 3, name
        assert not lost[:60].any()
    for name, parameters in copied.parameter_stats.items():
        np.testing.assert_allclose(in_place.parameter_stats[name], parameters, rtol=1e-6, err_msg=name)


def watched(steps: int = 40) -> Run:
    run = Run()
    run.watch.start()
    for step in range(steps):
        plain(run, step)
    assert run.watch._steps.in_place.running
    return run


def test_a_copy_or_a_pickle_of_the_model_holds_no_watch() -> None:
    run = watched()
    pickled = pickle.loads(pickle.dumps(run.model))
    for other in (copy.deepcopy(run.model), pickled):
        output = other(X)
        functional.cross_entropy(output, Y).backward()
        assert output._backward_hooks is None
    plain(run, 40)
    assert run.watch._steps.in_place.running
    assert run.watch.trace().steps.tolist() == list(range(41))
    run.watch.close()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in run.model.modules())
    assert not run.optimiser._optimizer_step_pre_hooks
    assert not run.optimiser._optimizer_step_post_hooks


def test_an_output_can_be_saved_and_given_hooks() -> None:
    run = watched()
    output, seen = run.model(X), []
    torch.save(output, io.BytesIO())  # torch warns of hooks that are left behind, and a warning is an error here
    output.register_hook(seen.append)
    loss = functional.cross_entropy(output, Y)
    run.step(loss)
    run.watch.loss(loss)
    plain(run, 41)
    assert len(seen) == 1
    trace = run.watch.trace()
    assert trace.steps.tolist() == list(range(42))
    assert np.isfinite(trace.outputs["first"][41, 0])
    assert trace.facts.errors == ()


def test_an_error_of_the_users_leaves_the_watch_as_it_was() -> None:
    run = watched()
    with pytest.raises(RuntimeError, match="shapes"):
        run.model(torch.ones(24, 5))
    plain(run, 40)
    plain(run, 41)
    assert run.watch.trace().steps.tolist() == list(range(42))
    assert np.isfinite(run.watch.trace().outputs["first"][:, 0]).all()


def test_a_watch_that_is_let_go_while_it_runs_leaves_nothing_behind() -> None:
    run = watched()
    gone = weakref.ref(run.watch)
    del run
    gc.collect()
    assert gone() is None
