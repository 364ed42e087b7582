"""Evidence "mixture": the likelihood of a mixture of normal or Laplace distributions whose weights do not sum to 1.

It is the logarithm of a sum of weights times densities, or the logsumexp of log-weights plus log-densities.

figures: "looks" at which they did not sum to 1, "all" of them, "axis" along which is summed, "first" and "last": mean sum of the
weights, NaN if their values were not seen. words: "made": the operation that made the weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import exp, isfinite, nan
from typing import Final

from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.devices import double
from lettrine.torch.graph.losses.comparisons import readable
from lettrine.torch.graph.losses.written import VIEWS, below_guards, below_views, inputs_of, signed, twice
from lettrine.torch.graph.reading import Node, operation
from lettrine.torch.private import saved, saves_elsewhere

_EXPONENT: Final = frozenset((*VIEWS, "Mul", "Div", "Neg", "Sub", "Add", "Sum"))
_MOST: Final = 16  # factors or addends, and operations between a density and its square
_OFF: Final = 0.05  # of 1: rounding is far below


@reader
class Mixtures:
    """Reads the weights of mixtures at each look."""

    def __init__(self) -> None:
        self._seen: list[tuple[int, str, int, float]] = []
        self._all = 0

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        if saves_elsewhere():
            return ()
        found = [told for node in look.nodes if (told := _weights(node, look)) is not None]
        self._all += bool(found)
        self._seen += [(look.step, *told) for told in found[:1] if not abs(told[2] - 1) <= _OFF]
        return ()

    def finish(self) -> Iterator[Evidence]:
        """The first look and the last one."""
        if self._seen:
            (start, made, axis, first), (end, _, _, last) = self._seen[0], self._seen[-1]
            figures = {"looks": float(len(self._seen)), "all": float(self._all), "axis": float(axis)}
            figures |= {"first": first, "last": last}
            yield Evidence("mixture", (), (start, end), figures, {"made": made})


def _weights(node: Node, look: Look) -> tuple[str, int, float] | None:
    """What made the weights of a mixture, the axis of the sum over its parts, and what they sum to along it."""
    name = operation(node)
    if name == "Log":
        total = below_guards(next(iter(inputs_of(node)), None))
        parts = _parts(inputs_of(total)[0], ("Mul",)) if total is not None and operation(total) == "Sum" else []
        logs = False
    elif name == "Logsumexp":
        total, parts, logs = node, _parts(inputs_of(node)[0], ("Add",)), True
    else:
        return None
    axes = saved(total, "dim") if total is not None else None
    if not parts or not isinstance(axes, tuple) or len(axes) != 1:
        return None
    dense = [each for each in parts if (_squared(each) if logs else operation(each) == "Exp" and _squared(each))]
    if not dense or not (logs or _scaled(inputs_of(total)[0], parts, dense[0])):
        return None
    axis = signed(axes[0])
    found = [told for part in parts if part not in dense and (told := _made(part, look, logs=logs)) is not None]
    sums = [(made, axis, nan if values is None else _sum(values, axis, logs=logs)) for made, values in found]
    return None if any(abs(each[2] - 1) <= _OFF for each in sums) else next(iter(sums), None)


def _parts(node: Node, through: tuple[str, ...]) -> list[Node]:
    """The factors of a product, without what it is divided by; or the addends of a sum, without what is subtracted."""
    found, waiting = list[Node](), [below_views(node)]
    while waiting and len(found) + len(waiting) < _MOST:
        place = waiting.pop()
        if operation(place) in through and not (operation(place) == "Mul" and twice(place)):
            waiting += [below_views(each) for each in inputs_of(place)]
        elif (operation(place) == "Div" and "Mul" in through) or (operation(place) == "Sub" and "Add" in through):
            waiting += [below_views(each) for each, _ in place.next_functions[:1] if each is not None]
        elif operation(place) == "Sum" and "Add" in through:
            waiting += [below_views(each) for each in inputs_of(place)]  # over the numbers of one example
        else:
            found.append(place)
    return found


def _scaled(node: Node, parts: list[Node], dense: Node) -> bool:
    """Whether a product divides by the width of its density, as a mere shape of a bell, of opacities, does not."""
    exponent = below_views(inputs_of(dense)[0])
    if len(parts) > 2 or operation(exponent) in ("Add", "Sub"):
        return True
    waiting = [below_views(node)]
    while waiting:
        place = waiting.pop()
        if operation(place) == "Div":
            return True
        if operation(place) == "Mul" and place not in parts:
            waiting += [below_views(each) for each in inputs_of(place)]
    return False


def _squared(node: Node) -> bool:
    """Whether an exponent holds a square or a distance."""
    waiting, seen = [node], set[Node]()
    while waiting and len(seen) < _MOST:
        place = waiting.pop(0)
        if place in seen:
            continue
        seen.add(place)
        name = operation(place)
        if name == "Abs" or (name == "Pow" and saved(place, "exponent") == 2) or (name == "Mul" and twice(place)):
            return True
        if name in _EXPONENT or place is node:
            waiting += inputs_of(place)
    return False


def _made(node: Node, look: Look, *, logs: bool) -> tuple[str, Tensor | None] | None:
    """What made weights, and their values or, if logs, those of their logarithms; None if they are no weights."""
    name = operation(node)
    if logs and name == "Log":
        told = _made(below_guards(inputs_of(node)[0]) or node, look, logs=False)
        return told and (told[0], told[1] if told[1] is None else told[1].log())
    if name == ("LogSoftmax" if logs else "Softmax") or (name == "Sigmoid" and not logs):
        return name.removeprefix("Log"), saved(node, "result")
    if logs and name == "LogSigmoid":
        return "Sigmoid", _result(node, look)
    return (name, _result(node, look)) if name == "Softplus" and not logs else None


def _result(node: Node, look: Look) -> Tensor | None:
    """What an operation gave, if it was called as a function that was noted."""
    for call in look.calls:
        for each in call.result if isinstance(call.result, tuple | list) else (call.result,):
            if isinstance(each, Tensor) and each.grad_fn is node and readable(each):
                return each
    return None


def _sum(values: Tensor, axis: int, *, logs: bool) -> float:
    """What the weights sum to along the axis, on average."""
    if values.ndim == 0 or not -values.ndim <= axis < values.ndim or values.shape[axis] < 2:
        return 1.0
    values = double(values.detach())
    total = float(values.logsumexp(axis).mean() if logs else values.sum(axis).mean())
    return exp(min(total, 500.0)) if logs and isfinite(total) else total
