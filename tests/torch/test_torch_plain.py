"""Watching without a framework and without `with`."""

from __future__ import annotations

import copy
import gc
import json
import logging
import pickle
import subprocess
import sys
import textwrap

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from trainings import adam, batches, mlp

from lettrine import health
from lettrine.errors import HealthError
from lettrine.health.archive import trace_to_arrays
from lettrine.health.tracking import MOST, chosen
from lettrine.torch.autowatch import SEARCHED
from lettrine.torch.kept import unpacked
from lettrine.torch.watching.watch import LISTENING

BACKWARD = torch.autograd.backward
GET_OBJECTS = gc.get_objects


def hooks_on(model: nn.Module, *optimisers: torch.optim.Optimizer) -> int:
    modules = sum(len(each._forward_hooks) + len(each._forward_pre_hooks) for each in model.modules())
    return modules + sum(len(each._optimizer_step_pre_hooks) + len(each._optimizer_step_post_hooks) for each in optimisers)


def train(model: nn.Module, optimiser: torch.optim.Optimizer, steps: int = 20, watch: health.Watch | None = None) -> list[float]:
    losses = []
    for x, y in batches(steps):
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
        if watch is not None:
            watch.loss(loss)
    return losses


class Entered(nn.Module):
    """Trained by its parts, and called as a whole only by who uses it."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.head = nn.Sequential(nn.Linear(12, 24), nn.Tanh()), nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.trunk(x)).softmax(1)

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        return functional.cross_entropy(self.head(self.trunk(x)), y)


def test_a_model_entered_by_its_parts_is_known_as_if_it_were_called() -> None:
    torch.manual_seed(0)
    model = Entered()
    optimiser = adam(model)
    with health.watch(model, optimiser) as watch:
        for x, y in batches(12):
            loss = model.loss(x, y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    trace = watch.trace()
    assert trace.facts.errors == ()
    assert (trace.facts.classes, trace.facts.batch_size) == (4, 32)
    assert list(trace.outputs) == ["trunk.0", "trunk.1", "head"]
    assert trace.step_stats["training"][1:].tolist() == [1.0] * (len(trace.steps) - 1)
    assert hooks_on(model, optimiser) == 0


def test_a_step_with_a_closure_is_seen_with_its_own_gradients() -> None:
    torch.manual_seed(0)
    model = mlp()
    optimiser = adam(model)
    with health.watch(model, optimiser, every=1) as watch:
        for place, (x, y) in enumerate(batches(6)):

            def closure(x: Tensor = x, y: Tensor = y, place: int = place) -> Tensor:
                optimiser.zero_grad()
                loss = functional.cross_entropy(model(x), y)
                loss.backward()
                if place == 2:
                    nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
                watch.loss(loss)
                return loss

            optimiser.step(closure)
    stats = watch.trace().step_stats
    assert stats["clipped"][:4].tolist() == pytest.approx([0.0, 0.0, 1.0, float("nan")], nan_ok=True)
    assert stats["leftover_gradient"][:3].tolist() == [0.0] * 3
    assert stats["gradient_norm"][2] == pytest.approx(1e-3, rel=1e-3)


def test_autowatch_finds_model_optimiser_and_losses_and_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    watched = mlp()
    plain, optimiser = copy.deepcopy(watched), adam(watched)
    auto = health.autowatch(every=1)
    losses = train(watched, optimiser)
    auto.close()
    train(plain, adam(plain))
    assert all(torch.equal(a, b) for a, b in zip(watched.parameters(), plain.parameters(), strict=True))
    trace = auto.watches[0].trace()
    assert trace.loss.mean.tolist() == pytest.approx(losses)
    assert trace.facts.errors == ()
    assert (trace.facts.classes, trace.facts.batch_size, len(trace.steps)) == (4, 32, 20)
    assert torch.autograd.backward is BACKWARD
    assert hooks_on(watched, optimiser) == 0
    assert "20 steps say nothing about learning" in capsys.readouterr().out


def test_autowatch_goes_on_after_it_has_searched() -> None:
    """Its hooks were taken away while torch went through them: an error in the user's training."""
    torch.manual_seed(0)
    model = mlp()
    with health.autowatch(show=False) as auto:
        train(model, adam(model), steps=SEARCHED + 3)
    assert auto.watches[0].steps == SEARCHED + 3


