"""Finds the first value of a step that is not finite: in which module or parameter, in which phase."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Final

from lettrine.health.measure import GradientMeasure, OutputMeasure
from lettrine.health.trace import GRADIENT_STATS, OUTPUT_STATS, PARAMETER_STATS, Floats

_OUTPUT: Final = OUTPUT_STATS.index("nonfinite")
_GRADIENT: Final = GRADIENT_STATS.index("nonfinite")
_OF_PARAMETERS: Final = (
    (PARAMETER_STATS.index("gradient_nonfinite"), "backward"),
    (PARAMETER_STATS.index("nonfinite"), "update"),
)


def met_first(
    outputs: Mapping[str, OutputMeasure],
    gradients: Mapping[str, GradientMeasure],
    parameters: Mapping[str, Floats],
    stats: Mapping[str, float],
) -> tuple[str, str] | None:
    """Name and phase of the first value of one step that is not finite; None if all are finite. The name is "" for the loss.

    The order is that of the step: forward from the input on, loss, backward from the output on, parameters, update.
    If loss, gradients and weights are all finite, an output that is not counts as intended, such as scores masked by -inf.
    """
    found = [(name, "backward") for name, measure in reversed(list(gradients.items())) if measure.row[_GRADIENT] > 0]
    for column, phase in _OF_PARAMETERS:
        found += [(name, phase) for name, row in parameters.items() if row[column] > 0]
    if not isfinite(stats.get("loss", 0.0)):
        found.insert(0, ("", "loss"))
    if found or ("loss" not in stats and not gradients):
        found = [(name, "forward") for name, output in outputs.items() if output.row[_OUTPUT] > 0] + found
    return found[0] if found else None
