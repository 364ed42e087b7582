"""The terms of a loss: the weight of each, and what it compares.

They are read from the graph. The walk starts at the loss and passes sums, means, scales and views until it meets operations that
are losses: torch's own functions, or losses written by hand. Recorded function calls add what the graph does not keep.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import nan, prod, sqrt
from typing import Any, Final, TypeAlias

import torch
from torch import Tensor

from lettrine.torch.capture.functions import FunctionCall
from lettrine.torch.graph.losses.scales import factor_of
from lettrine.torch.graph.losses.written import (
    VIEWS,
    below_guards,
    below_views,
    binary,
    complements,
    factor_of_product,
    inputs_of,
    logarithm,
    mask,
    other,
    picked_by,
    shares,
    signed,
    twice,
)
from lettrine.torch.graph.reading import Node, operation

FUNCTIONS: Final = {
    "cross_entropy": "cross-entropy",
    "nll_loss": "cross-entropy",
    "binary_cross_entropy": "binary cross-entropy",
    "binary_cross_entropy_with_logits": "binary cross-entropy",
    "mse_loss": "squared error",
    "l1_loss": "absolute error",
    "smooth_l1_loss": "smooth absolute error",
    "huber_loss": "huber",
}
"""Losses with targets, by the name of torch's function."""
ERRORS: Final = frozenset(("squared error", "absolute error", "smooth absolute error", "huber"))
"""Those whose targets are numbers."""
OTHERS: Final = {
    "kl_div": "divergence",
    "ctc_loss": "ctc",
    "triplet_margin_loss": "triplet",
    "triplet_margin_with_distance_loss": "triplet",
    "cosine_embedding_loss": "embedding",
    "hinge_embedding_loss": "embedding",
    "margin_ranking_loss": "ranking",
    "multi_margin_loss": "hinge",
    "multilabel_margin_loss": "hinge",
    "multilabel_soft_margin_loss": "hinge",
    "soft_margin_loss": "hinge",
    "gaussian_nll_loss": "likelihood",
    "poisson_nll_loss": "likelihood",
}
"""Losses that are never negative and have no reference value that follows from their targets alone."""
NODES: Final = {
    "NllLoss": "cross-entropy",
    "NllLoss2D": "cross-entropy",
    "BinaryCrossEntropyWithLogits": "binary cross-entropy",
    "BinaryCrossEntropy": "binary cross-entropy",
    "MseLoss": "squared error",
    "L1Loss": "absolute error",
    "SmoothL1Loss": "smooth absolute error",
    "HuberLoss": "huber",
    "KlDiv": "divergence",
    "CtcLoss": "ctc",
    "SoftMarginLoss": "hinge",
    "MultiMarginLoss": "hinge",
    "MultilabelMarginLoss": "hinge",
}
_JOINS: Final = frozenset(("Stack", "Cat"))
_MOST: Final = 400  # nodes searched above the terms
_FAR: Final = 2_000  # nodes searched below a term, to see whether it depends on the model's outputs


@dataclass(frozen=True)
class Term:
    """One term of a loss.

    kind: a value of FUNCTIONS, OTHERS or NODES; "policy" for log-probabilities weighted by something that is not a probability;
        "penalty" if it depends on parameters alone; "distance" for an error between two outputs of the network; "unread" for
        compiled code or the user's own autograd function; "other".
    weight: factor of its mean over the examples in the loss; NaN if it is not a number. given, target: the tensors compared, if
    found. options: of the function, such as "weight" or "label_smoothing". value: mean over the examples, NaN if unknown. root:
    whether a square root was taken of it.
    """

    kind: str
    weight: float = 1.0
    given: Tensor | None = None
    target: Tensor | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    value: float = nan
    root: bool = False


