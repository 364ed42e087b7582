"""What watching cannot prove: each sick task of the benchmark is named at its place, and its cure is met with silence."""

from __future__ import annotations

from typing import Final

import pytest

torch = pytest.importorskip("torch")

from benchmarks.checkup.sick import CASES, Case  # noqa: E402

from lettrine import health  # noqa: E402

PROVED: Final = (
    "first-loss",
    "parameters",
    "independence",
    "causality",
    "padding",
    "alone",
    "randomness",
    "optimiser",
    "step",
    "inputs",
    "blanking",
    "norm-statistics",
    "shared-norm",
    "frozen",
    "last-state",
    "padded-targets",
)
"""Experiments that prove what watching can only suspect."""
KINDS: Final = {
    "future-leak": 3,
    "batch-mixing": 5,
    "broadcast": 3,
    "padding": 5,
    "unregistered": 2,
    "eval-dropout": 3,
    "shared-norm": 1,
    "norm-statistics": 1,
    "frozen-random": 1,
    "not-optimised": 1,
    "no-gradient": 1,
    "unused-input": 2,
    "softmax-axis": 1,
    "padding-counted": 1,
    "clip-before-unscale": 1,
    "scaled-gradients": 1,
    "missing-zero-grad": 1,
    "gradients-cleared": 1,
}
"""And at least so many tasks of each kind."""


def test_there_are_tasks_of_every_kind() -> None:
    kinds = [each.kind for each in CASES]
    assert all(kinds.count(kind) >= count for kind, count in KINDS.items()), {kind: kinds.count(kind) for kind in KINDS}


@pytest.mark.slow
@pytest.mark.parametrize("case", [each for each in CASES if each.kind in KINDS], ids=lambda each: each.name)
def test_named_at_its_place_and_silent_when_cured(case: Case) -> None:
    torch.manual_seed(1)
    sick = health.checkup(*case.build(False), only=PROVED, minutes=5, progress=False)
    found = [each for each in sick.findings if each.id == case.kind and each.severity != "info"]
    assert found, sick.findings
    assert not case.where or any(case.where in name for name in found[0].where), found
    torch.manual_seed(1)
    cured = health.checkup(*case.build(True), only=PROVED, minutes=5, progress=False)
    assert [each for each in cured.findings if each.severity != "info"] == []
    assert "failed" not in {each.status for each in cured.outcomes}
