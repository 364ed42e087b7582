"""A training step that is compiled as a whole: nothing of ours is compiled with it, and the watch says what it could not see."""

from __future__ import annotations

import copy
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


Rounds = list[tuple[Tensor, Tensor]]


def rounds(count: int = 16) -> Rounds:
    generator = torch.Generator().manual_seed(1)
    inputs = [torch.randn(16, 4, generator=generator) for _ in range(count)]
    return [(x, x[:, :3].argmax(1)) for x in inputs]


def small() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.compiler.reset()
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    return model, torch.optim.SGD(model.parameters(), lr=0.1)


def step_of(model: nn.Module, optimizer: torch.optim.Optimizer, then: Any = lambda _: None, *, steps: bool = True) -> Any:
    @torch.compile(backend="eager")
    def step(x: Tensor, y: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        if steps:
            optimizer.step()
        then(loss)
        return loss

    return step


def test_a_compiled_step_whose_losses_nobody_hands_over_is_not_judged():
    """PyTorch issue 115607 is such a program; `report()` was an error."""
    model, optimizer = small()
    with health.watch(model, optimizer) as watch:
        step = step_of(model, optimizer)
        for x, y in rounds():
            step(x, y)
    report = watch.report()
    assert (report.verdict, report.findings, report.trace.facts.errors) == ("not judged", (), ())
    assert len(report.unjudged) == 1
    assert "call watch.loss(loss) after each step" in report.unjudged[0]
    assert "not judged" in str(report).lower()
    assert report.exit_code == 4


def test_a_compiled_step_that_moves_nothing_is_told_as_far_as_it_is_seen():
    model, optimizer = small()
    with health.watch(model, optimizer) as watch:
        step = step_of(model, optimizer, steps=False)
        for x, y in rounds():
            step(x, y)
    report = watch.report()
    assert report.verdict == "not judged"
    assert "none of the weights has changed" in report.unjudged[1]


@pytest.mark.parametrize("copied", [True, False])
def test_a_compiled_step_that_trains_a_copy_is_named(copied: bool):
    model, optimizer = small()
    trained = copy.deepcopy(model) if copied else model
    step = step_of(trained, torch.optim.SGD(trained.parameters(), lr=0.1))
    with health.watch(model, optimizer) as watch:
        for x, y in rounds(64):
            watch.loss(step(x, y))
    findings = [each for each in watch.report().findings if each.id == "never-moved"]
    assert [each.severity for each in findings] == (["critical"] if copied else [])
    if copied:
        assert findings[0].where == ("0.weight", "0.bias", "2.weight", "2.bias")
        assert "not a copy of it" in findings[0].remedy


def test_losses_are_handed_over_inside_of_what_is_compiled():
    """It was an error in the user's training."""
    trained = []
    for watched in (True, False):
        model, optimizer = small()
        watch = health.watch(model, optimizer)
        if watched:
            watch.start()
        step = step_of(model, optimizer, watch.loss if watched else lambda _: None)
        losses = [step(x, y).item() for x, y in rounds()]
        watch.close()
        trained.append([each.detach().clone() for each in model.parameters()])
        if watched:
            assert watch.trace().loss.mean.tolist() == pytest.approx(losses)
            assert watch.report().verdict == "not judged"
    assert all(torch.equal(*pair) for pair in zip(*trained, strict=True))


def test_a_loop_that_is_compiled_together_with_its_watch():
    model, optimizer = small()

    def loop() -> tuple[Any, str]:
        with health.watch(model, optimizer) as watch:
            for x, y in rounds():
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
                watch.loss(loss)
        return watch, watch.report().verdict

    watch, verdict = torch.compile(loop, backend="eager")()
    trace = watch.trace()
    assert (verdict, trace.facts.errors, len(trace.loss.mean)) == ("not judged", (), 16)


def test_what_is_made_to_run_eagerly_is_heard():
    """It is what the report advises."""
    with torch.compiler.set_stance("force_eager"):
        model, optimizer = small()
        called = torch.compile(model, backend="eager")
        with health.watch(called, optimizer) as watch:
            for x, y in rounds():
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(called(x), y)
                loss.backward()
                optimizer.step()
                watch.loss(loss)
    assert set(watch.trace().outputs) == {"0", "1", "2"}


def test_steps_told_by_hand_of_a_model_whose_pass_is_compiled():
    model, optimizer = small()
    step = step_of(model, optimizer)
    with health.watch(model) as watch:
        for x, y in rounds():
            watch.loss(step(x, y))
            watch.step()
    assert watch.steps == 16
    assert "they are compiled" in watch.report().unjudged[0]


def test_autowatch_watches_a_compiled_model_once():
    """Each call was taken for that of a new model."""
    model, optimizer = small()
    compiled = torch.compile(model, backend="eager")
    with health.autowatch(show=False) as auto:
        for x, y in rounds():
            optimizer.zero_grad()
            nn.functional.cross_entropy(compiled(x), y).backward()
            optimizer.step()
    assert [each.steps for each in auto.watches] == [16]
    assert auto.reports[0].verdict == "not judged"
