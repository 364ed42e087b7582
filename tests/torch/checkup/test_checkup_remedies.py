"""Remedies on trial: what helps is recommended, what does not is said."""

from __future__ import annotations

import math
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from checkup_tasks import adam, mlp, pairs  # noqa: E402
from checkup_verdicts import clean, figure, the, tried  # noqa: E402
from torch import nn  # noqa: E402

from lettrine import health  # noqa: E402
from lettrine.torch.checkup import trials  # noqa: E402
from lettrine.torch.checkup.experiments.rate import rate_set  # noqa: E402
from lettrine.torch.checkup.making import make_task  # noqa: E402
from lettrine.torch.checkup.remedies import (  # noqa: E402
    clipped,
    eps_that_holds,
    falling,
    half_cosine,
    linear,
    rate_at_peak,
    replayed,
    warmed,
)

functional = nn.functional
cross_entropy = functional.cross_entropy


def two_classes(count: int = 12) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(x, (x[:, :1] > 0).float()) for x, _ in pairs(count, 32)]


class Ending(nn.Module):
    """A network whose last operation is called as a function."""

    def __init__(self, last: Any, width: int = 5) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.body, self.out, self.last = nn.Linear(20, 32), nn.Linear(32, width), last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.out(torch.relu(self.body(x)))
        return self.last(h) if self.last else h


class TestHead:
    @pytest.mark.parametrize("last", [lambda h: functional.softmax(h, 1), lambda h: h.softmax(1), torch.sigmoid])
    def test_an_activation_before_cross_entropy(self, last: Any) -> None:
        model = Ending(last)
        found = the(
            tried("head", model, pairs(12, 32), optimizer=torch.optim.Adam(model.parameters(), lr=1e-2)),
            "probabilities-as-logits",
        )
        assert "held-out loss" in found.message
        assert "Give the last layer's output to the loss as it is" in found.remedy

    def test_a_module_before_cross_entropy(self) -> None:
        model = nn.Sequential(*mlp(), nn.Softmax(1))
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        assert the(tried("head", model, pairs(12, 32), optimizer=optimizer), "probabilities-as-logits")

    def test_a_sigmoid_before_a_loss_with_its_own(self) -> None:
        model = Ending(torch.sigmoid, 1)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        found = the(tried("head", model, two_classes(), nn.BCEWithLogitsLoss(), optimizer), "probabilities-as-logits")
        assert "a binary cross-entropy with logits" not in found.message  # the figures are what is told

    def test_a_likelihood_of_probabilities(self) -> None:
        model = Ending(lambda h: functional.softmax(h, 1))
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        found = the(tried("head", model, pairs(12, 32), functional.nll_loss, optimizer), "probabilities-as-logits")
        assert "both measured by it, tried for 40 steps: held-out loss 1." in found.message  # minus a probability is below 0
        assert "log_softmax" in found.remedy

    @pytest.mark.parametrize(
        ("model", "loss_fn"),
        [
            (Ending(None), cross_entropy),
            (Ending(lambda h: functional.log_softmax(h, 1)), functional.nll_loss),
            (Ending(lambda h: functional.log_softmax(h, 1)), cross_entropy),
        ],
    )
    def test_heads_as_they_are_meant(self, model: nn.Module, loss_fn: Any) -> None:
        assert clean(tried("head", model, pairs(12, 32), loss_fn))

    def test_a_sigmoid_before_a_loss_of_probabilities(self) -> None:
        assert clean(tried("head", Ending(torch.sigmoid, 1), two_classes(), nn.BCELoss()))


def deep(std: float) -> nn.Module:
    torch.manual_seed(1)
    layers: list[nn.Module] = []
    for width in (20, *([32] * 5)):
        layers += [nn.Linear(width, 32), nn.Tanh()]
        nn.init.normal_(layers[-2].weight, std=std)
    return nn.Sequential(*layers, nn.Linear(32, 5))


