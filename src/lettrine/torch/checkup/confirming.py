"""Findings whose remedy was not tried where they were made: it is tried now, and the finding says what came of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from lettrine.health.evidence import EXPERIMENT, Evidence
from lettrine.health.findings import Finding
from lettrine.torch.checkup.remedies import attempt_for
from lettrine.torch.checkup.task import Task
from lettrine.torch.checkup.trials import Trial, compare, steps_for

TRIAL = "tried for "  # how a trial begins where it is told


def confirmed(findings: Iterable[Finding], task: Task) -> tuple[list[Finding], list[Evidence]]:
    """The same findings: with what their remedy did, where one can be tried and there is time.

    A remedy that helps is recommended with its figures. One that does not is no longer recommended: the finding says so.
    """
    found: list[Finding] = []
    seen: list[Evidence] = []
    for finding in findings:
        attempt = (
            None if finding.severity == "info" or TRIAL in f"{finding.message} {finding.remedy}" else attempt_for(finding, task)
        )
        steps = steps_for(task, 2) if attempt else 0
        if attempt is None or not steps:
            found.append(finding)
            continue
        begun = task.now()
        with task.boxed():
            trial = compare(task, attempt.remedy, steps, instead=attempt.instead)
        found.append(_told(finding, attempt.said, trial))
        figures = {"seconds": task.now() - begun, "without": trial.without, "with": trial.with_remedy, "error": trial.error}
        words = {"title": f"Remedy for {finding.id}", "said": f"With {attempt.said}, {trial.said}."}
        seen.append(Evidence(f"{EXPERIMENT}remedy of {finding.id}", finding.where, (0, 0), figures, words))
    return found, seen


def _told(finding: Finding, said: str, trial: Trial) -> Finding:
    if trial.helps:
        return replace(finding, remedy=f"{finding.remedy} With {said}, {trial.said}.")
    return replace(
        finding, remedy=f"Look for the cause first: the usual remedy, {said}, was tried and does not help ({trial.said})."
    )
