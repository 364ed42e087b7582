"""Watching and experiments in one report."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from checkup_tasks import Dropping, adam, mlp, pairs  # noqa: E402
from torch import nn  # noqa: E402

from lettrine import health  # noqa: E402
from lettrine.errors import HealthError  # noqa: E402
from lettrine.health.combining import combine, suggesting  # noqa: E402
from lettrine.health.evidence import EXPERIMENT  # noqa: E402
from lettrine.health.findings import Finding, Outcome, Report  # noqa: E402
from lettrine.torch import checkup as room  # noqa: E402

cross_entropy = nn.functional.cross_entropy


def suspicion(kind: str, severity: str = "warning") -> Finding:
    return Finding(kind, severity, ("a",), (3, 9), 1.0, 2.0, f"It may be {kind}.", "why", "remedy", "source")


def report(findings: tuple[Finding, ...], outcomes: tuple[Outcome, ...]) -> Report:
    model = mlp()
    plain = health.checkup(model, pairs(), cross_entropy, adam(model), only=["data"], progress=False)
    return replace(plain, findings=findings, outcomes=outcomes)


@pytest.mark.parametrize(
    ("status", "severity"),
    [
        ({"causality": "passed", "independence": "passed", "answer": "passed"}, "info"),
        ({"causality": "not applicable", "independence": "passed", "answer": "not applicable"}, "info"),
        ({"causality": "not run", "independence": "passed", "answer": "passed"}, "warning"),
        ({"causality": "not applicable", "independence": "not applicable", "answer": "not applicable"}, "warning"),
        ({"causality": "failed", "independence": "passed", "answer": "passed"}, "warning"),
        ({}, "warning"),
    ],
)
def test_a_suspicion_is_withdrawn_only_by_experiments_that_ran(status: dict[str, str], severity: str) -> None:
    watched = report((suspicion("leak"),), (Outcome("leak", "found"),))
    tried = report((), tuple(Outcome(name, each) for name, each in status.items()))
    both = combine(watched, tried)
    assert [each.severity for each in both.findings] == [severity]
    assert ("not confirmed by experiment" in both.findings[0].message) is (severity == "info")
    assert len(both.outcomes) == 1 + len(status)


def test_a_proof_takes_the_place_of_the_suspicion() -> None:
    watched = report((suspicion("leak"), suspicion("saturation")), ())
    proof = replace(suspicion("future-leak", "critical"), message="Proved.")
    both = combine(watched, report((proof,), (Outcome("causality", "found"),)))
    assert [each.id for each in both.findings] == ["future-leak", "saturation"]


def test_what_no_experiment_settles_stands() -> None:
    both = combine(report((suspicion("spike"),), ()), report((), (Outcome("causality", "passed"),)))
    assert [each.severity for each in both.findings] == ["warning"]


def test_a_watch_with_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = room.checkup
    quick: dict[str, Any] = {"only": ["parameters", "randomness"], "progress": False}
    tried: list[Report] = []

    def noting(*args: Any, watched: Report) -> Report:
        tried.append(whole(*args, watched=watched, **quick))
        return tried[-1]

    monkeypatch.setattr(room, "checkup", noting)
    model = Dropping("forgotten")
    optimizer = adam(model)
    batches = pairs()
    with health.watch(model, optimizer, task=(batches, cross_entropy)) as watch:
        for number in range(30):
            x, y = batches[number % len(batches)]
            optimizer.zero_grad()
            loss = cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
        assert not [each for each in watch.report().trace.evidence if each.kind.startswith(EXPERIMENT)]  # it still listens
    both = watch.report()
    assert "eval-dropout" in {each.id for each in both.findings}
    assert {f"{EXPERIMENT}parameters", f"{EXPERIMENT}randomness"} <= {each.kind for each in both.trace.evidence}
    assert len(both.trace.steps) > 0  # and the pictures of the training are there
    assert watch.report().findings == both.findings
    assert len(tried) == 1  # once is enough


def test_a_suspicion_says_how_it_is_settled() -> None:
    found = suggesting(report((suspicion("leak"), suspicion("saturation")), ())).findings
    assert ["run health.checkup: it takes a minute" in each.remedy for each in found] == [True, False]


def test_a_remedy_of_the_watch_is_tried() -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-5)
    plain = health.checkup(model, pairs(12), cross_entropy, optimizer, only=["data"], progress=False)
    watched = replace(plain, findings=(suspicion("update-too-small"), suspicion("divergence")), outcomes=())
    optimizer.param_groups[0]["lr"] = 1e-2
    both = health.checkup(model, pairs(12), cross_entropy, optimizer, only=["data"], progress=False, watched=watched)
    small, large = both.findings
    assert "With a rate 10 times higher, tried for 40 steps: held-out loss 1.5" in small.remedy
    assert "were tried and do not help" in large.remedy  # the rate was not too high
    assert "falls to 0 along half a cosine" in large.remedy
    told = [each.words["said"] for each in both.trace.evidence if each.kind == f"{EXPERIMENT}remedy of update-too-small"]
    assert len(told) == 1


def test_clipping_in_the_right_order_is_tried() -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    plain = health.checkup(model, pairs(12), cross_entropy, optimizer, only=["data"], progress=False)
    early = replace(suspicion("clip-before-unscale"), value=1 / 65536, limit=1.0)
    both = health.checkup(
        model, pairs(12), cross_entropy, optimizer, only=["data"], progress=False, watched=replace(plain, findings=(early,))
    )
    assert "With clipping at 1 after unscaling, tried for 40 steps" in both.findings[0].remedy


def tower(act: type[nn.Module], layers: int) -> nn.Sequential:
    torch.manual_seed(1)
    made: list[nn.Module] = []
    for width in (20, *([32] * (layers - 1))):
        made += [nn.Linear(width, 32), act()]
    return nn.Sequential(*made, nn.Linear(32, 5))


def saturated() -> nn.Module:
    model = tower(nn.Tanh, 3)
    with torch.no_grad():
        for place in (0, 2, 4):
            model[place].weight.mul_(50)
    return model


def dead() -> nn.Module:
    model = tower(nn.ReLU, 2)
    torch.nn.init.constant_(model[0].bias, -100.0)
    return model


def dying_out() -> nn.Module:
    model = tower(nn.ReLU, 5)
    with torch.no_grad():
        for place in (0, 2, 4, 6, 8):
            model[place].weight.mul_(0.05)
            model[place].bias.zero_()
    return model


@pytest.mark.parametrize(
    ("kind", "build", "rate", "said"),
    [
        ("saturation", saturated, 0.01, "at 1"),
        ("dead-units", dead, 0.1, "drawn anew"),
        ("dead-units", lambda: tower(nn.ReLU, 4), 3.0, "times lower"),
        ("gradient-scale", dying_out, 0.1, "at 1"),
        ("activation-scale", dying_out, 0.1, "at 1"),
    ],
)
def test_another_start_or_rate_is_tried_for_what_only_a_watch_sees(kind: str, build: Any, rate: float, said: str) -> None:
    model = build()
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    plain = health.checkup(model, pairs(12, 32), cross_entropy, optimizer, only=["data"], progress=False)
    watched = replace(plain, findings=(suspicion(kind, "critical"),))
    both = health.checkup(model, pairs(12, 32), cross_entropy, optimizer, only=["data"], progress=False, watched=watched)
    (found,) = both.findings
    assert found.severity == "critical"
    assert said in found.remedy
    assert "tried for 40 steps: held-out loss 1." in found.remedy


class Beside(nn.Module):
    """A layer that is enough, and beside it a part that saturates and hardly counts."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.enough, self.part = nn.Linear(20, 5), nn.Sequential(nn.Linear(20, 32), nn.Tanh(), nn.Linear(32, 5))
        with torch.no_grad():
            self.part[0].weight.mul_(factor)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.enough(x) + 1e-3 * self.part(x)


@pytest.mark.parametrize(("factor", "severity"), [(50.0, "info"), (1.0, "warning")])
def test_a_symptom_that_costs_nothing_is_withdrawn(factor: float, severity: str) -> None:
    model = Beside(factor)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    plain = health.checkup(model, pairs(12, 32), cross_entropy, optimizer, only=["data"], progress=False)
    watched = replace(plain, findings=(suspicion("saturation"),))
    (found,) = health.checkup(
        model, pairs(12, 32), cross_entropy, optimizer, only=["data"], progress=False, watched=watched
    ).findings
    assert found.severity == severity
    assert ("this is gone, and the loss is no lower" in found.message) is (severity == "info")
    assert ("do not help" in found.remedy) is (severity == "warning")  # it did not show, so nothing was proved about it


def test_a_model_that_is_being_watched_is_not_tried() -> None:
    model = mlp()
    optimizer = adam(model)
    with health.watch(model, optimizer), pytest.raises(HealthError, match="close the watch first"):
        health.checkup(model, pairs(), cross_entropy, optimizer, progress=False)
    assert health.checkup(model, pairs(), cross_entropy, optimizer, only=["data"], progress=False).healthy
