"""What a finding is worth: does it name the fault of a case, hint at it, or point elsewhere?

Kinds are this benchmark's own words for faults. A tool's findings have ids of their own; NAMES says which kinds an id
names, HINTS which it only comes near to. An id that is missing names the kind it is spelled as.
"""

from __future__ import annotations

import re
from typing import Any, Final

from benchmarks.wild.case import Case
from benchmarks.wild.found import Found

NAMES: Final[dict[str, tuple[str, ...]]] = {
    "divergence": ("learning-rate-too-high",),
    "update-too-large": ("learning-rate-too-high",),
    "update-too-small": ("learning-rate-too-low",),
    "oscillation": ("learning-rate-too-high",),
    "padding-index": ("padding",),
    "padding-mask": ("padding",),
    "padding-counted": ("padding",),
    "raw-contrast": ("initial-loss", "activation-scale"),
    "norm-gain": ("activation-scale", "gradient-scale"),
    **dict.fromkeys(
        ("averaged-first", "mixed-derivatives", "policy-loss", "value-target", "wrong-direction", "same-side"), ("other-loss",)
    ),
}
"""Finding id to the kinds it names, beside the kind of the same name."""

HINTS: Final[dict[str, tuple[str, ...]]] = {
    "no-learning": (
        "shuffled-targets",
        "broadcast",
        "softmax-axis",
        "never-moved",
        "gradients-cleared",
        "symmetry",
        "dead-units",
        "padding",
        "batch-mixing",
        "schedule-to-zero",
        "learning-rate-too-low",
        "weight-decay",
        "no-warmup",
        "relu-logits",
        "target-range",
        "learning-rate-too-high",
        "frozen-random",
        "no-gradient",
    ),
    "no-gradient": ("dead-units", "never-moved", "unregistered", "not-optimised", "gradients-cleared", "detached-generator"),
    "not-optimised": ("unregistered", "frozen-random", "never-moved"),
    "gradient-scale": ("input-scale", "target-scale", "learning-rate-too-high", "missing-zero-grad", "no-warmup", "non-finite"),
    "activation-scale": ("input-scale", "target-scale", "learning-rate-too-high"),
    "initial-loss": ("target-scale", "input-scale", "target-range", "activation-scale", "target-rows", "other-loss"),
    "saturation": ("input-scale", "activation-scale", "target-range", "learning-rate-too-high"),
    "spike": ("learning-rate-too-high", "optimiser-state-lost", "sorted-data"),
    "divergence": ("missing-zero-grad", "non-finite", "input-scale", "target-scale"),
    "oscillation": ("sorted-data", "missing-zero-grad", "repeated-batch"),
    "update-too-large": ("missing-zero-grad", "no-warmup", "eps-underflow"),
    "update-too-small": ("schedule-to-zero", "slow-learning", "clip-before-unscale"),
    "overfitting": ("leak", "repeated-batch", "wrong-mode", "future-leak", "eval-dropout", "shared-norm"),
    "held-out-labels": ("shuffled-targets", "dev-scale"),
    "dead-units": ("relu-logits", "learning-rate-too-high"),
    "wrong-mode": ("eval-dropout", "norm-statistics"),
    "norm-statistics": ("shared-norm", "wrong-mode"),
    "leak": ("future-leak", "repeated-batch"),
    "non-finite": ("eps-underflow", "learning-rate-too-high", "padding"),
    "learning-rate-too-high": ("non-finite", "input-scale", "target-scale", "missing-zero-grad"),
    "learning-rate-too-low": ("slow-learning", "underfitting", "schedule-to-zero", "target-scale"),
    "slow-learning": ("learning-rate-too-low", "target-scale", "schedule-to-zero", "underfitting"),
    "underfitting": ("learning-rate-too-low", "slow-learning", "weight-decay"),
}
"""Finding id to kinds it comes near to: a reader who follows it finds the fault, but it is not said."""

VERDICTS: Final = ("named", "hinted", "wrong advice", "missed")


def loud(found: Found) -> bool:
    """Whether a finding asks the user to do something."""
    return found.severity in ("warning", "critical") and not found.folded


def places(found: Found, where: str) -> bool:
    """Whether a finding names the place, or one within it."""
    inside = any(f".{where}." in f".{each}." for each in found.where)
    return not where or inside or re.search(rf"\b{re.escape(where)}\b", found.message) is not None


def names(found: Found, case: Case) -> bool:
    """Whether a finding names the fault of a case, at its place."""
    kinds = {found.id, *NAMES.get(found.id, ())}
    return bool(kinds & set(case.kinds)) and places(found, case.where) and (loud(found) or (case.remark and not found.folded))


def hints(found: Found, case: Case) -> bool:
    """Whether a finding comes near: related, at another place, only a remark, or folded under another."""
    return bool({found.id, *NAMES.get(found.id, ()), *HINTS.get(found.id, ())} & set(case.kinds))


def judge(case: Case, found: list[Found]) -> str:
    """One of VERDICTS for a fault; "silent" or "FALSE ALARM" for a healthy program."""
    if not case.kinds:
        return "FALSE ALARM" if any(map(loud, found)) else "silent"
    if any(names(each, case) for each in found):
        return "named"
    if any(hints(each, case) for each in found):
        return "hinted"
    return "wrong advice" if any(map(loud, found)) else "missed"


def first_listed(case: Case, found: list[Found]) -> bool:
    """Whether the finding that names the fault stands before all other warnings."""
    first = next((each for each in found if loud(each) or names(each, case)), None)
    return first is not None and names(first, case)


def row(case: Case, found: list[Found], seconds: float, failed: list[str]) -> dict[str, Any]:
    """What is kept of one case."""
    return {
        "case": case.name,
        "look": case.look,
        "kinds": list(case.kinds),
        "where": case.where,
        "cure_of": case.cure_of,
        "project": case.project,
        "source": case.source,
        "judged": judge(case, found),
        "first_listed": bool(case.kinds) and first_listed(case, found),
        "found": [each.to_dict() for each in found],
        "checks_failed": failed,
        "seconds": round(seconds, 1),
    }
