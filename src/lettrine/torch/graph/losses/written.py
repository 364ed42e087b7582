"""Reads losses that are written by hand: operations that make a logarithm, pick one class per example, or hold the labels.

All functions take nodes of autograd's graph and read the tensors these saved.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from lettrine.torch.graph.reading import Node, operation

VIEWS: Final = frozenset(
    """View UnsafeView Reshape ReshapeAlias Squeeze Unsqueeze Alias Clone Slice Select Expand ToCopy Unbind T Transpose
    Permute""".split()  # noqa: SIM905
)
CLOSE: Final = 1e-4  # allowed error of a sum of 1, for targets in half precision


def inputs_of(node: Node) -> list[Node]:
    """The nodes that gradients flow on to."""
    return [following for following, _ in node.next_functions if following is not None]


def other(node: Node) -> Tensor | None:
    """The factor of a product to which no gradient flows."""
    for side, place in (("other", 1), ("self", 0)):
        value = getattr(node, f"_saved_{side}", None)
        if isinstance(value, Tensor) and (place >= len(node.next_functions) or node.next_functions[place][0] is None):
            return value
    return None


def twice(node: Node) -> bool:
    """Whether both factors of a product are the same value, or were computed in the same way."""
    inputs = inputs_of(node)
    if len(inputs) != 2 or inputs[0] is inputs[1]:
        return len(inputs) == 2
    return operation(inputs[0]) == operation(inputs[1]) == "Sub" and torch.equal(node._saved_self, node._saved_other)  # noqa: SLF001


def logarithm(node: Node | None) -> Tensor | None:
    """The logarithm of a probability that reaches this operation (log-softmax, log-sigmoid, or a log); None if there is none."""
    for _ in range(3):
        name = "" if node is None else operation(node)
        if node is None or name in _LOGARITHMS or name not in (*VIEWS, "Neg"):
            return None if node is None or name not in _LOGARITHMS else _LOGARITHMS[name](node)
        node = next(iter(inputs_of(node)), None)
    return None


def _normalised(node: Node) -> Tensor | None:
    """Logits minus their logsumexp."""
    total = below_views(inputs_of(node)[-1])
    normal = len(inputs_of(node)) == 2 and operation(total) == "Logsumexp"
    return total._saved_self.log_softmax(-1) if normal else None  # noqa: SLF001


_LOGARITHMS: Final[dict[str, Callable[[Node], Tensor | None]]] = {
    "LogSoftmax": lambda node: node._saved_result,  # noqa: SLF001
    "Log": lambda node: node._saved_self.log(),  # noqa: SLF001
    "Softplus": lambda node: functional.softplus(node._saved_self),  # noqa: SLF001
    "LogSigmoid": lambda node: functional.logsigmoid(node._saved_self),  # noqa: SLF001
    "Sub": _normalised,
}
"""Results of the operations that make the logarithm of a probability, or its negative."""


def picked_by(node: Node | None) -> tuple[Tensor, int, int] | None:
    """How one class per example was picked: the class numbers, the number of classes, and their axis."""
    if node is None or operation(node) not in ("Index", "Gather"):
        return None
    if operation(node) == "Gather":
        axis = signed(node._saved_dim)  # noqa: SLF001
        return node._saved_index, int(node._saved_self.shape[axis]), axis  # noqa: SLF001
    places, sizes = node._saved_indices, node._saved_self_sym_sizes  # noqa: SLF001
    if len(places) != len(sizes) or len(sizes) < 2 or not isinstance(places[-1], Tensor):
        return None
    return places[-1], int(sizes[-1]), len(sizes) - 1


def mask(factor: Tensor) -> bool:
    """Whether a factor only leaves examples out."""
    return bool(((factor == 0) | (factor == 1)).all())


def shares(factor: Tensor) -> bool:
    """Whether rows are probabilities."""
    if factor.ndim < 2:
        return False
    factor = factor.float()
    return bool((factor >= 0).all()) and bool(((factor.sum(-1) - 1).abs() < CLOSE).float().mean() > 0.9)


def binary(node: Node) -> Tensor | None:
    """The labels y of y log p + (1 - y) log (1 - p)."""
    inner = inputs_of(node)
    if len(inner) != 2 or any(operation(each) != "Mul" or logarithm(next(iter(inputs_of(each)), None)) is None for each in inner):
        return None
    first, second = (other(each) for each in inner)
    if first is None or second is None or first.shape != second.shape:
        return None
    return first if complements(first, second) else None


def complements(one: Tensor, two: Tensor) -> bool:
    """Whether two sets of labels, numbers or yes and no, add up to 1."""
    return bool(((one.float() + two.float() - 1).abs() < CLOSE).all())


def below_guards(node: Node | None) -> Node | None:
    """The node below operations that protect a logarithm from 0: the addition of a small number, a clamp."""
    for _ in range(3):
        if node is None or operation(node) not in (*VIEWS, "Add", "Clamp", "ClampMin") or len(inputs_of(node)) != 1:
            break
        node = inputs_of(node)[0]
    return node


def below_views(node: Node) -> Node:
    """The node below operations that only reshape."""
    for _ in range(4):
        if operation(node) not in VIEWS or not inputs_of(node):
            break
        node = inputs_of(node)[0]
    return node


def factor_of_product(node: Node) -> Tensor | None:
    """The factor of a matrix product to which no gradient flows."""
    for name, place in (("mat2", 1), ("self", 0)):
        value = getattr(node, f"_saved_{name}", None)
        if isinstance(value, Tensor) and node.next_functions[place][0] is None:
            return value
    return None


def signed(number: int) -> int:
    """A signed number: autograd stores -1 as an unsigned number."""
    return number - 2**64 if number >= 2**63 else number
