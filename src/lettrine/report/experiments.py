"""The experiments of a check-up, one row each, for the page and the terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lettrine.health.evidence import EXPERIMENT
from lettrine.health.findings import Report

SIGNS: Final = {"passed": "✓", "found": "✗", "tried": "·", "not applicable": "-", "not run": "…", "failed": "!"}
HEADER: Final = ("experiment", "outcome", "what was measured", "seconds")


@dataclass(frozen=True)
class ExperimentRow:
    """One experiment, or the trial of a remedy ("tried"). said: what it measured, or why it did not. seconds: NaN where it
    was not run.
    """

    id: str
    title: str
    status: str
    said: str
    seconds: float


def experiment_rows(report: Report) -> list[ExperimentRow]:
    """In the order in which they ran; empty for a report without experiments."""
    seen = {each.kind.removeprefix(EXPERIMENT): each for each in report.trace.evidence if each.kind.startswith(EXPERIMENT)}
    if not seen:
        return []
    known = dict(each.partition("=")[::2] for each in report.trace.facts.notes.get("experiments", "").split("|"))
    rows = []
    last = {outcome.check: place for place, outcome in enumerate(report.outcomes)}
    for place, outcome in enumerate(report.outcomes):
        if last[outcome.check] != place:
            continue  # a check of a watch that has the name of an experiment
        each = seen.get(outcome.check)
        if each is not None:
            title, said = each.words["title"], each.words["said"]
            rows.append(ExperimentRow(outcome.check, title, outcome.status, said, each.figure("seconds")))
        elif outcome.check in known:
            rows.append(ExperimentRow(outcome.check, known[outcome.check], outcome.status, outcome.reason, float("nan")))
    trials = [each for each in report.trace.evidence if each.kind.startswith(f"{EXPERIMENT}remedy of ")]
    rows += [
        ExperimentRow(
            each.kind.removeprefix(EXPERIMENT), each.words["title"], "tried", each.words["said"], each.figure("seconds")
        )
        for each in trials
    ]
    return rows


def cells(rows: list[ExperimentRow]) -> list[tuple[str, str, str, str]]:
    """The rows as text."""
    return [(row.title, row.status, row.said, "-" if row.seconds != row.seconds else f"{row.seconds:.2g}") for row in rows]