def test_autowatch_takes_a_container_made_in_forward_for_a_part() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(mlp())

        def forward(self, x: Tensor) -> Tensor:
            return nn.Sequential(*self.layers)(x)

    model = Net()
    with health.autowatch(show=False) as auto:
        train(model, adam(model), steps=5)
    assert [each.model for each in auto.watches] == [model]


def test_autowatch_seldom_looks_through_all_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    """A target network is called at each step of an agent that fills its memory, long before any optimiser steps."""
    looks = []
    monkeypatch.setattr(gc, "get_objects", lambda: looks.append(1) or GET_OBJECTS())
    target, model = nn.Sequential(nn.Linear(8, 4), nn.Tanh(), nn.Linear(4, 2)), mlp()
    with health.autowatch(show=False) as auto:
        for _ in range(100):
            target(torch.zeros(1, 8))
        assert len(looks) == 7  # at calls 1, 2, 4, 8, 16, 32 and 64, for all its layers together
        train(model, adam(model), steps=3)
    assert [each.model for each in auto.watches] == [model]
    assert auto.watches[0].steps == 3


@pytest.mark.parametrize("used", [False, True])
def test_autowatch_tells_a_scaler_in_use_from_one_of_an_earlier_training(used: bool) -> None:
    torch.manual_seed(0)
    scaler, losses = torch.amp.GradScaler("cpu", init_scale=1024.0), []
    scaler.scale(torch.ones(1))  # it makes its scale when it is first used
    model = mlp()
    optimiser = adam(model)
    with health.autowatch(every=1, show=False) as auto:
        for x, y in batches(4):
            loss = functional.cross_entropy(model(x), y)
            losses.append(loss.item())
            optimiser.zero_grad()
            (scaler.scale(loss) if used else loss).backward()
            if used:
                scaler.step(optimiser)
                scaler.update()
            else:
                optimiser.step()
    trace = auto.watches[0].trace()
    assert trace.loss.mean.tolist() == pytest.approx(losses)
    assert trace.gradient("4", "std")[1] < 0.2  # not 1,024 times as much


def test_autowatch_tells_two_models_apart() -> None:
    torch.manual_seed(0)
    one, other = mlp(), mlp(hidden=8)
    first, second = adam(one), adam(other)
    with health.autowatch(show=False) as auto:
        for (x, y), _ in zip(batches(8), range(8), strict=True):
            for model, optimiser, factor in ((one, first, 1.0), (other, second, 5.0)):
                loss = factor * functional.cross_entropy(model(x), y)
                loss.backward()
                optimiser.step()
                optimiser.zero_grad()
    assert [each.model for each in auto.watches] == [one, other]
    assert [len(report.trace.loss.mean) for report in auto.reports] == [8, 8]
    assert auto.reports[1].trace.loss.mean[0] > 3 * auto.reports[0].trace.loss.mean[0]


def test_a_decorated_function_is_watched_each_time(capsys: pytest.CaptureFixture[str]) -> None:
    @health.autowatch()
    def fit(steps: int) -> None:
        model = mlp()
        train(model, adam(model), steps)

    assert torch.autograd.backward is BACKWARD
    for steps in (7, 9):
        fit(steps)
        assert f"{steps} steps say nothing about learning" in capsys.readouterr().out
        assert torch.autograd.backward is BACKWARD


