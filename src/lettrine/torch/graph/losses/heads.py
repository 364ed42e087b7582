"""The operations between a network's last weights and its prediction: a softmax, a sigmoid, a ReLU, or none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, Final

from torch import Tensor

from lettrine.torch.graph.losses.handmade import handmade
from lettrine.torch.graph.reading import _WEIGHTED, VIEWS, Node, operation
from lettrine.torch.private import saved, saves_elsewhere

_SHAPING: Final = frozenset(
    "Softmax LogSoftmax Sigmoid LogSigmoid Relu Tanh Softplus Hardtanh Hardsigmoid Clamp Log Exp Elu Gelu Silu Mish".split()  # noqa: SIM905
)
"""Operations that bound or bend each value (or each row) and mix in no other tensor."""
_RANGES: Final[dict[str, tuple[float, float]]] = {
    "Softmax": (0.0, 1.0),
    "Sigmoid": (0.0, 1.0),
    "Hardsigmoid": (0.0, 1.0),
    "Relu": (0.0, inf),
    "Softplus": (0.0, inf),
    "Exp": (0.0, inf),
    "Tanh": (-1.0, 1.0),
    "LogSoftmax": (-inf, 0.0),
    "LogSigmoid": (-inf, 0.0),
    "Elu": (-1.0, inf),
    "Gelu": (-0.17, inf),  # minima of x Phi(x), x sigmoid(x) and x tanh(softplus(x))
    "Silu": (-0.279, inf),
    "Mish": (-0.309, inf),
}
_CLAMPS: Final = {"ClampMin": "Clamp", "ClampMax": "Clamp"}
_CARRIERS: Final = VIEWS | {"WeightNormInterface"}
_LONGEST: Final = 24  # operations followed backwards


@dataclass(frozen=True)
class Head:
    """The end of a network.

    operations: from the prediction backwards, without views, such as ("Log", "Softmax"); "Share" is a division of values by
    their own sum. axis: the axis of a softmax, as torch saved it. place: name of the watched parameter that made the prediction;
    "" if the last weights are not the model's, or if other operations lie between. low, high: bounds of its values, infinite if
    there are none. dropped: whether dropout follows the operations.
    """

    operations: tuple[str, ...] = ()
    axis: int | None = None
    place: str = ""
    low: float = -inf
    high: float = inf
    dropped: bool = False

    @property
    def last(self) -> str:
        """The operation that made the prediction; "" if it came directly from the weights."""
        return self.operations[0] if self.operations else ""

    @property
    def module(self) -> str:
        """Name of the module that holds the last weights."""
        return self.place.rpartition(".")[0] or self.place


def head_of(prediction: Tensor, names: Mapping[int, str]) -> Head:  # noqa: C901  one walk, one case an operation
    """Read the head from autograd's graph. names: qualified name of each watched parameter by its id."""
    node, steps = prediction.grad_fn, 0
    operations: list[str] = []
    axis: int | None = None
    low, high, dropped = -inf, inf, False
    while node is not None and steps < _LONGEST:
        steps += 1
        kind = _CLAMPS.get(operation(node), operation(node))
        if (written := handmade(node)) is not None:
            kind, below = written
            if not set(operations) - {"Clamp"}:
                low, high = max(low, 0.0), min(high, 1.0)
            operations.append(kind)
            node = below
            continue
        if kind in _WEIGHTED:
            return Head(tuple(operations), axis, parameter_of(node, names), low, high, dropped)
        if kind in _SHAPING:
            if not operations or (operations and set(operations) <= {"Clamp"}):
                inner = _range(node, kind)
                low, high = max(low, inner[0]), min(high, inner[1])
            if axis is None and kind in ("Softmax", "LogSoftmax"):
                axis = _signed(saved(node, "dim"))
            operations.append(kind)
        elif kind == "Add" and (name := parameter_of(node, names)):  # a bias
            following = [each for each, _ in node.next_functions if each is not None and operation(each) != "AccumulateGrad"]
            if len(following) != 1:
                return Head(tuple(operations), axis, name, low, high, dropped)
            node = following[0]
            continue
        elif kind == "NativeDropout" or (kind == "Mul" and _is_mask(node)):
            dropped = True
        elif _by_own_sum(node):
            operations.append("Share")
        elif kind not in VIEWS and not (kind == "Add" and operations[-1:] == ["Log"] and _alone(node)):
            break
        node = next((each for each, _ in node.next_functions if each is not None), None)
    return Head(tuple(operations), axis, "", low, high, dropped)


def _by_own_sum(node: Node) -> bool:
    """Whether values are divided by their own sum."""
    inputs = [each for each, _ in node.next_functions]
    if operation(node) != "Div" or len(inputs) != 2 or None in inputs:
        return False
    divisor = inputs[1]
    while operation(divisor) in ("Clamp", "Add", "Expand", "Unsqueeze") and divisor.next_functions:
        divisor = divisor.next_functions[0][0]
        if divisor is None:
            return False
    return operation(divisor) == "Sum" and divisor.next_functions[0][0] is inputs[0]


def _alone(node: Node) -> bool:
    """Whether an addition only adds a number, such as the small one that keeps a logarithm finite."""
    return sum(each is not None for each, _ in node.next_functions) == 1


def _signed(axis: Any) -> int | None:
    if axis is None:
        return None
    return int(axis) if axis < 2**63 else int(axis) - 2**64  # autograd stores -1 as an unsigned number


def _range(node: Node, kind: str) -> tuple[float, float]:
    if kind == "Hardtanh":
        return float(saved(node, "min_val")), float(saved(node, "max_val"))
    if kind == "Clamp":
        low, high = saved(node, "min"), saved(node, "max")
        return (
            float(low) if isinstance(low, int | float) else -inf,
            float(high) if isinstance(high, int | float) else inf,
        )
    return _RANGES.get(kind, (-inf, inf))


def _is_mask(node: Node) -> bool:
    """Whether a product is with a dropout mask: the other factor has the same shape and holds only 0 and one other number."""
    other = None if saves_elsewhere() else saved(node, "other")
    if not isinstance(other, Tensor) or other.ndim == 0 or sum(each is not None for each, _ in node.next_functions) != 1:
        return False
    most = other.max()
    return bool(((other == 0) | (other == most)).all()) and bool((other == 0).any()) and bool(most > 1)


def parameter_of(node: Node, names: Mapping[int, str]) -> str:
    """Name of the watched parameter that an operation takes; "" if none. A weight comes before a bias."""
    found: list[str] = []
    waiting = [(each, 0) for each, _ in node.next_functions]
    while waiting:
        place, depth = waiting.pop(0)
        if place is None:
            continue
        variable = getattr(place, "variable", None)
        if variable is not None:
            if id(variable) in names:
                found.append(names[id(variable)])
        elif operation(place) in _CARRIERS and depth < 4:
            waiting += [(each, depth + 1) for each, _ in place.next_functions]
    return next((each for each in found if not each.endswith("bias")), found[0] if found else "")