class TestInitialisation:
    def test_signals_that_die_out(self) -> None:
        found = the(tried("initialisation", deep(0.03), pairs(12, 32)), "activation-scale")
        assert found.where == ("10",)
        assert "die out" in found.message
        assert "lettrine.init.calibrate" in found.remedy
        assert clean(tried("initialisation", deep(0.2), pairs(12, 32)))

    def test_what_learns_all_the_same_has_lost_a_few_steps(self) -> None:
        class Beside(nn.Module):
            """A deep part whose signals die out, beside a layer that is enough."""

            def __init__(self) -> None:
                super().__init__()
                torch.manual_seed(1)
                self.enough, self.deep = nn.Linear(20, 5), deep(0.03)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.enough(x) + self.deep(x)

        model = Beside()
        report = health.checkup(
            model, pairs(12, 32), nn.functional.cross_entropy, adam(model), only=["initialisation"], progress=False, minutes=9
        )
        assert the(report, "activation-scale").severity == "info"
        assert trials.Trial(3.0, 1.2, 1.0, 0.2, 0.01, 40, held_out=True).lost == pytest.approx(0.1)
        assert trials.Trial(3.0, 2.8, 1.0, 1.8, 0.01, 40, held_out=True).lost == pytest.approx(0.9)

    def test_norms_keep_the_spread(self) -> None:
        model = nn.Sequential(nn.LayerNorm(20), *deep(0.03))
        assert tried("initialisation", model, pairs(12, 32)).outcomes[0].status == "not applicable"

    def test_a_network_that_was_trained_is_left_alone(self) -> None:
        model = deep(0.03)
        optimizer = adam(model)
        cross_entropy(model(pairs()[0][0]), pairs()[0][1]).backward()
        optimizer.step()
        report = tried("initialisation", model, pairs(12, 32), optimizer=optimizer)
        assert report.outcomes[0].reason == "the network has been trained already"

    def test_a_last_layer_is_not_blamed_alone_where_all_are_too_large(self) -> None:
        torch.manual_seed(0)
        layers = [nn.Linear(20, 64), nn.Tanh(), *(each for _ in range(4) for each in (nn.Linear(64, 64), nn.Tanh()))]
        model = nn.Sequential(*layers, nn.Linear(64, 5))
        for each in model[::2]:
            nn.init.normal_(each.weight, std=2.0)
        mixing, classes = torch.randn(20, 20) / 20**0.5, torch.randn(20, 5)
        inputs = torch.randn(24, 64, 20)
        batches = [(x, (torch.tanh(2 * x @ mixing) @ classes + 0.3 * torch.randn(64, 5)).argmax(1)) for x in inputs]
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        found = the(tried("start", model, batches, optimizer=optimizer), "initial-loss")
        assert found.id == "initial-loss"
        assert found.remedy.startswith("Scale the weights of all layers before training: lettrine.init.calibrate")
        assert "made 10 times smaller" in found.message
        assert "keep the std of each layer's outputs at 1, tried for" in found.message


class TestRate:
    def test_what_was_tried_and_did_not_help_is_said(self) -> None:
        model = mlp()
        optimizer = torch.optim.SGD(model.parameters(), lr=100.0)
        found = the(tried("learning-rate", model, pairs(12, 32), optimizer=optimizer), "learning-rate-too-high")
        assert "held-out loss" in found.message
        assert "Also tried, without help: A warm-up" in found.remedy

    def test_a_rate_that_is_well_chosen(self) -> None:
        model = mlp()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        assert clean(tried("learning-rate", model, pairs(12, 32), optimizer=optimizer))

    def test_an_eps_far_above_the_gradients(self) -> None:
        model = mlp()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1.0)
        found = the(tried("learning-rate", model, pairs(12, 32), optimizer=optimizer), "update-too-small")
        assert "with eps=1e-08, tried for" in found.message
        assert found.remedy.startswith("Set eps=1e-08;")

    def test_a_huge_rate_that_makes_up_for_an_eps_is_not_advised(self) -> None:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 5))
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1.0)
        report = tried("learning-rate", model, pairs(24, 64), optimizer=optimizer)
        found = the(report, "update-too-small")
        assert figure(report, "learning-rate", "with") < figure(report, "learning-rate", "without")
        assert found.remedy.startswith("Set eps=1e-08;")


class TestConfirming:
    def test_an_eps_that_is_0_in_half_precision(self) -> None:
        model = mlp().half()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-8)
        batches = [(x.half(), y) for x, y in pairs(12, 32)]
        found = the(tried("optimiser", model, batches, lambda o, t: cross_entropy(o.float(), t), optimizer), "eps-underflow")
        assert (
            "With an eps that is not 0 in the parameters' type, tried for 40 steps: held-out loss not finite → 1.5"
            in found.remedy
        )


