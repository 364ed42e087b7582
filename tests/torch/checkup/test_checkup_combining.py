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
from lettrine.health.combining import combine  # noqa: E402
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

    def noting(*args: Any) -> Report:
        tried.append(whole(*args, **quick))
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


def test_a_model_that_is_being_watched_is_not_tried() -> None:
    model = mlp()
    optimizer = adam(model)
    with health.watch(model, optimizer), pytest.raises(HealthError, match="close the watch first"):
        health.checkup(model, pairs(), cross_entropy, optimizer, progress=False)
    assert health.checkup(model, pairs(), cross_entropy, optimizer, only=["data"], progress=False).healthy
