"""One report of a watch and of experiments: each suspicion of the watch is confirmed, withdrawn, or kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from lettrine.arguments import checked
from lettrine.health.evidence import EXPERIMENT
from lettrine.health.findings import Finding, Report

SETTLED_BY: Final[dict[str, tuple[str, ...]]] = {
    "leak": ("causality", "independence", "answer"),
    "future-leak": ("causality",),
    "batch-mixing": ("independence",),
    "broadcast": ("first-loss",),
    "padding": ("padding",),
    "padding-mask": ("padding",),
    "padding-counted": ("padded-targets",),
    "unregistered": ("parameters",),
    "eval-dropout": ("randomness",),
    "frozen-random": ("frozen",),
    "shared-norm": ("shared-norm",),
    "weight-decay": ("decay",),
    "target-scale": ("scales",),
    "input-scale": ("scales",),
}
"""Findings of the watch that experiments can settle, with those experiments. A finding is withdrawn if all of them found nothing.
One that is "not applicable" settles nothing, and at least one must have run."""

CONFIRMED_BY: Final = {"leak": ("future-leak", "batch-mixing", "leak"), "padding-mask": ("padding",)}
"""Findings of the check-up that prove a suspicion of the watch under another name."""


SUSPICIONS: Final = ("leak", "future-leak", "batch-mixing", "padding", "padding-mask")
"""Findings that watching can only suspect."""


def suggesting(watched: Report) -> Report:
    """The same report; each suspicion says which experiment can settle it."""
    advice = "To settle it, run health.checkup: it takes a minute."
    suspected = {each: replace(each, remedy=f"{each.remedy} {advice}") for each in watched.findings if each.id in SUSPICIONS}
    return replace(watched, findings=tuple(suspected.get(each, each) for each in watched.findings))


@checked
def combine(watched: Report, tried: Report) -> Report:
    """One report of both: proved findings first, then those of the watch that were not withdrawn, then remarks.

    If an experiment proves a finding of the watch, its own finding replaces it. If an experiment contradicts a finding, this
    becomes a remark that says so. The trace is that of the watch, with the evidence of both.
    """
    proved = {finding.id for finding in tried.findings if finding.severity != "info"}
    status = {outcome.check: outcome.status for outcome in tried.outcomes}
    loud = [finding for finding in tried.findings if finding.severity != "info"]
    quiet = [finding for finding in tried.findings if finding.severity == "info"]
    for finding in watched.findings:
        if finding.severity == "info":
            quiet.append(finding)
        elif proved & set(CONFIRMED_BY.get(finding.id, (finding.id,))):
            continue
        elif _spoken_against(finding, status):
            names = " and ".join(name for name in SETTLED_BY[finding.id] if status.get(name) == "passed")
            text = f"{finding.message} Suspected, and not confirmed by experiment ({names})."
            quiet.append(replace(finding, severity="info", message=text))
        else:
            loud.append(finding)
    trace = watched.trace
    notes = {**trace.facts.notes, "experiments": tried.trace.facts.notes.get("experiments", "")}
    evidence = (*trace.evidence, *(each for each in tried.trace.evidence if each.kind.startswith(EXPERIMENT)))
    trace = replace(trace, evidence=evidence, facts=replace(trace.facts, notes=notes))
    return Report((*loud, *quiet), (*watched.outcomes, *tried.outcomes), trace, watched.title, watched.unjudged)


def _spoken_against(finding: Finding, status: dict[str, str]) -> bool:
    settling = [status.get(name, "not run") for name in SETTLED_BY.get(finding.id, ())]
    return "passed" in settling and all(each in ("passed", "not applicable") for each in settling)
