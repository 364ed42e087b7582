"""A softmax or a sigmoid that is written by hand: exp(z) / sum(exp(z)), 1 / (1 + exp(-z))."""

from __future__ import annotations

from typing import Final

from lettrine.torch.graph.losses.written import inputs_of, other
from lettrine.torch.graph.reading import VIEWS, Node, operation
from lettrine.torch.private import saved

_MAXIMA: Final = frozenset(("Max", "Amax", "Maximum"))
_GUARDS: Final = VIEWS | frozenset(("Clamp", "ClampMin", "Add"))


def handmade(node: Node) -> tuple[str, Node] | None:
    """Name the activation, "Softmax" or "Sigmoid", and the node of its input, if this node gives one; otherwise None."""
    name, inputs = operation(node), inputs_of(node)
    if name == "Div" and len(inputs) == 2:
        top, divisor = inputs
        total = _through(divisor)
        if operation(top) == "Exp" and total is not None and _sums(total):
            summed = _through(inputs_of(total)[0])
            if summed is not None and (summed is top or _same_input(summed, top)):
                return "Softmax", _above_maximum(inputs_of(top)[0])
    if name == "Mul" and len(inputs) == 1 and operation(inputs[0]) == "Reciprocal":
        factor = other(node)
        if factor is not None and factor.numel() == 1 and float(factor) == 1:
            return handmade(inputs[0])
    if name == "Reciprocal" and inputs and operation(inputs[0]) == "Add" and len(inputs_of(inputs[0])) == 1:
        power = inputs_of(inputs[0])[0]
        if operation(power) == "Exp" and operation(inputs_of(power)[0]) == "Neg":
            return "Sigmoid", inputs_of(inputs_of(power)[0])[0]
    return None


def _through(node: Node) -> Node | None:
    """The node below what only reshapes, or protects a divisor from 0."""
    for _ in range(6):
        if operation(node) not in _GUARDS:
            return node
        if len(inputs_of(node)) != 1:
            return None
        node = inputs_of(node)[0]
    return None


def _sums(node: Node) -> bool:
    return operation(node) == "Sum" or (operation(node) == "LinalgVectorNorm" and saved(node, "ord") == 1)


def _same_input(one: Node, two: Node) -> bool:
    """Whether two exponentials are taken of the same value."""
    return operation(one) == operation(two) == "Exp" and _above_maximum(inputs_of(one)[0]) is _above_maximum(inputs_of(two)[0])


def _above_maximum(node: Node) -> Node:
    """What the largest value was subtracted from, so that the exponentials stay finite."""
    inputs = inputs_of(node)
    if operation(node) != "Sub" or not inputs:
        return node
    least = _through(inputs[1]) if len(inputs) == 2 else None
    return inputs[0] if len(inputs) == 1 or (least is not None and operation(least) in _MAXIMA) else node