def terms_of(loss: Tensor, calls: Iterable[FunctionCall], outputs: Iterable[Tensor]) -> list[Term]:
    """The terms of a loss whose graph still exists. outputs: the tensors that the model returned."""
    noted = {call.result.grad_fn: call for call in calls if isinstance(call.result, Tensor) and call.result.grad_fn is not None}
    # a model may return its loss: a single number is not an output
    made = {each.grad_fn for each in outputs if each.grad_fn is not None and each.numel() > 1}
    return _Reading(noted, made).terms(loss.grad_fn, loss.numel())


_Place: TypeAlias = tuple[Node, float, int, bool]
"""A node, the weight of each of its elements in the loss, their number, and whether a root is taken of them."""


class _Reading:
    def __init__(self, noted: Mapping[Node, FunctionCall], made: set[Node]) -> None:
        self._noted, self._made = noted, made

    def terms(self, node: Node, count: int) -> list[Term]:
        found: list[Term] = []
        waiting: list[_Place] = [(node, 1.0, count, False)]
        looked = 0
        while waiting:
            node, weight, count, root = waiting.pop(0)
            looked += 1
            if term := self._term(node, weight, count, root=root):
                found.append(term)
            elif looked < _MOST and (inner := self._inner(node, weight, count, root=root)) is not None:
                waiting += inner
            else:
                found.append(Term(self._rest(node), weight * count, root=root))
        return _whole(found)

    def _inner(self, node: Node, weight: float, count: int, *, root: bool) -> list[_Place] | None:  # noqa: PLR0911
        """The input of a node that only sums, scales or reshapes; None for another operation."""
        name, inputs = operation(node), [following for following, _ in node.next_functions]
        known = [each for each in inputs if each is not None]
        if node in self._made or not known:
            return None
        if name in VIEWS or name in _JOINS or (name == "Where" and count == len(known) == 1):  # one guards against 0 / 0
            return [(each, weight, count, root) for each in known]
        if name in ("Mean", "Sum"):
            inside = _size(node)
            each = weight * count / inside if name == "Mean" and inside else weight
            return [(known[0], each, inside, root)]
        if name in ("Add", "Sub", "Neg"):
            factors = (1.0, getattr(node, "_saved_alpha", 1.0) * (-1.0 if name == "Sub" else 1.0))
            if name == "Neg" or (name == "Sub" and len(inputs) == 1):
                factors = (-1.0, -1.0) if name == "Neg" else (1.0, 1.0)
            return [(each, weight * float(factors[place]), count, root) for place, each in enumerate(inputs) if each is not None]
        if name == "Rsub":
            return [(known[0], -weight, count, root)]
        if name in ("Mul", "Div"):
            factor = factor_of(node, name)
            return [(each, weight * factor, count, root) for each in known[: 1 if name == "Div" else 2]]
        if name in ("Sqrt", "Pow") and (name == "Sqrt" or node._saved_exponent == 0.5) and count == 1:  # noqa: SLF001
            return [(known[0], nan, count, True)]
        return None

    def _term(self, node: Node, weight: float, count: int, *, root: bool) -> Term | None:
        call = self._noted.get(node)
        if call is not None and (kind := FUNCTIONS.get(call.name) or OTHERS.get(call.name)):
            return _called(kind, call, weight, count, root=root)
        if kind := NODES.get(operation(node)):
            return _saved(kind, node, weight, count, root=root)
        return self._written(node, weight * count, root=root)

    def _written(self, node: Node, weight: float, *, root: bool) -> Term | None:
        """A loss written by hand, with one value per element. weight: of their mean."""
        name, inner = operation(node), next(iter(inputs_of(node)), None)
        if name in ("Sub", "Add", "Bmm") and (term := _composed(node, name, weight, root=root)) is not None:
            return term
        if name == "LinalgVectorNorm" and node._saved_ord == 2 and not node._saved_dim:  # noqa: SLF001
            size = node._saved_self.numel()  # noqa: SLF001
            return self._error("squared error", inner, node._saved_self, weight * sqrt(size), root=True)  # noqa: SLF001
        if (name == "Pow" and node._saved_exponent == 2) or (name == "Mul" and twice(node)):  # noqa: SLF001
            return self._error("squared error", inner, node._saved_self, weight, root=root)  # noqa: SLF001
        if name == "Abs":
            return self._error("absolute error", inner, node._saved_self, weight, root=root)  # noqa: SLF001
        if name == "Add" and (labels := binary(node)) is not None:
            below = operation(below_views(next(iter(inputs_of(inner)), inner))) if inner is not None else ""
            return Term("binary cross-entropy", weight if below == "Softplus" else -weight, None, labels, root=root)
        return _of_logarithms(node, name, inner, weight, root=root)

    def _error(self, kind: str, node: Node | None, difference: Tensor, weight: float, *, root: bool) -> Term | None:
        """An error between two tensors, at least one of which the network made."""
        if node is None or operation(node) not in ("Sub", "Rsub"):
            return None
        if len(inputs_of(node)) > 1:
            return Term("distance", weight, root=root)
        call = self._noted.get(node)
        tensors = [each for each in (call.args if call else ()) if isinstance(each, Tensor)]
        given = next((each for each in tensors if each.requires_grad), None)
        target = next((each for each in tensors if not each.requires_grad), None)
        value = float((difference.square() if kind == "squared error" else difference.abs()).mean())
        return Term(kind, weight, given, target, {}, value, root)

    def _rest(self, node: Node) -> str:
        """The kind of an unknown term: whether it can be read, and whether it depends on the model's outputs."""
        if not node.name().rstrip("0123456789").endswith("Backward") or not node.name()[-1].isdigit():
            return "unread"
        waiting, seen = [node], set[Node]()
        while waiting and len(seen) < _FAR:
            place = waiting.pop()
            if place in self._made:
                return "other"
            if place not in seen:
                seen.add(place)
                waiting += inputs_of(place)
        return "other" if waiting or not self._made else "penalty"


