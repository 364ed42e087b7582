"""Reads autograd's graph backwards: what fed a module, which activation was called as a function, what made the loss.

The graph is only read. A node is named after its operation, such as "ReluBackward0".
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, TypeAlias

from torch import Tensor

from lettrine.activations import ACTIVATIONS
from lettrine.torch.private import saved, saves_elsewhere

Node: TypeAlias = Any  # torch.autograd.graph.Node, whose attributes depend on the operation


def _names(names: str) -> frozenset[str]:
    return frozenset(names.split())


# Operations that move or pick values without making new ones, and operations that commute with an activation well enough to tell
# what fed what.
VIEWS: Final = _names(
    "View UnsafeView Reshape ReshapeAlias Transpose Permute T Mt Squeeze Unsqueeze Alias Clone Slice Select Expand "
    "ToCopy AsStrided Contiguous Flatten Split SplitWithSizes Unbind Unfold"
)
_PASSING: Final = VIEWS | _names(
    "MaxPool2DWithIndices MaxPool3DWithIndices MaxPool1D AvgPool2D AvgPool3D AdaptiveAvgPool2D AdaptiveAvgPool3D "
    "AdaptiveMaxPool2D ConstantPadNd NativeDropout"
)
_SQUASHING: Final = _names("Softmax LogSoftmax Sigmoid LogSigmoid")
_ACTIVATIONS: Final = {row.operation: name for name, row in ACTIVATIONS.items() if row.operation}
ADDING: Final = VIEWS | _names(
    "Add Sub Cat Stack Mean Sum Div AvgPool2D AvgPool3D AdaptiveAvgPool2D AdaptiveAvgPool3D NativeDropout"
)
_LOSSES: Final = _names(
    "NllLoss NllLoss2D NllLossNd BinaryCrossEntropyWithLogits BinaryCrossEntropy MseLoss L1Loss SmoothL1Loss "
    "HuberLoss KlDiv SoftMarginLoss MultiMarginLoss MultilabelMarginLoss CtcLoss"
)
_WEIGHTED: Final = _names("Addmm Mm Bmm Addbmm Baddbmm Convolution Embedding Linear")
_REACH: Final = 8  # operations followed backwards from a module's input
_CHAIN: Final = 6  # operations named in a loss chain
_SEARCHED: Final = 64  # nodes searched for the loss itself, below sums and means


def operation(node: Node) -> str:
    """Name of the operation, "Relu" for "ReluBackward0"."""
    return _operation(node.name())


@cache
def _operation(name: str) -> str:
    return re.sub(r"Backward\d*$", "", name.rpartition("::")[2])


@dataclass(frozen=True)
class FunctionalActivation:
    """An activation called as a function: its key in the table, and the path from the input's node to its own node."""

    key: str
    path: tuple[int, ...]


def source(node: Node | None, known: Mapping[Node, str]) -> tuple[str, FunctionalActivation | None, str]:
    """The module that made a tensor. Walks back from its node through operations that only pass values on.

    known: names of the modules by the node of their output. Returns the module that made it ("" if unknown), the activation
    called as a function on the way, if any, and the module that fed that activation.
    """
    name, place, path = _walk(node, known, _PASSING)
    if name or place is None:
        return name, None, ""
    key = activation_key(place)
    if key is None:
        return "", None, ""
    behind, _, _ = _walk(_only_input(place)[1], known, _PASSING)
    return "", FunctionalActivation(key, path), behind


def same_values(node: Node | None, known: Mapping[Node, str]) -> bool:
    """Whether a tensor with this node is the output of a known module, or a view of it."""
    return bool(_walk(node, known, VIEWS)[0])


def linear_makers(node: Node | None, known: Collection[Node]) -> list[Node]:
    """The nearest known nodes from which a tensor was made by adding, joining, averaging and reshaping only."""
    found: list[Node] = []
    waiting, seen = [node], set[Node]()
    while waiting and len(seen) < _SEARCHED:
        place = waiting.pop()
        if place is None or place in seen:
            continue
        seen.add(place)
        if place in known:
            found.append(place)
        elif operation(place) in ADDING:
            waiting += [following for following, _ in place.next_functions]
    return found


