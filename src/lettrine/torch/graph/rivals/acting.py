"""Whether a loss is that of a policy: of what was chosen, by how well it turned out."""

from __future__ import annotations

from typing import Final

from torch import Tensor

from lettrine.torch.capture.looks import Look
from lettrine.torch.graph.losses.comparisons import readable
from lettrine.torch.graph.losses.written import inputs_of, other
from lettrine.torch.graph.memory import memory
from lettrine.torch.graph.reading import VIEWS, Node, operation
from lettrine.torch.graph.rivals.advantages import DRAW, picks

_READ: Final = 500  # operations of a loss
_NEAR: Final = 6  # operations between a product and a ratio
_BETWEEN: Final = VIEWS | {"Clamp", "ClampMin", "Neg", "Sum", "Mul"}


def acts(look: Look) -> bool:
    """Whether actions were drawn at this look, or are judged that were drawn before: their log-probabilities, or the ratios of
    new ones to old ones, are weighted by data of both signs. Ask for it by `look.once(acts)`.
    """
    if any(call.name == DRAW for call in look.calls):
        return True
    return any(_judged(node) for node in look.nodes[:_READ])


def chosen_by_draw(look: Look) -> bool:
    """Whether probabilities are picked of what was drawn at this look, and not of what data say."""
    drawn = {memory(call.result) for call in look.calls if call.name == DRAW and isinstance(call.result, Tensor)}
    picked = (call.given(2, "index") for call in look.calls if call.name == "gather") if drawn else ()
    return any(isinstance(each, Tensor) and memory(each) in drawn for each in picked)


def _judged(node: Node) -> bool:
    """Whether a product weighs what was chosen by advantages."""
    following = inputs_of(node) if operation(node) == "Mul" else []
    if len(following) != 1 or not (picks(following[0]) or ratio_of(following[0]) is not None):
        return False
    weights = other(node)  # asked for last: what a checkpointed block saved would run it once more
    return weights is not None and readable(weights) and bool(weights.min() < 0) and bool(weights.max() > 0)


def ratio_of(node: Node) -> Node | None:
    """The exponential of a difference from data that is handed on here, as exp(new - old); None if there is none."""
    for _ in range(_NEAR):
        if operation(node) == "Exp":
            below = inputs_of(node)
            while below and operation(below[0]) in VIEWS | {"Sum"}:
                below = inputs_of(below[0])
            less = bool(below) and operation(below[0]) in ("Sub", "Rsub") and len(inputs_of(below[0])) == 1
            return node if less else None
        following = inputs_of(node)
        if operation(node) not in _BETWEEN or len(following) != 1:
            return None
        node = following[0]
    return None