def _of_logarithms(node: Node, name: str, inner: Node | None, weight: float, *, root: bool) -> Term | None:
    """Logarithms of probabilities, picked or weighted."""
    if name == "Log" and (picked := picked_by(below_guards(inner))) is not None:
        value = -float(node._saved_self.log().mean())  # noqa: SLF001
        return Term("cross-entropy", -weight, None, picked[0], {"classes": picked[1]}, value, root)
    factor = other(node) if name == "Mul" else None
    if factor is not None and factor.numel() > 1 and not mask(factor) and inner is not None and _picks(inner):
        return Term("policy", weight, root=root)
    logs, picked = logarithm(inner), picked_by(node)
    if logs is not None and picked is not None:
        return Term("cross-entropy", -weight, logs, picked[0], {"axis": picked[2]}, root=root)
    if logs is None or factor is None or factor.numel() < 2:
        return None
    if factor.shape == logs.shape and shares(factor):
        return Term("cross-entropy", -weight / factor.shape[-1], logs, factor.float(), {"axis": logs.ndim - 1}, root=root)
    value = float((factor * logs).mean()) if factor.shape == logs.shape else nan
    return Term("policy", weight, None, factor, {}, value, root)


def _picks(node: Node) -> bool:
    """Whether picked values come here, of one call of a network or of many, one a step, that were joined."""
    node = below_views(node)
    joined = inputs_of(node) if operation(node) in _JOINS else []
    return picked_by(below_views(joined[0]) if joined else node) is not None


def _whole(terms: list[Term]) -> list[Term]:
    """Join y log p and (1 - y) log (1 - p) to one binary cross-entropy if they were summed separately."""
    halves = [each for each in terms if each.kind == "policy" and each.target is not None]
    if len(halves) != 2 or halves[0].weight != halves[1].weight:
        return terms
    labels, rest = (each.target for each in halves)
    if labels is None or rest is None or labels.shape != rest.shape or not complements(labels, rest):
        return terms
    value = -(halves[0].value + halves[1].value)
    one = Term("binary cross-entropy", -halves[0].weight, None, labels, {}, value, halves[0].root)
    return [one, *(each for each in terms if each is not halves[0] and each is not halves[1])]


