"""Evidence "attention": a matrix product where one factor is the softmax of another product.

One for each module that does it. where: that module, "" outside of all. figures: "looks"; "off": share of looks in which the
weights do not sum to 1 over the axis that the product sums over; "axis": the axis of the softmax, "axes": the number of axes,
both at the last look. words: "scores": the modules whose outputs were multiplied.

The softmax must enter the product unchanged, except for reshaping and dropout. If the weights are divided by their sum
afterwards (slot attention), or do not come from a product of two activations (soft assignments), another axis is intended.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Final

import torch
from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.functions import FunctionCall
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.losses.comparisons import readable
from lettrine.torch.graph.losses.heads import parameter_of
from lettrine.torch.graph.reading import _WEIGHTED, VIEWS, Node, operation
from lettrine.torch.private import saved, saves_elsewhere

_PRODUCTS: Final = ("matmul", "bmm", "__matmul__", "einsum")
_SCALING: Final = VIEWS | {"Div", "Mul", "MaskedFill", "Add", "Sub", "Where", "ToCopy"}
_LONGEST: Final = 12  # operations followed backwards
_LEAST: Final = 2  # entries along an axis; with fewer the choice of axis does not matter


@reader
class Shares:
    """Finds attention whose weights do not sum to 1 over the axis that is summed."""

    whole: ClassVar[bool] = True

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, int, int]] = {}  # first step, looks, looks with wrong sums

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        done: set[str] = set()
        names = look.parameters
        for call in look.calls:
            if call.name not in _PRODUCTS or call.where in done:
                continue
            found = _einsum(call) if call.name == "einsum" else _weights(call)
            if found is None:
                continue
            weights, contracted, node = found
            done.add(call.where)
            own = _sums_to_one(weights, contracted)
            others = any(_sums_to_one(weights, axis) for axis in range(-weights.ndim, 0) if axis != contracted)
            first, looks, off = self._seen.get(call.where, (look.step, 0, 0))
            self._seen[call.where] = first, looks + 1, off + (others and not own)
            axis = saved(node, "dim")
            shape = saved(node, "result")
            axes = shape.ndim if isinstance(shape, Tensor) else weights.ndim
            figures = {"looks": looks + 1, "off": self._seen[call.where][2] / (looks + 1), "axes": axes}
            # autograd stores -1 as an unsigned number
            figures["axis"] = axis if axis < 2**63 else axis - 2**64 + figures["axes"]
            words = {"scores": ", ".join(_makers(node, names))}
            yield Evidence("attention", (call.where,) if call.where else (), (first, look.step), figures, words)

    def finish(self) -> Iterable[Evidence]:
        """Nothing more."""
        return ()


def _weights(call: FunctionCall) -> tuple[Tensor, int, Node] | None:
    """The softmax among the two factors, the axis over which the product sums it, and its node."""
    for place, contracted in ((0, -1), (1, -2)):
        factor = call.given(place, "input" if place == 0 else "other")
        if not isinstance(factor, Tensor) or factor.ndim < 3 or not readable(factor):
            continue
        node, reshaped = factor.grad_fn, False
        for _ in range(_LONGEST):
            if node is None or operation(node) == "Softmax":
                break
            kind = operation(node)
            reshaped = reshaped or kind in VIEWS
            if kind not in VIEWS and kind not in ("NativeDropout", "Mul"):
                node = None
                break
            inner = [each for each, _ in node.next_functions if each is not None]
            node = inner[0] if len(inner) == 1 else None
        if node is None or operation(node) != "Softmax" or not _of_product(node):
            continue
        # After dropout the sums are arbitrary: use the softmax's own result, unless axes were moved since.
        weights = saved(node, "result") if not reshaped and not saves_elsewhere() else factor
        if isinstance(weights, Tensor) and weights.ndim >= 3 and min(weights.shape[-2:]) >= _LEAST:
            return weights.detach(), contracted, node
    return None


def _einsum(call: FunctionCall) -> tuple[Tensor, int, Node] | None:
    """The same for einsum: torch turns it into a matrix product and arranges the factors for the sum."""
    product = call.result.grad_fn if isinstance(call.result, Tensor) else None
    for _ in range(_LONGEST):
        if product is None or operation(product) == "Bmm":
            break
        following = [each for each, _ in product.next_functions if each is not None]
        product = following[0] if operation(product) in VIEWS and len(following) == 1 else None
    if product is None or saves_elsewhere():
        return None
    for place, name, contracted in ((0, "self", -1), (1, "mat2", -2)):
        weights, node = saved(product, name), product.next_functions[place][0]
        for _ in range(_LONGEST):
            if node is None or operation(node) not in VIEWS:
                break
            node = next((each for each, _ in node.next_functions if each is not None), None)
        if node is None or operation(node) != "Softmax" or not _of_product(node) or not isinstance(weights, Tensor):
            continue
        if weights.ndim == 3 and min(weights.shape[-2:]) >= _LEAST:
            return weights.detach(), contracted, node
    return None


def _of_product(softmax: Node) -> bool:
    """Whether the input of a softmax is the scaled and masked product of two activations."""
    waiting = [(each, 0) for each, _ in softmax.next_functions]
    while waiting:
        node, depth = waiting.pop()
        if node is None or depth > _LONGEST:
            continue
        if operation(node) in ("Bmm", "Baddbmm"):
            return sum(each is not None and operation(each) != "AccumulateGrad" for each, _ in node.next_functions) == 2
        if operation(node) in _SCALING:
            waiting += [(each, depth + 1) for each, _ in node.next_functions]
    return False


def _makers(softmax: Node, names: dict[int, str]) -> list[str]:
    """The modules whose weights made the two factors of the scores."""
    found: list[str] = []
    waiting, seen = [(each, 0) for each, _ in softmax.next_functions], set[Node]()
    while waiting:
        node, depth = waiting.pop(0)
        if node is None or node in seen or depth > 2 * _LONGEST:
            continue
        seen.add(node)
        if operation(node) in _WEIGHTED and (name := parameter_of(node, names)):
            found.append(name.rpartition(".")[0] or name)
        else:
            waiting += [(each, depth + 1) for each, _ in node.next_functions]
    return list(dict.fromkeys(found))


def _sums_to_one(weights: Tensor, axis: int) -> bool:
    """Whether all sums along an axis are 1; rows that are all masked may be 0 or NaN."""
    sums = weights.sum(dim=axis, dtype=torch.float32)
    sums = sums[torch.isfinite(sums)]
    return bool(sums.numel()) and bool(((sums - 1).abs() < 1e-2).float().mean() > 0.9)
