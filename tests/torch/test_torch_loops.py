"""Training loops of every kind: mixed precision, accumulation, several optimisers, closures, evaluation in between."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lettrine import health
from lettrine.errors import HealthError
from lettrine.health.trace import Trace

X = torch.linspace(-2.0, 2.0, 8 * 3).reshape(8, 3)
Y = torch.arange(8) % 2


def net() -> nn.Sequential:
    torch.manual_seed(11)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1)


def plain_trace(steps: int = 3) -> Trace:
    model = net()
    optimiser = sgd(model)
    with health.watch(model, optimiser, every=1) as watch:
        for _ in range(steps):
            functional.cross_entropy(model(X), Y).backward()
            optimiser.step()
            optimiser.zero_grad()
    return watch.trace()


def same_figures(ours: Trace, theirs: Trace, *, rel: float = 1e-4) -> None:
    """All gradients, outputs and parameters of both traces agree."""
    for mine, other in (
        (ours.gradients, theirs.gradients),
        (ours.outputs, theirs.outputs),
        (ours.parameter_stats, theirs.parameter_stats),
    ):
        assert mine.keys() == other.keys()
        for name in mine:
            np.testing.assert_allclose(mine[name], other[name], rtol=rel, atol=1e-7, err_msg=name)
    for name in ("gradient_norm", "clipped", "leftover_gradient"):
        np.testing.assert_allclose(ours.step_stats[name], theirs.step_stats[name], rtol=rel, err_msg=name)


def scaled_loop(
    model: nn.Module, optimiser: torch.optim.Optimizer, watch: Any, steps: int, *, unscale: bool = False, poison: int = -1
) -> None:
    """The loop of torch's documentation; at iteration `poison` the loss overflows, and the scaler skips the step."""
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=2)
    for number in range(steps):
        loss = functional.cross_entropy(model(X), Y)
        scaler.scale(loss * (1e38 if number == poison else 1.0)).backward()
        if unscale:
            scaler.unscale_(optimiser)
        scaler.step(optimiser)
        scaler.update()
        optimiser.zero_grad()
        if watch is not None:
            watch.loss(loss)


@pytest.mark.parametrize("unscale", [True, False])
def test_gradients_are_unscaled_before_they_are_measured(unscale: bool) -> None:
    model = net()
    optimiser = sgd(model)
    with health.watch(model, optimiser, every=1) as watch:
        scaled_loop(model, optimiser, watch, 3, unscale=unscale)
    assert watch.trace().facts.errors == ()
    same_figures(watch.trace(), plain_trace())


def test_a_fused_optimiser_that_unscales_by_itself() -> None:
    traces = []
    for scaled in (True, False):
        model = net()
        optimiser = torch.optim.SGD(model.parameters(), lr=0.1, fused=True)
        with health.watch(model, optimiser, every=1) as watch:
            if scaled:
                scaled_loop(model, optimiser, watch, 5, poison=2)
            else:
                scaled_loop(model, optimiser, watch, 4)
        assert watch.trace().facts.errors == ()
        traces.append(watch.trace())
    same_figures(*traces)
    assert traces[0].first_nonfinite is None


@pytest.mark.parametrize("poison", [0, 1])
def test_a_step_the_scaler_skips_is_not_a_step(poison: int) -> None:
    model = net()
    optimiser = sgd(model)
    with health.watch(model, optimiser, every=1) as watch:
        scaled_loop(model, optimiser, watch, 4, poison=poison)
    trace = watch.trace()
    assert trace.facts.errors == ()
    assert trace.steps.tolist() == [0, 1, 2]
    assert trace.first_nonfinite is None
    same_figures(trace, plain_trace())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(dtype: torch.dtype) -> None:
    ends = []
    for watched in (True, False):
        model = net()
        optimiser = sgd(model)
        watch = health.watch(model, optimiser, every=1)
        if watched:
            watch.start()
        scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
        for _ in range(3):
            with torch.autocast("cpu", dtype=dtype):
                loss = functional.cross_entropy(model(X), Y)
            scaler.scale(loss).backward()
            scaler.step(optimiser)
            scaler.update()
            optimiser.zero_grad()
            if watched:
                watch.loss(loss)
        watch.close()
        ends.append([parameter.clone() for parameter in model.parameters()])
        if watched:
            trace = watch.trace()
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*ends, strict=True))
    assert trace.facts.errors == ()
    assert [info.fed_by for info in trace.modules] == ["", "0", "1"]
    assert trace.facts.classes == 2
    reference = plain_trace()
    for name in trace.gradients:
        np.testing.assert_allclose(trace.gradients[name][:, 2], reference.gradients[name][:, 2], rtol=0.03)


