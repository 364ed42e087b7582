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


def test_a_model_that_is_being_watched_is_not_tried() -> None:
    model = mlp()
    optimizer = adam(model)
    with health.watch(model, optimizer), pytest.raises(HealthError, match="close the watch first"):
        health.checkup(model, pairs(), cross_entropy, optimizer, progress=False)
    assert health.checkup(model, pairs(), cross_entropy, optimizer, only=["data"], progress=False).healthy
