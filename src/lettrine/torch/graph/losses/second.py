"""Evidence "second derivatives": the whole gradient of a field is differentiated at once, which adds up mixed derivatives.

Of a field u at points p, (B, D), `torch.autograd.grad` gives the gradient g, (B, D). Differentiating g with weights of 1, or its
sum, gives sum_j d2u / (dp_i dp_j) for each i: not d2u / dp_i2, but that and all mixed derivatives with it.

where: (). figures: "looks" that showed it, "axes" (D).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.functions import FunctionCall
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.losses.comparisons import readable

_TABLE: Final = 2  # axes of points and of gradients
_COORDINATES: Final = 2  # least coordinates: of one alone there are no mixed derivatives


@reader
class SecondDerivatives:
    """Reads the calls of autograd.grad."""

    def __init__(self) -> None:
        self._steps: list[int] = []
        self._axes = 0

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        given = {each.data_ptr() for root in look.roots for each in root.inputs if readable(each)}
        gradients: dict[int, Tensor] = {}  # by id of the gradient: the points
        for call in look.calls:
            if call.name == "sum" and id(call.given(0, "input")) in gradients and call.result.ndim == 0:
                gradients[id(call.result)] = gradients[id(call.given(0, "input"))]
            elif call.name == "grad" and (asked := _asked(call)) is not None:
                field, points, gradient = asked
                known = gradients.get(id(field))
                if known is None:
                    if points.data_ptr() in given and gradient.shape == points.shape and field.shape[1:] in ((), (1,)):
                        gradients[id(gradient)] = points
                elif known is points and _ones(call, field):
                    self._steps.append(look.step)
                    self._axes = points.shape[1]
        return ()

    def finish(self) -> Iterator[Evidence]:
        """What was seen."""
        if self._steps:
            figures = {"looks": float(len(set(self._steps))), "axes": float(self._axes)}
            yield Evidence("second derivatives", (), (self._steps[0], self._steps[-1]), figures)


def _asked(call: FunctionCall) -> tuple[Tensor, Tensor, Tensor] | None:
    """What is differentiated, by which points (B, D), and the result."""
    asked = [_only(call.given(place, name)) for place, name in enumerate(("outputs", "inputs"))]
    asked.append(_only(call.result))
    field, points, gradient = asked
    if field is None or points is None or gradient is None or not readable(points):
        return None
    table = points.ndim == _TABLE and points.shape[1] >= _COORDINATES
    return (field, points, gradient) if table and gradient.requires_grad else None


def _only(value: Any) -> Tensor | None:
    if isinstance(value, tuple | list) and len(value) == 1:
        value = value[0]
    return value if isinstance(value, Tensor) else None


def _ones(call: FunctionCall, field: Tensor) -> bool:
    """Whether all values are differentiated with the weight 1."""
    weights = _only(call.given(2, "grad_outputs"))
    return field.ndim == 0 if weights is None else readable(weights) and bool((weights == 1).all())