class TestRemedies:
    def test_each_does_what_it_says_and_all_is_put_back(self) -> None:
        model = mlp()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.5, eps=1e-8)
        optimizer.param_groups[0]["initial_lr"] = 0.8
        task = make_task(model, pairs(), cross_entropy, optimizer, minutes=1)
        group = optimizer.param_groups[0]
        with task.boxed(), rate_at_peak(task):
            assert optimizer.param_groups[0]["lr"] == 0.8
        with task.boxed(), rate_set(task, 0.1):
            assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1)
        with task.boxed(), eps_that_holds(task):
            assert optimizer.param_groups[0]["eps"] == 1e-8  # float32 holds it
        with task.boxed(), warmed(task, 4):
            rates = [(task.step(0), optimizer.param_groups[0]["lr"])[1] for _ in range(5)]
            assert rates == pytest.approx([0.125, 0.25, 0.375, 0.5, 0.5])
        with task.boxed(), falling(task, 4, linear):
            rates = [(task.step(0), optimizer.param_groups[0]["lr"])[1] for _ in range(5)]
            assert rates == pytest.approx([0.8, 0.6, 0.4, 0.2, 0.0])
        with task.boxed(), replayed(task, 4, [0.0, 0.3, 0.7], [1.0, 0.5, 0.25]):  # steps at 0, 1/4, 1/2 and 3/4 of the run
            rates = [(task.step(0), optimizer.param_groups[0]["lr"])[1] for _ in range(4)]
            assert rates == pytest.approx([0.8, 0.8, 0.4, 0.2])
        assert [half_cosine(share) for share in (0.0, 0.5, 1.0)] == pytest.approx([1.0, 0.5, 0.0])
        with task.boxed(), clipped(task, 0.01):
            task.step(0)
            norm = torch.stack([each.grad.norm() for each in model.parameters()]).norm()
            assert float(norm) == pytest.approx(0.01, rel=1e-3)
        assert optimizer.param_groups[0] is group
        assert group["lr"] == 0.5
        assert not optimizer._optimizer_step_pre_hooks

    def test_a_contest_trains_without_a_remedy_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        model = mlp()
        task = make_task(model, pairs(), cross_entropy, torch.optim.SGD(model.parameters(), lr=0.1), minutes=1)
        whole, trained = trials.final_loss, []

        def noting(task: Any, remedy: Any, steps: int, seed: int) -> tuple[float, float]:
            trained.append((remedy is not None, seed))
            return whole(task, remedy, steps, seed)

        monkeypatch.setattr(trials, "final_loss", noting)
        found = trials.contest(task, {"a": lambda t: rate_set(t, 0.1), "b": lambda t: rate_set(t, 1.0)}, 5, seeds=(1, 2))
        assert sorted(trained) == [(False, 1), (False, 2), (True, 1), (True, 1), (True, 2), (True, 2)]
        assert found["a"].gain == 0.0
        assert found["b"].gain > 0

    def test_the_uncertainty_beside_a_run_that_broke_is_that_of_what_came_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        ends = {(False, seed): math.inf for seed in (1, 2, 3)} | {(True, seed): float(seed) for seed in (1, 2, 3)}
        monkeypatch.setattr(trials, "final_loss", lambda _, remedy, __, seed: (4.0, ends[remedy is not None, seed]))
        model = mlp()
        task = make_task(model, pairs(), cross_entropy, torch.optim.SGD(model.parameters(), lr=0.1), minutes=1)
        found = trials.contest(task, {"a": lambda t: rate_set(t, 0.1)}, 5)["a"]
        assert found.helps
        assert found.error == pytest.approx(1 / math.sqrt(3))  # std of 1, 2, 3 is 1
        assert found.said == "tried for 5 steps: held-out loss not finite → 2 (± 0.6)"

    def test_nothing_is_tried_without_an_optimizer(self) -> None:
        model = Ending(None)
        report = health.checkup(model, pairs(), cross_entropy, only=["optimiser", "learning-rate"], progress=False)
        assert [each.status for each in report.outcomes] == ["not applicable", "not applicable"]
