"""Helpers to read the comparisons of predictions with targets."""

from __future__ import annotations

from typing import Final

from lettrine.health.checks.registry import Skip
from lettrine.health.evidence import Evidence
from lettrine.health.limits import SHARE_TOLERANCE
from lettrine.health.trace import Trace

NOT_NOTED: Final = "functions cannot be listened to once torch.compile was used in the same process"
NO_COMPARISON: Final = "no comparison of the network's answers with targets was seen at the steps that were looked at"


def compared(trace: Trace) -> tuple[Evidence, ...]:
    """The comparisons of predictions with targets. Raises Skip if there were none."""
    seen = trace.seen("comparison")
    if not seen and trace.facts.notes.get("functions") == "not noted":
        raise Skip("not run", NOT_NOTED)
    if not seen:
        raise Skip("not applicable", NO_COMPARISON)
    return seen


def operations_of(each: Evidence) -> list[str]:
    """The operations between the last weights and a prediction, from the prediction backwards. Left out: operations that protect
    a logarithm, and those that turn positive values into shares.
    """
    return [name for name in each.words.get("operations", "").split() if name not in ("Clamp", "Share")]


def two_labels(each: Evidence) -> bool:
    """Whether all targets are 0 or 1: then their variance follows from their mean."""
    mean, variance = each.figure("mean"), each.figure("std") ** 2
    return (each.figure("low"), each.figure("high")) == (0, 1) and abs(variance - mean * (1 - mean)) < SHARE_TOLERANCE
