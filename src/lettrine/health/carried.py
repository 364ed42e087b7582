"""The evidence of a run that was stopped and resumed: what was seen before stands beside what was seen since."""

from __future__ import annotations

from dataclasses import replace
from math import isnan
from typing import Final

from lettrine.health.evidence import Evidence
from lettrine.health.trace import Trace

RESUMED: Final = "resumed"
"""Kind of the evidence that the run did not begin where the watch did."""
_VALUE: Final = "value "  # figures of a loss: its value at a step that was looked at
_VALUES: Final = 64  # of them that are carried, the latest: a run may be stopped and resumed without end


def carried(first: Trace, second: Trace) -> tuple[Evidence, ...]:
    """The evidence of `first` followed by `second`. Of the same kind and place the later one stands, with what only the earlier
    one knows.

    If `first` saw the run from its beginning, so did both: nothing is missing.
    """
    whole = len(first.steps) > 0 and first.steps[0] == 0 and not first.seen(RESUMED)
    found = {(each.kind, each.where): each for each in first.evidence}
    for each in second.evidence:
        if whole and each.kind == RESUMED:
            continue
        place = each.kind, each.where
        found[place] = _completed(found[place], each) if place in found else each
    return tuple(found.values())


def _completed(earlier: Evidence, later: Evidence) -> Evidence:
    """The later evidence, with the figures that only the earlier has, if both are of the same thing."""
    if earlier.words != later.words:
        return later
    known = {name: value for name, value in later.figures.items() if not isnan(value)}
    figures = {**later.figures, **earlier.figures, **known}
    values = [name for name in figures if name.startswith(_VALUE)]
    values.sort(key=lambda name: int(name.removeprefix(_VALUE)))
    kept = {name: value for name, value in figures.items() if name not in values[:-_VALUES]}
    return replace(later, figures=kept)