def test_micro_batches_are_measured_together() -> None:
    model = net()
    optimiser = sgd(model)
    with health.watch(model, optimiser, every=1) as watch:
        for _ in range(3):
            for part in range(4):
                loss = functional.cross_entropy(model(X[2 * part : 2 * part + 2]), Y[2 * part : 2 * part + 2]) / 4
                loss.backward()
                watch.loss(loss * 4)
            optimiser.step()
            optimiser.zero_grad()
    trace = watch.trace()
    assert trace.facts.errors == ()
    same_figures(trace, plain_trace())
    with torch.no_grad():
        expected = functional.cross_entropy(net()(X), Y).item()
    assert trace.step_stats["loss"][0] == pytest.approx(expected, rel=1e-5)


def test_many_micro_batches_cost_no_more_than_a_few() -> None:
    model = net()
    optimiser = sgd(model)
    with health.watch(model, optimiser, every=1) as watch:
        for _ in range(200):
            functional.cross_entropy(model(X), Y).backward()
        optimiser.step()
    assert len(watch._probes.modules.captures["0"].calls) == 4 + 6  # the first four, and the 5th, 9th, 17th, 33rd, 65th, 129th
    assert watch.trace().gradients["0"].shape == (1, 4)


def test_evaluation_in_between_leaves_no_trace() -> None:
    reference = plain_trace()
    for guard in (torch.no_grad, torch.inference_mode, torch.enable_grad):
        model = net()
        optimiser = sgd(model)
        with health.watch(model, optimiser, every=1) as watch:
            for _ in range(3):
                with guard():
                    model.eval()
                    watch.dev_loss(functional.cross_entropy(model(5 * X), Y))
                    model(7 * X)
                    model.train()
                functional.cross_entropy(model(X), Y).backward()
                optimiser.step()
                optimiser.zero_grad()
        trace = watch.trace()
        assert trace.facts.errors == ()
        same_figures(trace, reference)
        assert trace.step_stats["training"].tolist() == [1, 1, 1]
        assert len(trace.dev.mean) == 3


def test_training_in_eval_mode_shows() -> None:
    model = net().eval()
    optimiser = sgd(model)
    with health.watch(model, optimiser) as watch:
        model(X).sum().backward()
        optimiser.step()
    assert watch.trace().step_stats["training"].tolist() == [0]


