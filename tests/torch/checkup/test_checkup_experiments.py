"""Each experiment on a tiny network that is sick in one known place, and on the same one cured."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from checkup_tasks import (  # noqa: E402
    Cut,
    Dropping,
    Hidden,
    Norms,
    Twins,
    adam,
    mlp,
    pairs,
)
from checkup_verdicts import clean, cross_entropy, the, tried  # noqa: E402
from torch import nn  # noqa: E402

from lettrine import health  # noqa: E402


def test_healthy_tasks_are_silent() -> None:
    report = health.checkup(mlp(), pairs(), cross_entropy, adam(mlp()), minutes=0.3, progress=False)
    assert [each.id for each in report.findings] == ["not-optimised"]  # the optimiser of another model
    model = mlp()
    report = health.checkup(model, pairs(), cross_entropy, adam(model), minutes=0.3, progress=False)
    assert not report.findings
    assert report.healthy


class TestRandomness:
    @pytest.mark.parametrize("how", ["forgotten", "attention"])
    def test_dropout_that_goes_on(self, how: str) -> None:
        found = the(tried("randomness", Dropping(how), pairs()), "eval-dropout")
        assert found.severity == "warning"
        assert found.where == ("Dropping",)

    def test_dropout_that_is_meant(self) -> None:
        assert the(tried("randomness", Dropping("meant"), pairs()), "eval-randomness").severity == "info"
        assert clean(tried("randomness", Dropping("right"), pairs()))
        assert clean(tried("randomness", nn.Sequential(nn.Dropout(0.5), *mlp()), pairs()))


class TestSharedNorm:
    def test_one_norm_for_two_places(self) -> None:
        found = the(tried("shared-norm", Norms(shared=True), pairs(12, 32)), "shared-norm")
        assert found.where == ("norm",)
        assert found.value > found.limit
        assert tried("shared-norm", Norms(shared=False), pairs(12, 32)).outcomes[0].status == "not applicable"

    def test_twins_are_spared(self) -> None:
        assert clean(tried("shared-norm", Twins(), pairs(12, 32)))


class TestParameters:
    def test_layers_in_a_plain_list(self) -> None:
        found = the(tried("parameters", Hidden(listed=False), pairs()), "unregistered")
        assert set(found.where) == {f"layers[{i}].{part}" for i in range(2) for part in ("weight", "bias")}
        assert clean(tried("parameters", Hidden(listed=True), pairs()))

    def test_layers_in_a_plain_list_that_the_optimiser_holds(self) -> None:
        model = Hidden(listed=False)
        optimizer = torch.optim.Adam([*model.parameters(), *(p for layer in model.layers for p in layer.parameters())])
        assert the(tried("parameters", model, pairs(), optimizer=optimizer), "unregistered").severity == "info"

    def test_a_cut(self) -> None:
        found = the(tried("parameters", Cut(detached=True), pairs()), "no-gradient")
        assert found.where == ("body.weight", "body.bias")
        assert clean(tried("parameters", Cut(detached=False), pairs()))

    def test_what_the_optimiser_does_not_hold_may_be_cut_off(self) -> None:
        model = Cut(detached=True)
        assert clean(tried("parameters", model, pairs(), optimizer=adam(model.out)))

    def test_what_nobody_steps(self) -> None:
        model = Cut(detached=False)
        found = the(tried("parameters", model, pairs(), optimizer=adam(model.out)), "not-optimised")
        assert set(found.where) == {"body.weight", "body.bias"}

    def test_parts_the_loss_does_not_use_are_no_fault(self) -> None:
        model = mlp()
        model.pooler = nn.Linear(3, 3)
        model.forward = lambda x: model[2](model[1](model[0](x)))  # type: ignore[method-assign]
        assert clean(tried("parameters", model, pairs()))

    def test_nothing_to_go_back_through(self) -> None:
        def number(model: nn.Module, batch: Any) -> torch.Tensor:
            return cross_entropy(model(batch[0]).detach(), batch[1])

        assert the(tried("parameters", mlp(), pairs(), number), "no-gradient").severity == "critical"


class TestOptimiser:
    def test_eps_that_is_nothing_in_half_precision(self) -> None:
        model = mlp().half()
        batches = [(x.half(), y) for x, y in pairs()]
        found = the(tried("optimiser", model, batches, lambda o, t: cross_entropy(o.float(), t)), "eps-underflow")
        assert "float16" in found.message
        wide = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-4)
        assert clean(tried("optimiser", model, batches, lambda o, t: cross_entropy(o.float(), t), wide))

    def test_the_optimiser_of_another_model(self) -> None:
        assert the(tried("optimiser", mlp(), pairs(), optimizer=adam(mlp())), "not-optimised").severity == "critical"

    def test_steps_lost_in_rounding(self) -> None:
        model = mlp()
        found = the(tried("optimiser", model, pairs(), optimizer=torch.optim.SGD(model.parameters(), lr=1e-12)), "never-moved")
        assert set(found.where) >= {"0.weight", "2.weight"}

    def test_a_warm_up_begins_at_0(self) -> None:
        model = mlp()
        assert clean(tried("optimiser", model, pairs(), optimizer=torch.optim.SGD(model.parameters(), lr=0.0)))


class TestGates:
    @pytest.mark.parametrize("both", [True, False])
    def test_two_factors_that_begin_at_0(self, both: bool) -> None:
        class Gated(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.a, self.gate, self.out = nn.Linear(20, 8), nn.Sequential(nn.Linear(20, 8), nn.Linear(8, 8)), nn.Linear(8, 5)
                for each in self.gate if both else [self.gate[1]]:
                    nn.init.zeros_(each.weight)
                    nn.init.zeros_(each.bias)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.out(self.a(x) * torch.sigmoid(self.gate(x)))

        report = tried("optimiser", Gated(), pairs())
        if both:
            assert the(report, "symmetry").where == ("gate.0.weight", "gate.1.weight")
        else:
            assert clean(report)

    def test_units_that_began_alike(self) -> None:
        model = mlp()
        assert clean(tried("optimiser", model, pairs()))
        for each in model.parameters():
            nn.init.constant_(each, 0.1)
        assert "0.weight" in the(tried("optimiser", model, pairs()), "symmetry").where

    def test_a_softmax_over_one_unit_inside(self) -> None:
        class Pool(nn.Module):
            def __init__(self, axis: int) -> None:
                super().__init__()
                self.score, self.out, self.axis = nn.Linear(4, 1), nn.Linear(4, 5), axis

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                h = x.view(-1, 5, 4)
                return self.out((self.score(h).softmax(self.axis) * h).sum(1))

        found = the(tried("parameters", Pool(2), pairs()), "softmax-axis")
        assert found.where == ("score.weight", "score.bias")
        assert "test_checkup_experiments.py:" in found.message
        assert clean(tried("parameters", Pool(1), pairs()))

    def test_a_softmax_of_one_unit_is_named_before_what_it_shuts(self) -> None:
        model = nn.Sequential(nn.Linear(20, 8), nn.Linear(8, 1), nn.Softmax(1))
        batches = [(x, (y > 2).float()[:, None]) for x, y in pairs()]
        found = the(tried("parameters", model, batches, nn.functional.binary_cross_entropy), "softmax-axis")
        assert found.where[:2] == ("2", "0.weight")
        assert "2 takes a softmax along an axis of one entry" in found.message
