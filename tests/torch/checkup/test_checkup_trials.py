"""Remedies on trial: each side trains with the same batches and the same noise."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

torch = pytest.importorskip("torch")

from checkup_tasks import adam, mlp, pairs  # noqa: E402
from checkup_verdicts import clean, cross_entropy, figure, the, tried  # noqa: E402
from torch import nn  # noqa: E402

from lettrine.health.findings import Report  # noqa: E402
from lettrine.health.limits import CHECKUP_CRAWL  # noqa: E402
from lettrine.torch.checkup.making import make_task  # noqa: E402
from lettrine.torch.checkup.trials import Trial, compare  # noqa: E402


class TestTrials:
    def test_both_sides_are_the_same_without_a_difference(self) -> None:
        model = mlp()
        task = make_task(model, pairs(), cross_entropy, adam(model), minutes=5)
        trial = compare(task, lambda _: nullcontext(), 5)
        assert trial.gain == 0
        assert trial.error == 0
        assert trial.with_remedy < trial.start
        assert not trial.helps

    def test_what_is_noise_does_not_help(self) -> None:
        assert Trial(3.0, 2.0, 1.5, 0.5, 0.1, 40, held_out=True).helps
        assert not Trial(3.0, 2.0, 1.5, 0.5, 0.2, 40, held_out=True).helps  # within 3 standard errors
        assert not Trial(3.0, 2.0, 1.95, 0.05, 0.001, 40, held_out=True).helps  # not worth it
        assert not Trial(3.0, 2.0, float("inf"), float("-inf"), float("nan"), 40, held_out=True).helps
        assert Trial(3.0, float("inf"), 1.0, float("inf"), float("nan"), 40, held_out=True).helps
        # 40 → 1, 10 → 1 and 4 → 1: the amounts spread as widely as they are, the factors do not.
        assert Trial(50.0, 18.0, 1.0, 17.0, 11.1, 40, held_out=True, log_gain=2.46, log_error=0.67).helps
        assert not Trial(50.0, 18.0, 1.0, 17.0, 11.1, 40, held_out=True, log_gain=2.46, log_error=0.9).helps
        assert "2 → 1.5" in Trial(3.0, 2.0, 1.5, 0.5, 0.1, 40, held_out=True).said

    def test_a_gain_that_differs_by_factors_between_seeds(self) -> None:
        generator = torch.Generator().manual_seed(0)
        x = 1e5 * torch.rand(12, 20, 1, generator=generator)
        batches = [(each, (each > 5e4).float()) for each in x]
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(1, 12), nn.ReLU(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 1))
        found = the(tried("scales", model, batches, nn.BCEWithLogitsLoss(), adam(model)), "input-scale")
        assert "4." in found.message

    def test_large_inputs(self) -> None:
        def net() -> nn.Module:
            torch.manual_seed(1)
            return nn.Sequential(nn.Linear(20, 32), nn.Tanh(), nn.Linear(32, 5))

        model = net()
        batches = [(300 * x + 500, y) for x, y in pairs(8)]
        found = the(tried("scales", model, batches, optimizer=torch.optim.SGD(model.parameters(), lr=0.05)), "input-scale")
        assert "(x - " in found.remedy
        assert "→" in found.message
        model = net()
        assert clean(tried("scales", model, pairs(8), optimizer=torch.optim.SGD(model.parameters(), lr=0.05)))

    def test_large_inputs_that_do_no_harm(self) -> None:
        model = nn.Sequential(nn.BatchNorm1d(20), nn.Linear(20, 32), nn.Tanh(), nn.Linear(32, 5))
        report = tried("scales", model, [(300 * x + 500, y) for x, y in pairs(8)])
        assert clean(report)
        assert "standardises its inputs itself" in report.trace.evidence[0].words["said"]

    def test_large_targets(self) -> None:
        model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 1))
        batches = [(x, 5000 * x[:, :1] + 20000) for x, _ in pairs(8)]
        found = the(tried("scales", model, batches, nn.MSELoss()), "target-scale")
        assert "(y - " in found.remedy
        assert figure(tried("scales", model, batches, nn.MSELoss()), "scales", "error targets") > 0

    def test_large_targets_under_a_rate_that_standard_ones_stand(self) -> None:
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(20, 8), nn.Tanh(), nn.Linear(8, 1))
        batches = [(x, 40 * x[:, :1] - 2700) for x, _ in pairs(8)]
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        found = the(tried("scales", model, batches, nn.MSELoss(), optimizer), "target-scale")
        assert "not finite" not in found.message  # the gradients of standardised targets are small as well
        assert "(y + 2.7" in found.remedy

    def test_fresh_layers_that_are_frozen(self) -> None:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(20, 3), nn.ReLU(), nn.Linear(3, 5))
        model[0].requires_grad_(requires_grad=False)
        optimizer = torch.optim.Adam(model[2].parameters(), lr=0.03)
        found = the(tried("frozen", model, pairs(12, 32), optimizer=optimizer), "frozen-random")
        assert found.where == ("0.weight",)

    def test_a_train_of_its_own_that_was_never_called(self) -> None:
        class Staged(nn.Sequential):
            def train(self, mode: bool = True) -> Staged:
                super().train(mode)
                self[0].eval().requires_grad_(False)
                return self

        model = Staged(nn.Linear(20, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Linear(16, 5))
        found = the(tried("frozen", model, pairs(12, 32)), "wrong-mode")
        assert found.where == ("0.weight", "0.bias")
        assert "train() of Staged freezes 0.weight and 1 more, and has not been called" in found.message
        assert model[0].weight.requires_grad  # put back
        with torch.no_grad():
            model[0].weight *= 1.3  # as trained elsewhere, and not fresh any more
        assert clean(tried("frozen", model.train(), pairs(12, 32)))

    def test_a_frozen_layer_that_is_patched_is_meant(self) -> None:
        class Patched(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.base, self.down, self.up = nn.Linear(20, 16), nn.Linear(20, 2, bias=False), nn.Linear(2, 16, bias=False)
                self.base.requires_grad_(requires_grad=False)
                self.out = nn.Linear(16, 5)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.out(torch.tanh(self.base(x) + self.up(self.down(x))))

        assert clean(tried("frozen", Patched(), pairs(12, 32)))

    def test_a_frozen_network_that_only_makes_targets_is_meant(self) -> None:
        class Distilled(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.target, self.net = nn.Linear(20, 8), nn.Sequential(nn.Linear(20, 16), nn.Tanh(), nn.Linear(16, 8))
                self.target.requires_grad_(requires_grad=False)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.net(x) - self.target(x)

        batches = [(x, torch.zeros(len(x), 8)) for x, _ in pairs(12, 32)]
        report = tried("frozen", Distilled(), batches, nn.MSELoss())  # unfrozen, it would become what is easy to learn
        assert not report.findings
        assert "No gradient ties them" in report.outcomes[0].reason

    def test_frozen_layers_drawn_from_a_normal_distribution(self) -> None:
        torch.manual_seed(0)
        body = nn.Sequential(nn.Linear(20, 200), nn.LayerNorm(200), nn.ReLU(), nn.Linear(200, 100), nn.ReLU(), nn.Linear(100, 3))
        for each in body[::3]:
            nn.init.kaiming_normal_(each.weight)
        nn.init.kaiming_normal_(body[5].weight)
        body.requires_grad_(requires_grad=False)
        model = nn.Sequential(body, nn.ReLU(), nn.Linear(3, 5))
        optimizer = torch.optim.Adam(model[2].parameters(), lr=0.03)
        found = the(tried("frozen", model, pairs(12, 32), optimizer=optimizer), "frozen-random")
        assert found.where == ("0.0.weight", "0.3.weight", "0.5.weight")  # two of them too small to be sure of alone
        assert "(normal with std 0.3" in found.message
        with torch.no_grad():
            body[1].weight += 0.1 * torch.randn(200)  # a norm that has learned: so may have the rest
        assert clean(tried("frozen", model, pairs(12, 32), optimizer=optimizer))

    def test_rates(self) -> None:
        def at(rate: float) -> Report:
            model = nn.Sequential(nn.Linear(20, 32), nn.Tanh(), nn.Linear(32, 5))
            return tried(
                "learning-rate", model, pairs(8, 32), optimizer=torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
            )

        high, low = the(at(80.0), "learning-rate-too-high"), the(at(1e-6), "learning-rate-too-low")
        assert high.value > high.limit
        assert low.value < low.limit
        assert "→" in high.message
        assert "Set lr=" in low.remedy
        assert clean(at(0.1))

    def test_steps_that_hardly_move_the_weights(self) -> None:
        """A few rows, which take hundreds of steps to learn: a short trial would show nothing."""
        generator = torch.Generator().manual_seed(1)
        x = torch.rand(60, 7, generator=generator)
        y = ((x[:, 0] > x[:, 1]) ^ (x[:, 2] > 0.8)).long()

        def at(rate: float) -> Report:
            torch.manual_seed(1)
            model = nn.Sequential(nn.Linear(7, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))
            batches = [(x[rows], y[rows]) for rows in torch.arange(60).split(10)]
            return tried("learning-rate", model, batches, optimizer=torch.optim.SGD(model.parameters(), lr=rate))

        found = the(at(3e-4), "learning-rate-too-low")  # a thousandth of the best: not as far as a short trial is made for
        assert f", tried for {CHECKUP_CRAWL} steps: held-out loss 0.69" in found.message
        assert found.remedy.startswith(("Set lr=0.03;", "Set lr=0.3;"))
        assert clean(at(0.1))

    def test_a_schedule_that_begins_low_is_judged_by_its_peak(self) -> None:
        model = nn.Sequential(nn.Linear(20, 32), nn.Tanh(), nn.Linear(32, 5))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: step / 1e6 + 1e-6)
        report = tried("learning-rate", model, pairs(8, 32), optimizer=optimizer)
        assert clean(report)
        assert figure(report, "learning-rate", "present") == 0.1

    def test_decay_that_wins(self) -> None:
        def with_decay(decay: float) -> Report:
            torch.manual_seed(0)
            model = mlp()
            return tried(
                "decay", model, pairs(8, 32), optimizer=torch.optim.SGD(model.parameters(), 0.1, 0.9, weight_decay=decay)
            )

        found = the(with_decay(1.0), "weight-decay")
        assert found.value > found.limit
        assert clean(with_decay(1e-4))

    def test_a_last_layer_that_is_too_large(self) -> None:
        def with_last(factor: float, rate: float = 0.01) -> Report:
            torch.manual_seed(0)
            model = mlp()
            with torch.no_grad():
                model[2].weight.mul_(factor)
            return tried("start", model, pairs(8, 32), optimizer=torch.optim.SGD(model.parameters(), rate))

        found = [each for each in with_last(100.0).findings if each.severity == "warning"]
        assert [each.id for each in found] == ["initial-loss"]
        assert found[0].where == ("2",)
        assert clean(with_last(1.0))
        later = with_last(30.0, 0.005)  # 40 steps are lost, and no more
        assert [each.severity for each in later.findings] == ["info"]
        (said,) = (each.words for each in later.trace.evidence if "start" in each.kind)
        assert "learns all the same" in str(said)

    def test_targets_that_belong_to_nothing(self) -> None:
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(768, 20, generator=generator)
        y = x[:, :5].argmax(1)

        def with_targets(target: torch.Tensor) -> Report:
            return tried("targets", mlp(), list(zip(x.split(48), target.split(48), strict=True)))

        found = the(with_targets(y[torch.randperm(768, generator=generator)]), "shuffled-targets")
        assert found.severity == "warning"
        assert not with_targets(y).findings
