"""Runs the checks, orders the findings by likely cause, and merges consequences into their cause."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from lettrine.arguments import checked
from lettrine.errors import HealthError
from lettrine.health.checks.by_rank import merged
from lettrine.health.checks.consequence import weigh
from lettrine.health.checks.judging import unjudged
from lettrine.health.checks.registry import CHECKS, NEEDS, Check, Skip
from lettrine.health.findings import Finding, Outcome, Report
from lettrine.health.limits import NORM_NOISE
from lettrine.health.replicas import recorded
from lettrine.health.trace import Trace

_TROUBLE: Final = ("spike", "divergence", "oscillation", "no-learning", "overfitting", "underfitting")
_DEPTH: Final = ("activation-scale", "gradient-scale", "gradient-data")

_ACTS: Final = ("missing-zero-grad", "spike", "update-too-large", "divergence", "oscillation", "initial-loss")

_FOLLOWING: Final = ("non-finite", "update-too-large", "update-too-small", "divergence", "spike", "no-learning")
"""What weights drawn far too large bring; a high first loss alone does not."""

_IDLE: Final = ("no-gradient", "no-learning", "update-too-small", "gradient-data", "not-optimised", "symmetry", "slow-learning")

_SYMPTOMS: Final = (
    *_TROUBLE,
    *_DEPTH,
    "held-out-labels",
    "non-finite",
    "no-gradient",
    "dead-units",
    "saturation",
    "norm-statistics",
    "initial-loss",
    "update-too-large",
    "update-too-small",
    "leak",
    "majority-class",
)
_LATER: Final = ("saturation", "dead-units", "gradient-scale", "gradient-data", "update-too-small")
"""What a training that only seems to fail, on held-out data that are wrong, may show without harm."""
_HELD_OUT: Final = ("dev-scale", "overfitting", "held-out-labels")
_DATA: Final = ("broadcast", "softmax-axis", "target-range", "target-rows", "target-constant", "relu-logits")
"""Findings that are certain from the shapes and values in the loss, however the training went."""
_RATE: Final = {
    "up": ("update-too-small", "slow-learning"),
    "down": ("update-too-large", "divergence", "oscillation"),
}
"""Whether a remedy raises or lowers the learning rate."""

EXPLAINS: Final[dict[str, tuple[str, ...]]] = {
    "other-loss": ("non-finite", *_TROUBLE, "update-too-large", "dead-units", "saturation", "initial-loss", "target-scale"),
    "gradients-not-synchronised": ("replicas-apart",),
    "eps-underflow": ("non-finite", *_TROUBLE, "update-too-large", "no-gradient"),
    "gradients-cleared": (*_IDLE, "never-moved"),
    "detached-generator": (*_IDLE, *_TROUBLE),
    "unregistered": (*_IDLE, "initial-loss"),
    "never-moved": (*_IDLE, "frozen-random"),
    "frozen-random": (*_IDLE, *_DEPTH, "dead-units"),
    "padding-mask": ("no-learning", "slow-learning", "leak"),
    "padding-counted": ("no-learning", "slow-learning", "underfitting"),
    "growing-graph": (*_TROUBLE, "update-too-large", *_DEPTH),
    "clip-before-unscale": (*_IDLE, *_DEPTH),
    "weight-decay": (
        *_TROUBLE,
        *_DEPTH,
        "update-too-large",
        "update-too-small",
        "dead-units",
        "norm-statistics",
        "slow-learning",
    ),
    "no-warmup": (*_TROUBLE, *_DEPTH, "update-too-large", "update-too-small", "dead-units", "saturation", "slow-learning"),
    "optimiser-state-lost": (*_TROUBLE, "update-too-large"),
    "shared-norm": ("norm-statistics", "overfitting", "held-out-labels", "dev-scale"),
    "schedule-to-zero": ("no-learning", "update-too-small", "slow-learning"),
    "collapsed-kl": ("no-learning", "dead-units", *_DEPTH, "update-too-small"),
    "future-leak": ("leak", "overfitting", "held-out-labels"),
    "batch-mixing": (*_TROUBLE, "held-out-labels", "dead-units", "slow-learning"),
    "underfitting": ("no-learning", "slow-learning", "dead-units", "update-too-small"),
    "eval-dropout": ("held-out-labels", "dev-scale"),
    **dict.fromkeys(_DATA, (*_SYMPTOMS, "target-scale")),
    # A softmax over one unit has a gradient of exactly 0, as if it had been cleared.
    "softmax-axis": (*_SYMPTOMS, "target-scale", "target-range", "gradients-cleared", "never-moved", "symmetry", "batch-mixing"),
    "target-scale": (*_SYMPTOMS, "slow-learning"),
    "raw-contrast": ("initial-loss", "non-finite", *_TROUBLE, "update-too-large", "activation-scale", "saturation", "dead-units"),
    "input-scale": (*_SYMPTOMS, "target-scale", "slow-learning"),
    "repeated-batch": _SYMPTOMS,
    "sorted-data": _SYMPTOMS,
    "shuffled-targets": (*_TROUBLE, "majority-class", "held-out-labels", "dead-units", "saturation", "leak"),
    "non-finite": (*_TROUBLE, "norm-statistics", "no-gradient"),
    "missing-zero-grad": ("update-too-large", "saturation", "dead-units", *_DEPTH, "norm-statistics", *_TROUBLE),
    "probabilities-as-logits": _SYMPTOMS,
    "wrong-mode": ("norm-statistics", "dead-units", "saturation", *_DEPTH, *_TROUBLE),
    "symmetry": (
        "saturation",
        "dead-units",
        "no-gradient",
        "update-too-large",
        "update-too-small",
        *_DEPTH,
        "no-learning",
        "initial-loss",
    ),
    "not-optimised": ("update-too-small", "gradient-data", "no-learning"),
    "no-gradient": ("update-too-small", "gradient-scale", "gradient-data", "dead-units", "no-learning"),
    "spike": (
        "update-too-large",
        "saturation",
        "dead-units",
        *_DEPTH,
        "norm-statistics",
        "divergence",
        "oscillation",
        "no-learning",
    ),
    "update-too-large": ("saturation", "dead-units", *_DEPTH, "norm-statistics", *_TROUBLE),
    "activation-scale": (
        "update-too-large",
        "spike",
        "divergence",
        "saturation",
        "dead-units",
        "gradient-scale",
        "gradient-data",
        "update-too-small",
        "no-learning",
        "initial-loss",
    ),
    "initial-loss": (
        *_FOLLOWING,
        "underfitting",
        "saturation",
        "dead-units",
        "activation-scale",
        "gradient-scale",
    ),
    "saturation": ("dead-units", "gradient-scale", "gradient-data", "update-too-small", "no-learning"),
    "dead-units": (
        "no-gradient",
        "norm-statistics",
        "gradient-scale",
        "gradient-data",
        "update-too-small",
        "no-learning",
        "symmetry",
    ),
    "gradient-scale": ("gradient-data", "update-too-small", "no-learning"),
    "gradient-data": ("no-learning",),
    "majority-class": ("underfitting", "slow-learning"),
    "no-learning": ("underfitting", "slow-learning"),
    "update-too-small": ("no-learning", "gradient-data"),
    "oscillation": ("divergence", "no-learning", "dead-units", "saturation", *_DEPTH),
    "norm-statistics": (
        *("update-too-large", "saturation", "dead-units", "no-gradient", "gradient-scale", "gradient-data"),
        *_HELD_OUT,
    ),
    "held-out-labels": ("overfitting", *_LATER),
    "dev-scale": ("overfitting", "held-out-labels", *_LATER),
    "divergence": ("saturation", "dead-units", *_DEPTH, "norm-statistics", "no-learning", "overfitting"),
}
"""For each check, the likeliest cause first: the other findings that it explains."""

ORDER: Final = (
    "gradients-not-synchronised",
    "replicas-apart",
    "ranks-unlike",
    "same-data",
    *_DATA,
    "probabilities-as-logits",
    "other-loss",
    "eps-underflow",
    "gradients-cleared",
    "detached-generator",
    "unregistered",
    "never-moved",
    "padding-mask",
    "batch-mixing",
    "future-leak",
    "growing-graph",
    "clip-before-unscale",
    "weight-decay",
    "no-warmup",
    "optimiser-state-lost",
    "frozen-random",
    "shared-norm",
    "schedule-to-zero",
    "collapsed-kl",
    "padding-index",
    "padding-counted",
    "repeated-batch",
    "sorted-data",
    "input-scale",
    "target-scale",
    "raw-contrast",
    "missing-zero-grad",
    "wrong-mode",
    "symmetry",
    "underfitting",
    "activation-scale",
    "spike",
    "update-too-large",
    "non-finite",
    "not-optimised",
    "leak",
    "dev-scale",
    "held-out-labels",
    "shuffled-targets",
    "majority-class",
    "oscillation",
    "divergence",
    "dead-units",
    "no-gradient",
    "saturation",
    "norm-statistics",
    "gradient-scale",
    "gradient-data",
    "update-too-small",
    "initial-loss",
    "bias-before-norm",
)
"""Causes before symptoms; checks that are not listed come last, in the order of registration."""


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
    if finding.id == "underfitting" and finding.severity == "info":
        place = len(ORDER)  # what is certain comes before a guess at what may be left to learn
    if finding.id == "no-gradient" and finding.value:
        place = 0.6  # a norm of single values kills what comes after it
    if finding.id == "norm-statistics" and finding.limit == NORM_NOISE:
        place = 0.5  # batches too small for batch norm belong to the setup, not to the consequences
    elif finding.id == "norm-statistics" and finding.severity != "info":
        place = ORDER.index("dev-scale") - 0.5  # the effect of eval mode on the held-out loss comes before what it looks like
    return not _is_cause(finding), place


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
    return next((way for way, ids in _RATE.items() if finding.id in ids), "")


def _accounts(cause: Finding, effect: Finding) -> bool:
    mild = cause.id == "initial-loss" and cause.severity != "critical" and effect.id in _FOLLOWING
    if mild or effect.id not in EXPLAINS.get(cause.id, ()):
        return False
    if cause.severity == "info" and effect.id in ("norm-statistics", *_HELD_OUT):
        return False  # if training learned nothing, that is not a fault on held-out data
    if cause.id == "norm-statistics" and cause.limit != NORM_NOISE:
        return effect.id in _HELD_OUT  # wrong running statistics matter in eval mode only
    # Checks read only the steps before values stop being finite, so every effect ends before that cause.
    if cause.id != "non-finite" and effect.steps[1] < cause.steps[0]:
        return False
    if cause.id == "dead-units" and effect.id == "no-learning":
        return cause.severity == "critical"  # a layer with some live units still learns
    # A cause that acts step by step cannot explain a symptom at the first step; the setup of the network can.
    return cause.id not in _ACTS or effect.steps[1] > 0