class Pair(nn.Module):
    """A generator and a critic, never called as a whole."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(12)
        self.generator = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3))
        self.critic = nn.Sequential(nn.Linear(3, 4), nn.LeakyReLU(0.2), nn.Linear(4, 1))


def adversarial(watched: bool, critic_steps: int, rounds: int = 6) -> tuple[Pair, Trace | None]:
    pair = Pair()
    of_generator = torch.optim.Adam(pair.generator.parameters(), lr=0.01)
    of_critic = torch.optim.Adam(pair.critic.parameters(), lr=0.02)
    watch = health.watch(nn.ModuleList([pair.generator, pair.critic]), [of_generator, of_critic], every=1)
    if watched:
        watch.start()
    noise = X[:, :2]
    for _ in range(rounds):
        for _ in range(critic_steps):
            of_critic.zero_grad()
            fake = pair.generator(noise).detach()
            (functional.softplus(pair.critic(fake)) + functional.softplus(-pair.critic(X))).mean().backward()
            of_critic.step()
        of_generator.zero_grad()
        functional.softplus(-pair.critic(pair.generator(noise))).mean().backward()
        of_generator.step()
    watch.close()
    return pair, watch.trace() if watched else None


@pytest.mark.parametrize("critic_steps", [1, 3])
def test_two_optimisers_that_take_turns_make_one_step(critic_steps: int) -> None:
    pair, trace = adversarial(True, critic_steps)
    plain, _ = adversarial(False, critic_steps)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(pair.parameters(), plain.parameters(), strict=True))
    assert trace is not None
    assert trace.facts.errors == ()
    assert trace.steps.tolist() == list(range(6))
    assert trace.step_stats["leftover_gradient"][[0, 1, 2, 4]].tolist() == [0] * 4  # steps with details
    assert trace.step_stats["clipped"][[0, 1, 2, 4]].tolist() == [0] * 4
    for name in ("0.0.weight", "1.0.weight"):
        assert np.isfinite(trace.parameter(name, "update_data")).all()
    assert trace.parameter("0.0.weight", "learning_rate").tolist() == [0.01] * 6
    assert trace.parameter("1.0.weight", "learning_rate").tolist() == [0.02] * 6
    assert np.isfinite(trace.gradient("0.0", "std")).all()
    assert np.isfinite(trace.gradient("1.0", "std")).all()


def test_an_optimiser_that_never_steps_is_not_waited_for() -> None:
    model = net()
    used, unused = sgd(model), torch.optim.SGD(model.parameters(), lr=1.0)
    with health.watch(model, [used, unused], every=1) as watch:
        for _ in range(20):
            functional.cross_entropy(model(X), Y).backward()
            used.step()
            used.zero_grad()
    assert watch.steps == 20 - 15  # the first sixteen together, and each one after


def test_a_closure_that_calls_the_model_inside_the_step() -> None:
    traces = []
    for closure in (True, False):
        model = net()
        optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
        with health.watch(model, optimiser, every=1) as watch:
            for _ in range(3):

                def run(model: nn.Module = model, optimiser: torch.optim.Optimizer = optimiser) -> Tensor:
                    optimiser.zero_grad()
                    loss = functional.cross_entropy(model(X), Y)
                    loss.backward()
                    return loss

                if closure:
                    optimiser.step(run)
                else:
                    run()
                    optimiser.step()
        traces.append(watch.trace())
        assert watch.trace().facts.errors == ()
    for name in traces[0].parameter_stats:
        np.testing.assert_allclose(traces[0].parameter_stats[name], traces[1].parameter_stats[name], rtol=1e-5)


def test_lbfgs_is_watched_without_harm() -> None:
    ends = []
    for watched in (True, False):
        model = net()
        optimiser = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=3)
        watch = health.watch(model, optimiser, every=1)
        if watched:
            watch.start()
        for _ in range(3):

            def run(model: nn.Module = model, optimiser: torch.optim.Optimizer = optimiser) -> Tensor:
                optimiser.zero_grad()
                loss = functional.cross_entropy(model(X), Y)
                loss.backward()
                return loss

            optimiser.step(run)
        watch.close()
        if watched:
            assert watch.trace().facts.errors == ()
        ends.append(list(model.parameters()))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*ends, strict=True))


@pytest.mark.parametrize("every", [1, None])
def test_the_loss_of_a_step_of_lbfgs_is_that_of_its_first_call(every: int | None) -> None:
    """`step` returns it. The mean over all weights that were tried stood beside it, so that another loss seemed to be trained."""
    model = net()
    optimiser = torch.optim.LBFGS(model.parameters(), lr=0.2, max_iter=4)
    calls = []

    def run() -> Tensor:
        optimiser.zero_grad()
        loss = functional.cross_entropy(model(X), Y)
        loss.backward()
        calls[-1].append(loss.item())
        return loss

    with health.watch(model, optimiser, every=every) as watch:
        for _ in range(30):
            calls.append([])
            watch.loss(optimiser.step(run))
    assert min(map(len, calls[:4])) > 1
    trace = watch.trace()
    assert trace.facts.errors == ()
    (seen,) = trace.seen("loss")
    assert (seen.figure("passes"), seen.figure("parts")) == (1, 1)
    for step in (0, 1, 2, 3):
        assert seen.figure(f"value {step}") == pytest.approx(calls[step][0])
    assert health.examine(trace, only=["other-loss"]).findings == ()


def test_schedulers_and_new_parameter_groups() -> None:
    model = net()
    optimiser = torch.optim.SGD(model[0].parameters(), lr=0.4)
    scheduler = torch.optim.lr_scheduler.StepLR(optimiser, 1, gamma=0.5)
    with health.watch(model, optimiser, every=1) as watch:
        for number in range(3):
            if number == 1:
                optimiser.add_param_group({"params": model[2].parameters(), "lr": torch.tensor(0.01)})
            functional.cross_entropy(model(X), Y).backward()
            optimiser.step()
            optimiser.zero_grad()
            if number == 0:
                scheduler.step()
    trace = watch.trace()
    assert trace.facts.errors == ()
    assert trace.step_stats["learning_rate"].tolist() == pytest.approx([0.4, 0.2, 0.2])
    assert trace.parameter("2.weight", "learning_rate")[1:].tolist() == pytest.approx([0.01, 0.01])
    assert math.isnan(trace.parameter("2.weight", "update_data")[0])
    assert np.isfinite(trace.parameter("2.weight", "update_data")[1:]).all()


def test_where_it_first_was_not_finite() -> None:
    class Root(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.abs().sqrt()  # from torch 2.14 on, clamp has the slope 0 at its bound

    cases: dict[str, tuple[nn.Module, Tensor, str, str]] = {
        "forward": (nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 2)), X, "1", "forward"),
        "backward": (nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 4), Root(), nn.Linear(4, 2)), 0 * X, "1", "backward"),
        "data": (net(), X.clone().fill_(math.nan), "0", "data"),
    }
    for name, (model, x, where, phase) in cases.items():
        for parameter in model.parameters():
            if parameter.ndim == 1 and name == "backward":
                nn.init.zeros_(parameter)
        optimiser = sgd(model)
        with health.watch(model, optimiser) as watch:
            for number in range(2):
                if name == "forward" and number == 1:
                    with torch.no_grad():
                        model[1].weight[0, 0] = math.inf
                loss = functional.cross_entropy(model(x), Y)
                loss.backward()
                optimiser.step()
                optimiser.zero_grad()
                watch.loss(loss)
        found = watch.trace().first_nonfinite
        assert found is not None, name
        assert (found.step, found.where, found.phase, found.exact) == (int(name == "forward"), where, phase, True), name


def test_scores_masked_by_infinity_are_no_fault() -> None:
    class Masked(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.masked_fill(torch.tensor([False, True, False, False, False]), -math.inf)

    model = nn.Sequential(nn.Linear(3, 5), Masked(), nn.Softmax(1), nn.Linear(5, 2))
    optimiser = sgd(model)
    with health.watch(model, optimiser) as watch:
        loss = functional.cross_entropy(model(X), Y)
        loss.backward()
        optimiser.step()
        watch.loss(loss)
    assert watch.trace().output("1", "nonfinite").tolist() == [0.2]
    assert watch.trace().first_nonfinite is None


def test_a_loss_that_is_not_finite_between_samples_is_looked_at_at_once() -> None:
    model = net()
    optimiser = sgd(model)
    with health.watch(model, optimiser) as watch:
        for number in range(40):
            if number == 33:
                with torch.no_grad():
                    model[0].weight[0, 0] = math.nan
            loss = functional.cross_entropy(model(X), Y)
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
            watch.loss(loss)
    trace = watch.trace()
    assert 33 not in trace.steps
    assert 34 in trace.steps
    assert trace.first_nonfinite is not None
    assert (trace.first_nonfinite.step, trace.first_nonfinite.phase) == (33, "loss")


class Wrapper:
    """What libraries put around an optimiser."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        self.param_groups = optimizer.param_groups

    def step(self) -> None:
        self.optimizer.step()


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda model: model])
def test_wrapped_models_and_optimisers(wrap: Callable[[nn.Module], nn.Module]) -> None:
    model = wrap(net())
    optimiser: Any = Wrapper(sgd(model))
    with health.watch(model, optimiser, every=1) as watch:
        for _ in range(3):
            functional.cross_entropy(model(X), Y).backward()
            optimiser.step()
            optimiser.optimizer.zero_grad()
    trace = watch.trace()
    assert [info.name for info in trace.modules] == ["0", "1", "2"]
    for name in trace.parameter_stats:
        np.testing.assert_allclose(trace.parameter_stats[name], plain_trace().parameter_stats[name], rtol=1e-5)


