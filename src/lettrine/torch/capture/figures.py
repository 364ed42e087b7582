"""The figures of one sampled step, out of what was copied during it."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan, sqrt
from typing import Any, Final

import numpy as np

from lettrine.health.measure import GradientPlan, OutputPlan, ParameterPlan
from lettrine.health.trace import PARAMETER_STATS
from lettrine.torch.capture.copies import Copy, fetch
from lettrine.torch.capture.parameters import ParameterTap
from lettrine.torch.capture.taps import Tap

_NORM: Final = PARAMETER_STATS.index("gradient_norm")
_GRADIENT_SCALE, _OUTPUT_SCALE = 0, 1


class Figures:
    """Measures the steps of one model; as long as the same memory holds the same tensors, by the same plan."""

    def __init__(self) -> None:
        self._state: tuple[Any, ...] = ()
        self._names: list[str] = []
        self._lasting = False
        self._outputs = OutputPlan([])
        self._gradients = GradientPlan([])
        self._parameters = ParameterPlan([])
        self._with_slopes: list[str] = []

    def of(
        self,
        taps: Sequence[Tap],
        parameters: Sequence[ParameterTap],
        *,
        scales: tuple[float, float],
        detail: bool,
        search: bool,
        remote: bool,
    ) -> dict[str, Any]:
        """What `Recorder.record` takes, of modules and parameters.

        scales: by what the gradients of parameters and of outputs are divided. detail: also histograms and maps.
        search: also units that are copies of each other. remote: whether anything lives on another device.
        """
        if remote:
            fetch([copy for tap in taps for copy in tap.copies()] + [copy for tap in parameters for copy in tap.copies()])
        state = (
            Copy.made,
            taps,
            parameters,
            [tap.used == 1 and tap.calls[0].arrived for tap in taps],
            [(tap.has_gradient, tap.has_after) for tap in parameters],
        )
        if remote or scales != (1.0, 1.0) or state != self._state or any(tap.used > 1 for tap in taps):
            self._plan(taps, parameters, scales)
            self._lasting = self._outputs.lasting and self._gradients.lasting and not remote and scales == (1.0, 1.0)
            self._state = state if self._lasting and self._parameters.lasting else ()
        outputs = self._outputs.measure(detail=detail)
        gradients = self._gradients.measure(detail=detail)
        duplicate = [tap.duplicate() for tap in parameters] if search else nan
        rows = self._parameters.measure([tap.learning_rate for tap in parameters], duplicate)
        with np.errstate(all="ignore"):
            norms = {tap.name: row for tap in taps if tap.norm is not None and (row := tap.norm.stats()) is not None}
        lengths = [length for length in rows[:, _NORM].tolist() if length == length]  # noqa: PLR0124  not NaN
        return {
            "outputs": dict(zip(self._names, outputs, strict=True)),
            "gradients": dict(zip(self._with_slopes, gradients, strict=True)),
            "parameters": {tap.info.name: row for tap, row in zip(parameters, rows, strict=True)},
            "norms": norms,
            "gradient_norm": sqrt(sum(length * length for length in lengths)) if lengths else nan,
        }

    def _plan(self, taps: Sequence[Tap], parameters: Sequence[ParameterTap], scales: tuple[float, float]) -> None:
        slopes = [(tap.name, values) for tap in taps if (values := tap.slopes(scales[_OUTPUT_SCALE])) is not None]
        self._names = [tap.name for tap in taps]
        self._with_slopes = [name for name, _ in slopes]
        self._outputs = OutputPlan([tap.outputs() for tap in taps])
        self._gradients = GradientPlan([values for _, values in slopes])
        self._parameters = ParameterPlan([tap.arrays(scales[_GRADIENT_SCALE]) for tap in parameters])


def fmax(first: float, second: float) -> float:
    """The larger; NaN only if both are."""
    return second if first != first else first if second != second else max(first, second)  # noqa: PLR0124  the test for NaN