def test_a_script_with_one_line_more_prints_its_report() -> None:
    script = """
        import torch
        from lettrine import health
        health.autowatch()
        model = torch.nn.Linear(3, 1)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        for _ in range(5):
            model(torch.ones(4, 3)).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True)
    assert "5 steps say nothing about learning" in done.stdout
    assert done.stderr == ""


def test_a_watch_that_is_started_anew_ends_the_one_before() -> None:
    model = mlp()
    optimiser = adam(model)
    first = health.watch(model, optimiser).start()
    train(model, optimiser, 5)
    second = health.watch(model, optimiser).start()
    train(model, optimiser, 3)
    assert (first.steps, second.steps) == (5, 3)
    with health.watch(model, optimiser) as inner:  # of one that is in a `with` nobody takes anything away
        third = health.watch(model, optimiser).start()
        train(model, optimiser, 2)
    third.close()
    assert (second.steps, inner.steps, third.steps) == (3, 2, 2)
    assert hooks_on(model, optimiser) == 0


def test_what_is_thrown_away_listens_no_more() -> None:
    before = len(LISTENING)
    model = mlp()
    health.watch(model, adam(model)).start()
    del model
    gc.collect()
    assert len(LISTENING) == before


@pytest.mark.parametrize("given", [True, False])
def test_losses_without_a_step_are_told_early(given: bool) -> None:
    model = mlp()
    wrong = adam(mlp())
    watch = health.watch(model, wrong if given else None).start()
    with pytest.warns(RuntimeWarning, match="100 losses and no step"):
        train(model, adam(model), 101, watch)
    watch.close()
    assert watch.trace if given else watch.steps == 0


def test_findings_are_told_on_the_way(caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    model, told = mlp(), []
    optimiser = adam(model)
    watch = health.watch(model, optimiser, on_finding=told.append, stop_on="critical")
    with caplog.at_level(logging.INFO, logger="lettrine.health"), watch:
        assert watch.findings() == ()
        for place, (x, y) in enumerate(batches(40)):
            loss = functional.cross_entropy(model(x), y) * (torch.nan if place == 20 else 1)
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
            watch.loss(loss)
            assert not (watch.should_stop and place < 20)
            if watch.should_stop:
                break
    assert place < 24
    assert "non-finite" in [each.id for each in told]
    assert told[0].id in [each.id for each in watch.findings()]
    assert [record.levelno for record in caplog.records if "non-finite" in record.getMessage()] == [logging.ERROR]
    with pytest.raises(HealthError, match="stop_on got 'fatal'"):
        health.watch(model, optimiser, stop_on="fatal")


def test_a_run_goes_on_where_its_state_stood() -> None:
    torch.manual_seed(0)
    model = mlp()
    optimiser = adam(model)
    with health.watch(model, optimiser, every=1) as first:
        losses = train(model, optimiser, 10, first)
    state = first.state_dict()
    second = health.watch(model, optimiser, every=1)
    second.load_state_dict(state)
    with second:
        losses += train(model, optimiser, 5, second)
        with pytest.raises(HealthError, match="after start"):
            second.load_state_dict(state)
    arrays, values = trace_to_arrays(first.trace())  # as older versions kept them
    older = unpacked({"arrays": {name: torch.from_numpy(each) for name, each in arrays.items()}, "values": json.dumps(values)})
    assert older.loss.mean.tolist() == first.trace().loss.mean.tolist()
    trace = second.trace()
    assert second.steps == 15
    assert trace.steps.tolist() == list(range(15))
    assert trace.loss.mean.tolist() == pytest.approx(losses)
    with pytest.raises(HealthError, match="holds no step"):
        health.watch(model, optimiser).load_state_dict({"trace": 1})
    with health.watch(model, optimiser, first_step=100) as third:
        train(model, optimiser, 3, third)
    assert third.trace().loss.step.tolist() == [100, 101, 102]


def test_a_resumed_run_is_judged_as_if_it_had_not_been_stopped() -> None:
    def judged(stop: int) -> health.Report:
        torch.manual_seed(0)
        model, earlier = mlp(), None
        with torch.no_grad():
            model[-1].weight.mul_(30)  # the first loss is far too high
        optimiser = adam(model)
        data = list(batches(240))
        for part in filter(None, (data[:stop], data[stop:])):
            watch = health.watch(model, optimiser)
            if earlier is not None:
                watch.load_state_dict(earlier)
            with watch:
                for x, y in part:
                    loss = functional.cross_entropy(model(x), y)
                    loss.backward()
                    optimiser.step()
                    optimiser.zero_grad()
                    watch.loss(loss)
            earlier = watch.state_dict()
        return watch.report()

    whole, resumed = judged(0), judged(220)
    assert "initial-loss" in [each.id for each in whole.findings]
    assert [each.id for each in resumed.findings] == [each.id for each in whole.findings]
    assert resumed.verdict == whole.verdict
    assert {each.check for each in resumed.unseen} <= {each.check for each in whole.unseen}


def taken_down(how: str, model: nn.Module, x: Tensor) -> None:
    if how == "deepcopy":
        copied = copy.deepcopy(model)
        copied(x).sum().backward()
    elif how == "pickle":
        pickle.loads(pickle.dumps(model))(x).sum().backward()
    elif how == "trace":
        torch.jit.trace(model, x)
    else:
        torch.export.export(model, (x,))


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning", "ignore:.*torch.jit:FutureWarning")  # since 2.14
@pytest.mark.parametrize("how", ["deepcopy", "pickle", "trace", "export"])
@pytest.mark.parametrize("every", [1, None])
def test_the_watch_steps_aside_where_the_model_is_copied_or_taken_down(how: str, every: int | None) -> None:
    torch.manual_seed(0)
    model = mlp()
    optimiser, (x, _) = adam(model), next(iter(batches(1)))
    with health.watch(model, optimiser, every=every) as watch:
        taken_down(how, model, x)  # before the first step, where everything listens
        losses = train(model, optimiser, 3, watch)
        taken_down(how, model, x)
        losses += train(model, optimiser, 9, watch)
        taken_down(how, model, x)
    trace = watch.trace()
    assert trace.facts.errors == ()
    assert trace.loss.mean.tolist() == pytest.approx(losses)
    assert (trace.facts.batch_size, trace.facts.classes) == (32, 4)
    assert not torch.isnan(torch.from_numpy(trace.output("4", "std"))).any()
    assert "compiled" not in trace.facts.notes
    assert hooks_on(model, optimiser) == 0


@pytest.mark.parametrize("every", [1, None])
def test_figures_go_to_a_tracker_at_their_steps(every: int | None) -> None:
    torch.manual_seed(0)
    model, told = mlp(), {}
    optimiser = adam(model)
    with health.watch(model, optimiser, every=every, log_to=lambda values, step: told.update({step: values})) as watch:
        train(model, optimiser, 20, watch)
    trace = watch.trace()
    assert list(told) == trace.steps.tolist()
    for place, step in enumerate(trace.steps.tolist()):
        assert told[step]["health/loss"] == pytest.approx(trace.step_stats["loss"][place])
        assert told[step]["health/0.weight/update_data"] == pytest.approx(trace.parameter("0.weight", "update_data")[place])
        assert told[step]["health/1/dead"] == trace.output("1", "dead")[place]
    assert "health/0/output_mean" not in told[0]


def test_a_large_network_has_a_bounded_number_of_series() -> None:
    keys = [f"health/{layer}/{kind}" for layer in range(300) for kind in ("output_std", "output_mean", "grad_std")]
    keys = ["health/loss", *keys, "health/7/dead", *(f"health/{layer}.weight/update_data" for layer in range(300))]
    found = chosen(keys)
    assert len(found) == MOST
    assert {"health/loss", "health/7/dead", "health/0/output_std"} <= set(found)
    layers = [int(key.split("/")[1].removesuffix(".weight")) for key in found if key.endswith("update_data")]
    assert layers == sorted(layers)
    assert layers[-1] > 270
    assert not [key for key in found if key.endswith("output_mean")]


def test_a_tracker_that_fails_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    calls = []

    def log_to(values: dict[str, float], step: int) -> None:
        calls.append((len(values) > 3, step))
        raise ConnectionError("nobody there")

    model = mlp()
    optimiser = adam(model)
    with health.watch(model, optimiser, every=1, log_to=log_to) as watch:
        train(model, optimiser, 8, watch)
    assert len(watch.trace().steps) == 8
    assert watch.trace().facts.errors == ()
    assert calls == [(True, 0)]
    assert "nobody there" in caplog.text