def _composed(node: Node, name: str, weight: float, *, root: bool) -> Term | None:
    """A cross-entropy written as logsumexp(z) - z[y] or as a matrix product; a binary one written as softplus(z) - y z."""
    inner = [below_views(each) for each in inputs_of(node)]
    kinds = [operation(each) for each in inner]
    if name == "Bmm":
        logs, factor = logarithm(inner[0]) if len(inner) == 1 else None, factor_of_product(node)
        if logs is None or factor is None or factor.numel() != logs.numel() or not shares(factor.reshape(logs.shape)):
            return None
        return Term("cross-entropy", -weight, logs, factor.reshape(logs.shape).float(), {"axis": logs.ndim - 1}, root=root)
    if len(inner) != 2:
        return None
    minus = name == "Sub"
    if minus and kinds[0] == "Logsumexp" and (picked := picked_by(inner[1])) is not None:
        logits = inner[0]._saved_self  # noqa: SLF001
        return Term(
            "cross-entropy", weight, logits.log_softmax(-1), picked[0], {"axis": picked[2], "classes": picked[1]}, root=root
        )
    if minus and kinds == ["Softplus", "Mul"] and (labels := other(inner[1])) is not None:
        given = inner[0]._saved_self  # noqa: SLF001
        if labels.shape == given.shape:
            value = float((torch.nn.functional.softplus(given) - given * labels).mean())
            return Term("binary cross-entropy", weight, None, labels, {}, value, root)
    return None


def _called(kind: str, call: FunctionCall, weight: float, count: int, *, root: bool) -> Term:
    given, target = call.given(0, "input"), call.given(1, "target")
    reduction = call.kwargs.get("reduction", "mean")
    size = given.numel() if isinstance(given, Tensor) else 1
    if kind == "cross-entropy" and isinstance(target, Tensor) and reduction == "sum":
        ignored = call.kwargs.get("ignore_index", -100)
        size = target.numel() if not target.is_floating_point() else size // max(given.shape[_axis(given)], 1)
        if not target.is_floating_point():
            size = int((target != ignored).sum())
    result = call.result.detach()
    mean = float(result if result.numel() == 1 else result.mean()) / (size if reduction == "sum" and size else 1)
    scale = {"sum": weight * size, "none": weight * count}.get(reduction, weight)
    if not isinstance(given, Tensor) or not isinstance(target, Tensor) or call.name in OTHERS:
        return Term(kind, scale, value=mean, root=root)
    if target.requires_grad:
        return Term("distance", scale, value=mean, root=root)
    names = ("weight", "pos_weight", "label_smoothing", "ignore_index", "beta", "delta", "log_target")
    options = {name: call.kwargs[name] for name in names if name in call.kwargs}
    return Term(kind, scale, given, target, {**options, "axis": _axis(given)}, mean, root)


def _saved(kind: str, node: Node, weight: float, count: int, *, root: bool) -> Term:
    given, target = getattr(node, "_saved_self", None), getattr(node, "_saved_target", None)
    reduction = {0: "none", 2: "sum"}.get(getattr(node, "_saved_reduction", 1), "mean")
    if not isinstance(given, Tensor) or not isinstance(target, Tensor):
        return Term(kind, nan, root=root)
    size = target.numel()
    if kind == "cross-entropy":
        size = int((target != signed(node._saved_ignore_index)).sum())  # noqa: SLF001
    kept = {name: getattr(node, f"_saved_{name}", None) for name in ("weight", "pos_weight", "beta", "delta")}
    options = {name: value for name, value in kept.items() if value is not None}
    scale = {"sum": weight * size, "none": weight * count}.get(reduction, weight)
    return Term(kind, scale, given, target, {**options, "axis": _axis(given)}, nan, root)


def _axis(given: Tensor) -> int:
    """The axis of the classes: the second axis, or the only one."""
    return 1 if given.ndim > 1 else 0


def _size(node: Node) -> int:
    return prod(int(each) for each in getattr(node, "_saved_self_sym_sizes", ()))