def test_batch_norm_statistics_worked_on_paper() -> None:
    model = nn.Sequential(nn.BatchNorm1d(2, momentum=0.5, eps=1e-12))
    optimiser = sgd(model)
    x = torch.tensor([[0.0, 1.0], [2.0, 1.0], [4.0, 4.0]])
    with health.watch(model, optimiser) as watch:
        model(x).square().sum().backward()
        optimiser.step()
    # Batch means 2 and 2, unbiased variances 4 and 3; running ones start at 0 and 1 and go half the way.
    trace = watch.trace()
    gap = math.sqrt(((1 - 2) ** 2 / 4 + (1 - 2) ** 2 / 3) / 2)
    ratio = math.sqrt((2.5 / 4) * (2.0 / 3))
    assert trace.norm("0", "mean_gap")[0] == pytest.approx(gap)
    assert trace.norm("0", "variance_ratio")[0] == pytest.approx(ratio)


@pytest.mark.parametrize("anew", [True, False])
def test_an_optimiser_made_anew_in_the_loop_is_said_to_be_another_one(*, anew: bool) -> None:
    model = net()
    with health.watch(model, sgd(model)) as watch:
        for _ in range(3):
            functional.cross_entropy(model(X), Y).backward()
            if anew:
                sgd(model).step()
    with pytest.raises(HealthError, match="no optimiser step was seen") as raised:
        watch.report()
    assert ("made anew inside the loop" in str(raised.value)) is anew
