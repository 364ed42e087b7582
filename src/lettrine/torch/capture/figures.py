"""The figures of one sampled step, from the copies taken during it."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan, sqrt
from typing import Any, Final

import numpy as np

from lettrine.health.measure import GradientPlan, OutputPlan, ParameterPlan
from lettrine.health.trace import PARAMETER_STATS
from lettrine.torch.capture.copies import Copy, fetch
from lettrine.torch.capture.outputs import OutputCapture
from lettrine.torch.capture.parameters import ParameterCapture

_NORM: Final = PARAMETER_STATS.index("gradient_norm")
_GRADIENT_SCALE, _OUTPUT_SCALE = 0, 1


class Figures:
    """Measures the sampled steps of one model. Its plan of the memory is valid as long as the copies are in the same memory."""

    def __init__(self) -> None:
        self._state: tuple[Any, ...] = ()
        self._names: list[str] = []
        self._lasting = False
        self._outputs = OutputPlan([])
        self._gradients = GradientPlan([])
        self._parameters = ParameterPlan([])
        self._with_gradients: list[str] = []

    def of(
        self,
        captures: Sequence[OutputCapture],
        parameters: Sequence[ParameterCapture],
        *,
        scales: tuple[float, float],
        detail: bool,
        search: bool,
        remote: bool,
    ) -> dict[str, Any]:
        """The figures of modules and parameters, in the form that `Recorder.record` takes.

        scales: the gradients of parameters and of outputs are divided by them. detail: also histograms and maps.
        search: also look for units that are copies of each other. remote: whether a tensor is on another device.
        """
        if remote:
            fetch(
                [copy for capture in captures for copy in capture.copies()]
                + [copy for capture in parameters for copy in capture.copies()]
            )
        state = (
            Copy.made,
            captures,
            parameters,
            [capture.used == 1 and capture.calls[0].arrived for capture in captures],
            [(capture.has_gradient, capture.has_after) for capture in parameters],
        )
        if remote or scales != (1.0, 1.0) or state != self._state or any(capture.used > 1 for capture in captures):
            self._plan(captures, parameters, scales)
            self._lasting = self._outputs.lasting and self._gradients.lasting and not remote and scales == (1.0, 1.0)
            self._state = state if self._lasting and self._parameters.lasting else ()
        outputs = self._outputs.measure(detail=detail)
        gradients = self._gradients.measure(detail=detail)
        duplicate = [capture.duplicate() for capture in parameters] if search else nan
        rows = self._parameters.measure([capture.learning_rate for capture in parameters], duplicate)
        with np.errstate(all="ignore"):
            norms = {
                capture.name: row
                for capture in captures
                if capture.norm is not None and (row := capture.norm.stats()) is not None
            }
        lengths = [length for length in rows[:, _NORM].tolist() if length == length]  # noqa: PLR0124  not NaN
        return {
            "outputs": dict(zip(self._names, outputs, strict=True)),
            "gradients": dict(zip(self._with_gradients, gradients, strict=True)),
            "parameters": {capture.info.name: row for capture, row in zip(parameters, rows, strict=True)},
            "norms": norms,
            "gradient_norm": sqrt(sum(length * length for length in lengths)) if lengths else nan,
        }

    def _plan(
        self, captures: Sequence[OutputCapture], parameters: Sequence[ParameterCapture], scales: tuple[float, float]
    ) -> None:
        gradients = [
            (capture.name, values) for capture in captures if (values := capture.gradients(scales[_OUTPUT_SCALE])) is not None
        ]
        self._names = [capture.name for capture in captures]
        self._with_gradients = [name for name, _ in gradients]
        self._outputs = OutputPlan([capture.outputs() for capture in captures])
        self._gradients = GradientPlan([values for _, values in gradients])
        self._parameters = ParameterPlan([capture.arrays(scales[_GRADIENT_SCALE]) for capture in parameters])


def fmax(first: float, second: float) -> float:
    """The larger; NaN only if both are."""
    return second if first != first else first if second != second else max(first, second)  # noqa: PLR0124  the test for NaN