def follow(node: Node | None, path: tuple[int, ...]) -> Node | None:
    """The node at the end of a path that `source` found, if it is still there."""
    for hop in path:
        if node is None or hop >= len(node.next_functions):
            return None
        node = node.next_functions[hop][0]
    return node


def activation_key(node: Node) -> str | None:
    """Key of the activation table for an activation's node; "" for an unusual form of it; None for another operation."""
    key = _ACTIVATIONS.get(operation(node))
    if key == "elu":
        alpha, scale, inner = saved(node, "alpha"), saved(node, "scale"), saved(node, "input_scale")
        if scale != 1.0:
            return "selu"
        return ("celu" if inner != 1.0 else "elu") if alpha == 1.0 else ""
    if key == "hardtanh":
        return {(-1.0, 1.0): "hardtanh", (0.0, 6.0): "relu6"}.get((saved(node, "min_val"), saved(node, "max_val")), "")
    return key


def saved_result(node: Node) -> Tensor | None:
    """The output that an activation's node saved for its backward pass.

    None if it saved its input instead, or if unpacking would run user code (checkpointing).
    """
    if operation(node) not in ("Relu", "Tanh", "Sigmoid"):
        return None
    if saves_elsewhere():
        return None
    result = saved(node, "result")
    return result if isinstance(result, Tensor) else None


@dataclass(frozen=True)
class LossGraph:
    """The operations that made a loss.

    chain: operations from the loss backwards. logits: node of the input of the softmax or sigmoid, None if there is none.
    reduction: "mean" or "sum" over the batch, "" if the operation does not tell.
    """

    chain: tuple[str, ...]
    logits: Node | None
    reduction: str


def loss_graph(loss: Tensor) -> LossGraph:
    """Read a loss from its node backwards."""
    start = _loss_node(loss.grad_fn)
    names: list[str] = []
    logits: Node | None = None
    node = start
    while node is not None and len(names) < _CHAIN:
        names.append(operation(node))
        following = _first_input(node)
        if names[-1] in ("LogSoftmax", "BinaryCrossEntropyWithLogits") and logits is None:
            logits = following
        node = None if names[-1] in _WEIGHTED else following
    reduction = {1: "mean", 2: "sum"}.get(getattr(start, "_saved_reduction", 0), "")
    return LossGraph(tuple(names), logits, reduction)


def behind_logits(node: Node | None, known: Mapping[Node, str]) -> str:
    """Name of the module whose output this is, directly, as a view, or after a softmax or sigmoid; "" if none."""
    return _walk(node, known, VIEWS | _SQUASHING)[0]


def _walk(node: Node | None, known: Mapping[Node, str], through: frozenset[str]) -> tuple[str, Node | None, tuple[int, ...]]:
    """Walk back to a known node (returns its name), or to the first operation not in `through` (returns node and path)."""
    path: list[int] = []
    while node is not None and len(path) < _REACH:
        if node in known:
            return known[node], node, tuple(path)
        hop, following = _only_input(node)
        if operation(node) not in through and not (operation(node) == "Mul" and "NativeDropout" in through and hop >= 0):
            return "", node, tuple(path)
        if hop < 0:
            break
        path.append(hop)
        node = following
    return "", None, ()


def _only_input(node: Node) -> tuple[int, Node | None]:
    """The only input that gradients flow to; (-1, None) if there are several or none."""
    found = [(hop, following) for hop, (following, _) in enumerate(node.next_functions) if following is not None]
    return found[0] if len(found) == 1 else (-1, None)


def _first_input(node: Node) -> Node | None:
    # The bias is the first input of an affine map; follow the values instead.
    inner = [following for following, _ in node.next_functions if following is not None]
    return next((following for following in inner if operation(following) != "AccumulateGrad"), None)


def _loss_node(node: Node | None) -> Node | None:
    """The loss itself, below sums, means, scales and regularisers; the first node if none is recognised."""
    waiting, looked = [node], 0
    while waiting and looked < _SEARCHED:
        current = waiting.pop(0)
        if current is None:
            continue
        if operation(current) in _LOSSES:
            return current
        looked += 1
        waiting.extend(following for following, _ in current.next_functions)
    return node
