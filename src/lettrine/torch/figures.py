"""The figures of one sampled step, out of what was copied during it."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan, sqrt
from typing import Any, Final

import numpy as np

from lettrine.health import measure
from lettrine.health.trace import PARAMETER_STATS
from lettrine.torch.measure import fetch
from lettrine.torch.steps import ParameterTap
from lettrine.torch.taps import Tap

_NORM: Final = PARAMETER_STATS.index("gradient_norm")


def figures(
    taps: Sequence[Tap],
    parameters: Sequence[ParameterTap],
    *,
    gradient_scale: float,
    output_scale: float,
    detail: bool,
    remote: bool,
) -> dict[str, Any]:
    """What `Recorder.record` takes, of modules and parameters.

    gradient_scale, output_scale: by what the gradients of parameters and of outputs are divided. detail: also histograms,
    maps and duplicates. remote: whether anything lives on another device.
    """
    if remote:
        fetch([copy for tap in taps for copy in tap.copies()] + [copy for tap in parameters for copy in tap.copies()])
    slopes = [(tap.name, values) for tap in taps if (values := tap.slopes(output_scale)) is not None]
    with np.errstate(all="ignore"):
        outputs = measure.outputs([tap.outputs() for tap in taps], detail=detail)
        gradients = measure.gradients([values for _, values in slopes], detail=detail)
        rows = measure.parameters([tap.arrays(gradient_scale, with_duplicates=detail) for tap in parameters])
        norms = {tap.name: row for tap in taps if tap.norm is not None and (row := tap.norm.stats()) is not None}
    lengths = rows[:, _NORM][~np.isnan(rows[:, _NORM])]
    return {
        "outputs": {tap.name: output for tap, output in zip(taps, outputs, strict=True)},
        "gradients": {name: gradient for (name, _), gradient in zip(slopes, gradients, strict=True)},
        "parameters": {tap.info.name: row for tap, row in zip(parameters, rows, strict=True)},
        "norms": norms,
        "gradient_norm": sqrt(float(lengths @ lengths)) if lengths.size else nan,
    }
