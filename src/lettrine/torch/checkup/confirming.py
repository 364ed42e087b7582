"""Findings whose remedy was not tried when they were made. The remedy is tried now, and the finding reports the result."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from lettrine.health.checks import Skip
from lettrine.health.combining import TRIAL
from lettrine.health.evidence import EXPERIMENT, Evidence
from lettrine.health.findings import Finding
from lettrine.health.limits import CHECKUP_FELL, TRIAL_STEPS
from lettrine.torch.checkup.attempts import LATE, TRIED, Attempt, attempts_for
from lettrine.torch.checkup.symptoms import SYMPTOMS, shows
from lettrine.torch.checkup.task import Task
from lettrine.torch.checkup.trials import MORE_SEEDS, SHARE, Remedy, Trial, contest, steps_for

CERTAIN: Final = ("clip-before-unscale", "missing-zero-grad", "scaled-gradients")
"""Faults seen in what the optimiser gets: if the remedy does not help, the fault is one without a consequence so far."""
SLOW: Final = ("weight-decay", "no-warmup")
"""Faults that act over hundreds or thousands of steps: a trial may be too short for them, and tells nothing against them."""
LONG: Final = 300  # steps of a trial of such a fault, at most, if there is time
UNTRIED: Final = "not run: the time was up; give minutes=…"


def triable(finding: Finding) -> bool:
    """Whether a program can try a remedy of this finding, and none was tried yet."""
    known = finding.severity == "info" or TRIAL in f"{finding.message} {finding.remedy}" or UNTRIED in finding.remedy
    return not known and finding.id in TRIED


def confirmed(findings: Iterable[Finding], task: Task) -> tuple[list[Finding], list[Evidence]]:
    """The same findings, with the results of their remedies where some can be tried in the time left.

    The best of the remedies that help is recommended with its figures. If none helps, the finding says so.
    """
    found: list[Finding] = []
    seen: list[Evidence] = []
    for finding in findings:
        try:
            told, evidence = _tried(finding, task) if triable(finding) else (finding, ())
        except Skip:  # the time was up in the middle of it
            told, evidence = _untried(finding), ()
        found.append(told)
        seen += evidence
    return found, seen


def _tried(finding: Finding, task: Task) -> tuple[Finding, tuple[Evidence, ...]]:
    """The finding with what its trials gave. Raises Skip if the time is up while they run."""
    possible = attempts_for(finding, task)
    attempts, steps = _fitting(finding, possible, task)
    if not steps:
        return (_untried(finding) if possible else finding), ()
    begun = task.now()
    made = {each.said: each.make(steps) for each in attempts}
    instead = attempts[0].instead
    before = instead(steps) if instead else None
    with task.boxed():
        trials = contest(task, made, steps, instead=before)
        name, best = _best(trials)
        if best.unsure and task.steps_in(SHARE / (2 * len(MORE_SEEDS)), steps) == steps:
            trials |= contest(task, {name: made[name]}, steps, MORE_SEEDS, instead=before)
    told = _withdrawn(finding, trials, made, steps, task) or _told(finding, trials)
    if left_out := ", ".join(each.said for each in possible[len(attempts) :]):
        told = replace(told, remedy=f"{told.remedy} Not tried for lack of time: {left_out}.")
    _, best = _best(trials)
    figures = {"seconds": task.now() - begun, "without": best.without, "with": best.with_remedy, "error": best.error}
    said = " ".join(f"With {name}, {trial.said}." for name, trial in trials.items())
    words = {"title": f"Remedy for {finding.id}", "said": said}
    return told, (Evidence(f"{EXPERIMENT}remedy of {finding.id}", finding.where, (0, 0), figures, words),)


def _untried(finding: Finding) -> Finding:
    return replace(finding, remedy=f"{finding.remedy} Trials of it were {UNTRIED}.")


def _fitting(finding: Finding, attempts: list[Attempt], task: Task) -> tuple[list[Attempt], int]:
    """The remedies to try and for how many steps. If time is short, the less telling remedies are left out: what came late in the
    run has to come in the trial, and a trial of few steps tells nothing.
    """
    least = finding.steps[0] if finding.id in LATE else min(LONG, finding.steps[1]) if finding.id in SLOW else 0
    for most in dict.fromkeys((least + TRIAL_STEPS, TRIAL_STEPS)):
        for count in range(len(attempts), 0, -1):
            steps = steps_for(task, 1 + count, most=most)
            if steps > (least if most > TRIAL_STEPS else 0):
                return attempts[:count], steps
    return [], 0


def _withdrawn(finding: Finding, trials: dict[str, Trial], made: dict[str, Remedy], steps: int, task: Task) -> Finding | None:
    """A remark in place of a symptom that a remedy takes away without any gain, in a training that learns; None otherwise."""
    _, best = _best(trials)
    if finding.id not in SYMPTOMS or best.helps or not best.without < CHECKUP_FELL * best.start:
        return None
    if not shows(task, finding.id, None, steps):
        return None
    gone = [name for name in trials if not shows(task, finding.id, made[name], steps)]
    if not gone:
        return None
    said = f"{finding.message} Tried by experiment: with {gone[0]} this is gone, and the loss is no lower."
    return replace(
        finding, severity="info", message=said, remedy=f"Nothing is needed so far: with {gone[0]}, {trials[gone[0]].said}."
    )


def _best(trials: dict[str, Trial]) -> tuple[str, Trial]:
    """The trial with the lowest loss, among those that help if there are any."""
    return min(trials.items(), key=lambda each: (not each[1].helps, each[1].with_remedy))


def _told(finding: Finding, trials: dict[str, Trial]) -> Finding:
    said, best = _best(trials)
    if best.helps:
        rest = [name for name, trial in trials.items() if not trial.helps]
        others = f" Also tried, without help: {', '.join(rest)}." if rest else ""
        return replace(finding, remedy=f"{finding.remedy} With {said}, {best.said}.{others}")
    if finding.id in LATE and best.without < CHECKUP_FELL * best.start:
        late = f"In {best.steps} steps from the start it did not come, so no remedy could be tried on it"
        return replace(finding, remedy=f"{finding.remedy} {late} (loss {best.start:.3g} → {best.without:.3g}).")
    tried = "; ".join(f"{name}, {trial.said}" for name, trial in trials.items())
    if finding.id in SLOW and finding.steps[1] > best.steps:
        late = f"So soon it makes little difference: with {tried}. It was seen after {finding.steps[1]:,} steps"
        return replace(finding, remedy=f"{finding.remedy} {late}.")
    if finding.id in CERTAIN:
        milder = "info" if finding.severity == "warning" else finding.severity
        return replace(finding, severity=milder, remedy=f"{finding.remedy} So far it makes little difference: with {tried}.")
    if best.unsure:
        doubt = f"The usual remedies were tried, and seeds differ too much to say that one helps: with {said}, {best.said}"
        return replace(finding, remedy=f"{finding.remedy} {doubt}.")
    usual = "the usual remedies were tried and do not help" if len(trials) > 1 else "the usual remedy was tried and does not help"
    return replace(finding, remedy=f"Look for the cause first: {usual} ({tried}).")
