"""Signs that a loss is not measured against fixed data: another network judges or teaches, or examples are compared with each
other.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor

from lettrine.torch.capture.looks import Look
from lettrine.torch.graph.reading import Node, operation

_SEARCHED: Final = 4_000  # nodes of a graph searched
_BACK: Final = 12  # calls followed backwards from a target
_MAKING: Final = frozenset("linear conv1d conv2d conv3d embedding batch_norm layer_norm multi_head_attention_forward".split())  # noqa: SIM905
"""Functions that only networks call: if one of them made a target, a network made it."""
_PRODUCTS: Final = ("Mm", "Bmm")
_MOVING: Final = frozenset("T Transpose View UnsafeView ToCopy Clone Permute Index Select Slice Squeeze Unsqueeze".split())  # noqa: SIM905
_SCALING: Final = _MOVING | {"Mul", "Div", "Add", "Sub", "MaskedFill", "LogSoftmax"}


def _parameters_below(node: Node | None) -> set[int]:
    """The ids of the parameters below a node."""
    waiting, seen, found = [node], set[Any](), set[int]()
    while waiting and len(seen) < _SEARCHED:
        place = waiting.pop()
        if place is None or place in seen:
            continue
        seen.add(place)
        if (variable := getattr(place, "variable", None)) is not None:
            found.add(id(variable))
        waiting += [following for following, _ in place.next_functions]
    return found


def foreign(look: Look) -> bool:
    """Whether the loss passes through a network that is not trained here: its parameters are in neither the model nor an
    optimiser.
    """
    strange = _parameters_below(look.loss.grad_fn if look.loss is not None else None) - look.parameters.keys() - look.held
    judged = {id(each) for root in look.roots for each in root.inputs if each.requires_grad and each.is_leaf}
    return bool(look.optimisers) and len(strange - judged) > 1 and judges(look)


def judges(look: Look) -> bool:
    """Whether the model's output was given to functions that only networks call."""
    return any(call.name in _MAKING for call in look.outside)


def sides(look: Look) -> frozenset[int]:
    """The optimisers that hold parameters this loss depends on."""
    below = _parameters_below(look.loss.grad_fn if look.loss is not None else None)
    return frozenset(
        place
        for place, optimiser in enumerate(look.optimisers)
        if any(id(each) in below for group in optimiser.param_groups for each in group["params"])
    )


def bootstrapped(look: Look, target: Tensor | None) -> bool:
    """Whether a network made the target in this step: a teacher, or the network itself from other inputs."""
    if target is None or not target.is_floating_point():
        return False
    made: dict[int, Any] = {}
    for call in look.calls:
        for each in call.result if isinstance(call.result, tuple) else (call.result,):
            if isinstance(each, Tensor):
                made[id(each)] = call
    answers = {id(root.output) for root in look.roots if isinstance(root.output, Tensor)}
    waiting, seen = [target], set[int]()
    for _ in range(_BACK):
        following = []
        for each in waiting:
            if id(each) in answers:
                return True
            maker = made.get(id(each))
            if maker is None or id(each) in seen:
                continue
            seen.add(id(each))
            if maker.name in _MAKING:
                return True
            following += [arg for arg in maker.args if isinstance(arg, Tensor)]
        waiting = following
    return False


def contrastive(logits: Tensor | None, target: Tensor | None) -> bool:
    """Whether the loss may tell examples apart: there are as many classes as examples, each is the target once, and the logits
    come from no layer. In small batches that may be so by chance, unless `product_of` finds the product.
    """
    if logits is None or target is None or target.is_floating_point() or logits.ndim != 2 or logits.shape[0] != logits.shape[1]:
        return False
    if len(torch.unique(target)) != len(target):
        return False
    node = _below(logits.grad_fn, _SCALING)
    if node is None:
        return True  # the graph is not known; the targets alone decide
    return product_of(logits) is not None or operation(node) not in (*_PRODUCTS, *_SCALING, "Addmm", "Convolution")


def product_of(logits: Tensor) -> Node | None:
    """The node of the product of two outputs of the network that made the logits, apart from a scale and a mask; None for a layer
    without a bias, where one of the two is a parameter.
    """
    node = _below(logits.grad_fn, _SCALING)
    if node is None or operation(node) not in _PRODUCTS:
        return None
    factors = [_below(following, _MOVING) for following, _ in node.next_functions]
    parameters = sum(factor is not None and hasattr(factor, "variable") for factor in factors)
    return None if parameters == 1 else node


def _below(node: Node | None, passed: frozenset[str]) -> Node | None:
    """The first node, from this one on, whose operation is not among those `passed`; if there is none, the last one looked at."""
    for _ in range(_BACK):
        if node is None or operation(node) not in passed:
            return node
        node = next((following for following, _ in node.next_functions if following is not None), None)
    return node
