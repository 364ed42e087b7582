"""A training step that is compiled as a whole: nothing of ours is compiled with it, and the watch says what it could not see."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lettrine import health
from lettrine.torch.capture.compiled import times_traced

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of torch's own compiler
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


def train(*, watched: bool, steps: int = 12) -> tuple[dict[str, Tensor], Any]:
    torch.compiler.reset()
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    @torch.compile(backend="eager")
    def step(x: Tensor, y: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    watch = health.watch(model, optimizer).start() if watched else None
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        x = torch.randn(16, 4, generator=generator)
        loss = step(x, x[:, :3].argmax(1))
        if watch is not None:
            watch.loss(loss)
    if watch is not None:
        watch.close()
    return model.state_dict(), watch


def test_a_compiled_step_is_counted_by_its_losses_and_trains_as_if_nobody_looked():
    alone, _ = train(watched=False)
    before = times_traced()
    watched, watch = train(watched=True)
    assert times_traced() > before  # the hooks that stood at the first step, once each
    assert all(torch.equal(alone[name], watched[name]) for name in alone)
    trace = watch.trace()
    assert watch.steps == 12
    assert trace.facts.errors == ()
    assert trace.facts.notes["compiled"] == "step"
    assert not trace.outputs  # compiled modules are not heard
    assert trace.parameter("0.weight", "update_data")[-1] > 0


def test_an_eager_step_beside_a_compiled_function_is_heard():
    torch.compiler.reset()
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    halved = torch.compile(lambda x: x / 2, backend="eager")
    with health.watch(model, optimizer) as watch:
        for _ in range(6):
            loss = model(halved(torch.ones(5, 4))).square().mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            watch.loss(loss)
    trace = watch.trace()
    assert watch.steps == 6
    assert "compiled" not in trace.facts.notes
    assert set(trace.outputs) == {"0", "1", "2"}


class Stack(nn.Sequential):
    def forward(self, x):
        return super().forward(x)


@pytest.mark.parametrize("how", ["in place", "wrapped", "a part"])
def test_a_model_compiled_before_it_is_watched_is_not_heard(how: str):
    """Nor compiled once more: no hook stands on it, in no step."""
    trained = []
    for watched in (True, False):
        torch.compiler.reset()
        torch.manual_seed(3)
        model = called = Stack(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
        if how == "wrapped":
            called = torch.compile(model, backend="eager")
        else:
            (model if how == "in place" else model[0]).compile(backend="eager")
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        watch = health.watch(called, optimizer)
        if watched:
            watch.start()
        counts = []
        for _ in range(10):
            loss = called(torch.ones(5, 4)).square().mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            counts.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
            if watched:
                watch.loss(loss)
        assert counts[0] == counts[-1] > 0, "compiled once"
        watch.close()
        trained.append([parameter.detach().clone() for parameter in model.parameters()])
        if watched:
            trace, report = watch.trace(), watch.report()
    assert all(torch.equal(*pair) for pair in zip(*trained, strict=True))
    assert len(trace.loss.mean) == 10
    assert trace.parameter("0.weight", "gradient_norm")[-1] > 0
    assert (trace.facts.errors, dict(trace.outputs), trace.facts.notes["compiled"]) == ((), {}, "model")
    assert report.verdict == "not judged"
    assert "they are compiled" in report.unjudged[0]


@pytest.mark.parametrize("early", [True, False])
def test_a_compiled_model_is_not_heard_but_its_steps_are(early: bool):
    torch.compiler.reset()
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with health.watch(model, optimizer) as watch:
        compiled, losses = torch.compile(model, backend="eager"), []
        for _ in range(10):
            loss = compiled(torch.ones(5, 4)).square().mean()
            losses.append(loss.item())
            if early:
                watch.loss(loss)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if not early:
                watch.loss(loss)
        traced = times_traced()
    trace = watch.trace()
    assert trace.loss.mean.tolist() == pytest.approx(losses)
    assert trace.facts.notes["compiled"] == "model"
    assert trace.facts.errors == ()
    assert not trace.outputs
    assert trace.parameter("0.weight", "gradient_norm")[-1] > 0
    assert "they are compiled" in watch.report().unjudged[0]
    compiled(torch.ones(5, 4))
    assert times_traced() == traced  # no hook of ours stands on what is compiled
