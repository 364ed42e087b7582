"""One report of a watch and of experiments: each suspicion of the watch is confirmed, withdrawn, or kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from lettrine.arguments import checked
from lettrine.health.checks.causes import EXPLAINS, RATE
from lettrine.health.evidence import EXPERIMENT
from lettrine.health.findings import SEVERITIES, Finding, Report

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
}
"""Findings of the watch that experiments can settle, with those experiments. A finding is withdrawn if all of them found nothing.
One that is "not applicable" settles nothing, and at least one must have run. Weight decay and scales are not among them: what a
run of thousands of steps has measured is not disproved by a trial of forty."""

CONFIRMED_BY: Final = {"leak": ("future-leak", "batch-mixing", "leak"), "padding-mask": ("padding",)}
"""Findings of the check-up that prove a suspicion of the watch under another name."""

PROVES: Final[dict[str, tuple[str, ...]]] = {
    **EXPLAINS,
    "learning-rate-too-low": (*RATE["up"], "no-learning"),
    "learning-rate-too-high": (*RATE["down"], "spike", "no-learning", "dead-units", "non-finite"),
}
"""What a cause explains that was proved by a trial of its remedy; what is not finite, if a lower rate is advised for it."""

TRIAL: Final = "tried for "  # first words of a reported trial

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

    If an experiment proves a finding of the watch, its own finding replaces it; a cause that a trial proved takes over the
    symptoms it explains. If an experiment contradicts a finding, this becomes a remark that says so. The trace is that of the
    watch, with the evidence of both.
    """
    proved = {finding.id for finding in tried.findings if finding.severity != "info"}
    status = {outcome.check: outcome.status for outcome in tried.outcomes}
    loud = [finding for finding in tried.findings if finding.severity != "info"]
    tried_loud = len(loud)
    quiet = [finding for finding in tried.findings if finding.severity == "info"]
    for finding in watched.findings:
        if proved & set(CONFIRMED_BY.get(finding.id, (finding.id,))):
            continue
        if _spoken_against(finding, status):
            names = [name for name in SETTLED_BY[finding.id] if status.get(name) == "passed"]
            told = [seen.words["said"] for name in names for seen in tried.trace.seen(EXPERIMENT + name)]
            figures = " ".join(["", *(said for said in told if TRIAL in said)])
            text = f"{finding.message} Suspected, and not confirmed by experiment ({' and '.join(names)}).{figures}"
            quiet.append(replace(finding, severity="info", message=text))
        elif finding.severity == "info":
            quiet.append(finding)
        elif (place := _proved_cause(finding, loud[:tried_loud])) is not None:
            loud[place] = _explaining(loud[place], finding)
        else:
            loud.append(finding)
    trace = watched.trace
    notes = {**trace.facts.notes, "experiments": tried.trace.facts.notes.get("experiments", "")}
    evidence = (*trace.evidence, *(each for each in tried.trace.evidence if each.kind.startswith(EXPERIMENT)))
    trace = replace(trace, evidence=evidence, facts=replace(trace.facts, notes=notes))
    return Report((*loud, *quiet), (*watched.outcomes, *tried.outcomes), trace, watched.title, watched.unjudged)


def _proved_cause(symptom: Finding, proofs: list[Finding]) -> int | None:
    """The place of the finding that explains a symptom of the watch, and was proved by a trial of its remedy."""
    if symptom.id == "non-finite" and "learning rate" not in symptom.remedy:
        return None  # a root of 0, or an operation that no rate mends
    proofs_of = (place for place, each in enumerate(proofs) if TRIAL in each.message and symptom.id in PROVES.get(each.id, ()))
    return next(proofs_of, None)


def _explaining(cause: Finding, symptom: Finding) -> Finding:
    """The cause, as severe as its symptom."""
    severity = max(cause.severity, symptom.severity, key=SEVERITIES.index)
    return replace(cause, severity=severity, explains=(*cause.explains, symptom.message, *symptom.explains))


def _spoken_against(finding: Finding, status: dict[str, str]) -> bool:
    settling = [status.get(name, "not run") for name in SETTLED_BY.get(finding.id, ())]
    return "passed" in settling and all(each in ("passed", "not applicable") for each in settling)
