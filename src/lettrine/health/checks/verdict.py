"""Runs the checks, orders the findings by likely cause, and merges consequences into their cause."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial

from lettrine.arguments import checked
from lettrine.errors import HealthError
from lettrine.health.checks.by_rank import merged
from lettrine.health.checks.causes import ACTS, BROKEN, EXPLAINS, FOLLOWING, HELD_OUT, ORDER, RATE
from lettrine.health.checks.consequence import weigh
from lettrine.health.checks.judging import unjudged
from lettrine.health.checks.registry import CHECKS, NEEDS, Check, Skip
from lettrine.health.findings import Finding, Outcome, Report
from lettrine.health.limits import NORM_NOISE
from lettrine.health.replicas import recorded
from lettrine.health.trace import Trace


@checked
def examine(trace: Trace, *, only: Iterable[str] | None = None, title: str = "Health") -> Report:
    """Run every check, or `only` some, on a trace.

    Raises HealthError if nothing was recorded, or for an unknown id. An exception in a check is not raised: its outcome is
    "failed".
    """
    if not len(trace.steps) and not len(trace.loss.step):
        raise HealthError(
            "nothing was recorded, so nothing can be said; take at least one optimizer step between the start of the watch "
            "and report(), with the optimizer that was given to it"
        )
    wanted = list(CHECKS) if only is None else list(only)
    if unknown := [name for name in wanted if name not in CHECKS]:
        raise HealthError(f"checks got {', '.join(map(repr, unknown))}; expected among {', '.join(CHECKS)}")
    found, outcomes = _all(wanted, trace)
    if len(ranks := recorded(trace)) > 1:
        of_each = [found, *(_all(wanted, each)[0] for rank, each in ranks.items() if rank)]
        found = merged(of_each, list(ranks))
        named = {each.id for each in found}
        outcomes = [replace(each, status="found", reason="") if each.check in named else each for each in outcomes]
    listed, explained = _explain(sorted(found, key=partial(_place, found)))
    listed = _agreeing(listed, explained)
    outcomes = [replace(each, reason=explained[each.check]) if each.check in explained else each for each in outcomes]
    broken = [each.check for each in outcomes if each.status == "failed"]
    return Report(tuple(listed), tuple(outcomes), trace, title, unjudged(trace, broken))


def _all(wanted: Sequence[str], trace: Trace) -> tuple[list[Finding], list[Outcome]]:
    """The findings and the outcome of each check."""
    pairs = [_run(CHECKS[name], trace) for name in wanted]
    return [each for findings, _ in pairs for each in findings], [outcome for _, outcome in pairs]


def _run(check: Check, trace: Trace) -> tuple[list[Finding], Outcome]:
    for need in check.needs:
        present, reason = NEEDS[need]
        if not present(trace):
            return [], Outcome(check.id, "not run", reason)
    findings: list[Finding] = []
    try:
        for finding in check.function(trace):
            weighed = weigh(finding, trace, symptom=check.symptom) if check.symptom else finding
            if weighed is not None:
                findings.append(weighed)
    except Skip as skip:
        if not findings:  # findings made before the Skip are kept
            return [], Outcome(check.id, skip.status, skip.reason)
    except Exception as error:  # noqa: BLE001  # whatever breaks inside a check is shown as such
        return [], Outcome(check.id, "failed", f"{type(error).__name__}: {error}")
    return findings, Outcome(check.id, "found" if findings else "passed")


def _place(found: Sequence[Finding], finding: Finding) -> tuple[bool, float]:
    place: float = ORDER.index(finding.id) if finding.id in ORDER else len(ORDER)
    if finding.id == "spike" and any(each.id == "update-too-large" and each.steps[0] < finding.steps[0] for each in found):
        place = ORDER.index("update-too-large") + 0.5  # steps that were too large before the run broke are the cause
    if finding.id == "activation-scale" and finding.steps[0] > 0:
        place = ORDER.index("saturation") - 0.5  # scales that drifted apart in training are a symptom
    if finding.id == "initial-loss":
        # A confidently wrong head is the likeliest cause of damage to the layers before it, but not of what was there already.
        there = any(each.id in EXPLAINS["initial-loss"] and each.steps[0] == 0 for each in found)
        place = ORDER.index("initial-loss") if there else ORDER.index("dead-units") - 0.6
        if finding.severity == "critical":
            place = ORDER.index("activation-scale") - 0.5  # weights drawn so large that nothing after them could go well
    if finding.id == "update-too-small" and finding.severity == "critical" and not _dead(found):
        # No weights move at all: whatever else is odd, it could not be learned away.
        place = ORDER.index("activation-scale") - 0.4
    if finding.id == "underfitting" and finding.severity == "info":
        place = len(ORDER)  # what is certain comes before a guess at what may be left to learn
    if finding.id == "no-gradient" and finding.value:
        place = 0.6  # a norm of single values kills what comes after it
    if finding.id == "norm-statistics" and finding.limit == NORM_NOISE:
        place = 0.5  # batches too small for batch norm belong to the setup, not to the consequences
    elif finding.id == "norm-statistics" and finding.severity != "info":
        place = ORDER.index("stale-evaluation") - 0.5  # the effect of eval mode comes before what it looks like
    return not _is_cause(finding), place


def _dead(found: Sequence[Finding]) -> bool:
    """Whether a whole layer is dead: then no rate moves the weights before it."""
    return any(each.id == "dead-units" and each.severity == "critical" for each in found)


def _is_cause(finding: Finding) -> bool:
    """Unscaled inputs without a consequence explain a high first loss without a consequence."""
    return finding.severity != "info" or finding.id == "input-scale"


def _explain(findings: list[Finding]) -> tuple[list[Finding], dict[str, str]]:
    """Merge each finding into the first earlier one that explains it."""
    listed: list[Finding] = []
    explained: dict[str, str] = {}
    for finding in findings:
        causes = (place for place, cause in enumerate(listed) if _is_cause(cause) and _accounts(cause, finding))
        place = next(causes, None)
        if place is None:
            listed.append(finding)
        else:
            cause = listed[place]
            listed[place] = replace(cause, explains=(*cause.explains, finding.message, *finding.explains))
            explained[finding.id] = f"explained by {cause.id}"
    return listed, explained


def _agreeing(findings: list[Finding], explained: dict[str, str]) -> list[Finding]:
    """Leaves out findings whose remedy is the opposite of an earlier one: nobody can follow both."""
    kept: list[Finding] = []
    for finding in findings:
        against = next((each for each in kept if {_way(each), _way(finding)} == {"up", "down"}), None)
        if against is None:
            kept.append(finding)
        else:
            explained[finding.id] = f"its remedy would undo that of {against.id}"
    return kept


def _way(finding: Finding) -> str:
    """The direction in which a remedy moves the learning rate; "" for neither."""
    return next((way for way, ids in RATE.items() if finding.id in ids), "")


def _accounts(cause: Finding, effect: Finding) -> bool:
    grave = {"initial-loss": FOLLOWING, "wrong-mode": BROKEN}.get(cause.id, ())  # what it explains only where it is critical
    mild = cause.severity != "critical" and effect.id in grave
    if mild or effect.id not in EXPLAINS.get(cause.id, ()):
        return False
    if cause.severity == "info" and effect.id in ("norm-statistics", *HELD_OUT):
        return False  # if training learned nothing, that is not a fault on held-out data
    if cause.id == "norm-statistics" and cause.limit != NORM_NOISE:
        return effect.id in HELD_OUT  # wrong running statistics matter in eval mode only
    # Checks read only the steps before values stop being finite, so every effect ends before that cause.
    if cause.id != "non-finite" and effect.steps[1] < cause.steps[0]:
        return False
    if cause.id == "dead-units" and effect.id == "no-learning":
        return cause.severity == "critical"  # a layer with some live units still learns
    # A cause that acts step by step cannot explain a symptom at the first step; the setup of the network can.
    return cause.id not in ACTS or effect.steps[1] > 0
