"""Evidence "wrong direction": a loss that the steps make smaller is a measure of how good the answers are.

words: what ("overlap", "cosine", "log-likelihood"; of a policy "entropy", or "error" where a squared or absolute error beside its
loss is made larger); with ("" where it is the whole loss, else the name of the loss beside it, which has the same targets and
pulls the other way). figures: "looks" at which it was so, "all" of them, of a policy those at its own losses; "first", "last":
the measure at these looks.

The graph is followed from the loss through operations that only rise or only fall with their input, with the sign that this
gives. It ends at a quotient that is an overlap of answers with targets of 0 and 1 (dice, jaccard), at a cosine between answers
and data, or at a squared error that is divided by a spread (a normal log-likelihood). An overlap divides by the size of the
targets as well: a rate of false alarms, which should fall, does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import torch
from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.functions import FunctionCall
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.losses.comparisons import readable
from lettrine.torch.graph.losses.fixed_head import fixed_head
from lettrine.torch.graph.losses.overlaps import PRODUCTS, SUMS, answers_of, leads
from lettrine.torch.graph.losses.squares import error_at, squared
from lettrine.torch.graph.losses.written import inputs_of, other
from lettrine.torch.graph.reading import VIEWS, Node, operation
from lettrine.torch.graph.rivals.acting import acts
from lettrine.torch.graph.rivals.opponents import bootstrapped, judges
from lettrine.torch.graph.walks import leaves, walk
from lettrine.torch.private import saved

_KEEPING: Final = VIEWS | frozenset("Mean Sum Stack Cat Log Exp Sqrt Clamp ClampMin Relu".split())  # noqa: SIM905
_MOST: Final = 200  # operations followed
_OF_POLICIES: Final = ("entropy", "error")
_BESIDE: Final = ("binary_cross_entropy", "binary_cross_entropy_with_logits")
_TURNED: Final = ("neg", "__neg__", "mul", "__mul__", "__rmul__", "sub", "__rsub__", "rsub")
_NEARLY: Final = 0.99
_FACTORS: Final = (-0.5, -1.0, -2.0)  # of a formula; other numbers below 0 may be rewards
_UNSURE: Final = -0.5
_PART: Final = 0.25  # of the targets that an overlap's divisor counts, at least


@dataclass(frozen=True)
class _Measure:
    what: str
    value: float
    target: Tensor | None = None


_Found: TypeAlias = tuple[Node, float, _Measure | None]
"""An operation where the walk ended; 1 if the loss rises with it, -1 if it falls, less where the sign may be that of a reward;
and what it measures."""


@reader
class Directions:
    """Which way each step moves the measures that are known."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], list[tuple[int, float]]] = {}
        self._all = self._acting = 0

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        loss = look.loss
        if loss is None or loss.grad_fn is None or loss.numel() > 1:
            return ()
        self._all += 1
        built = any(group.get("maximize", False) for each in look.optimisers for group in each.param_groups)
        if built or look.turned <= 0:
            return ()
        if not judges(look) and _trained(look):
            for measure, beside in _wrong(look, loss):
                self._found.setdefault((measure.what, beside), []).append((look.step, measure.value))
            self._acting += look.once(acts)
        return ()

    def finish(self) -> Iterator[Evidence]:
        """What was measured the wrong way round."""
        for (what, beside), values in self._found.items():
            (first, start), (last, end) = values[0], values[-1]
            every = self._acting if what in _OF_POLICIES else self._all
            figures = {"looks": float(len(values)), "all": float(every), "first": start, "last": end}
            yield Evidence("wrong direction", (), (first, last), figures, {"what": what, "with": beside})


def _trained(look: Look) -> bool:
    """Whether the parameters nearest to the loss are the model's and are trained: an attack on a network lowers it on purpose."""
    if look.once(fixed_head):
        return False
    nearest = next(iter(leaves(look.nodes)), None)
    return id(nearest) in look.parameters and (id(nearest) in look.held or not look.held)


def _wrong(look: Look, loss: Tensor) -> list[tuple[_Measure, str]]:
    """A measure that this loss makes smaller, and the loss beside it, if these are all that it is made of. The entropy of a
    policy may be one part of many.
    """
    noted = {call.result.grad_fn: call for call in look.outside if isinstance(call.result, Tensor) and call.result.grad_fn}
    policy = look.once(acts)
    found: list[_Found] = []
    waiting, seen = [(loss.grad_fn, 1.0)], 0
    while waiting:
        node, sign = waiting.pop(0)
        seen += 1
        measure = _overlap(node, noted) or _cosine(look, noted, node) or (_entropy(node) if policy else None)
        if measure is None and seen < _MOST and (inner := rises_with(node, sign)) is not None:
            waiting += inner
        else:
            found.append((node, sign, measure))
    entropies = [(measure, "") for _, sign, measure in found if measure is not None and measure.what == "entropy" and sign < 0]
    return [*entropies[:1], *_errors(look, noted, found)[:1]] or _alone(found, noted) or _density(loss, found)


def _alone(found: list[_Found], noted: Mapping[Node, FunctionCall]) -> list[tuple[_Measure, str]]:
    """An overlap or a cosine, if there is nothing else but a loss with the same targets."""
    measures = [measure for _, sign, measure in found if measure is not None and measure.what != "entropy" and sign == 1]
    if not measures or len({each.what for each in measures}) > 1:
        return []
    if len(measures) == len(found):
        return [(measures[0], "")]
    beside = [_same_targets(noted.get(node), sign, measures[0]) for node, sign, measure in found if measure is None]
    alone = len(beside) == 1 and len(measures) + 1 == len(found)
    return [(measures[0], beside[0])] if alone and beside[0] else []


def rises_with(node: Node, sign: float) -> list[tuple[Node, float]] | None:  # noqa: PLR0911
    """What an operation rises or falls with; None if that is not known."""
    name, inputs = operation(node), inputs_of(node)
    if not inputs:
        return None
    if name in _KEEPING:
        return [(each, sign) for each in inputs]
    if name == "Neg" or (name == "Rsub" and len(inputs) == 1):
        return [(inputs[0], -sign)]
    if name in ("Add", "Sub"):
        factor = _sign_of(float(saved(node, "alpha") or 1.0)) * (-1.0 if name == "Sub" else 1.0)
        signs = (sign, sign * factor)
        return [(each, signs[place]) for place, (each, _) in enumerate(node.next_functions) if each is not None]
    if name == "Pow" and (saved(node, "exponent") or 0) > 0:
        base = saved(node, "self")
        return [(inputs[0], sign)] if isinstance(base, Tensor) and bool((base >= 0).all()) else None
    if name in ("Mul", "Div") and len(inputs) == 1:
        way = _sign_of(saved(node, "other") if name == "Div" else other(node))
        return [(inputs[0], sign * way)] if way else None
    if name == "Div" and node.next_functions[0][0] is not None and _sign_of(saved(node, "other")) > 0:
        return [(node.next_functions[0][0], sign)]  # by a spread
    return None


def _sign_of(value: Any) -> float:
    """1 for numbers above 0, -1 for the factor of a formula that is below 0, _UNSURE for another number below 0; otherwise 0."""
    if isinstance(value, Tensor) and readable(value):
        if bool((value > 0).all()):
            return 1.0
        value = float(value) if value.numel() == 1 else 0.0
    if not isinstance(value, int | float) or not value < 0:
        return float(isinstance(value, int | float) and value > 0)
    return -1.0 if value in _FACTORS else _UNSURE


def _overlap(node: Node, noted: Mapping[Node, FunctionCall]) -> _Measure | None:
    """The quotient, if it is an overlap."""
    if operation(node) != "Div" or len(inputs_of(node)) != 2:
        return None
    above, below = (each for each, _ in node.next_functions)
    divisor, top = saved(node, "other"), saved(node, "self")
    for product in walk([above], _MOST):
        pair = answers_of(noted[product]) if product in noted else None
        if pair is None or not leads(below, pair[0].grad_fn, SUMS | {"Pow"}) or not _only_rises(above, product):
            continue
        answers, targets = pair[0].detach(), pair[1]
        least = answers.sum() + _PART * (targets.sum() - (answers * targets).sum())
        least = torch.minimum(least, answers.square().sum() + targets.sum())
        if (
            isinstance(divisor, Tensor)
            and isinstance(top, Tensor)
            and bool((answers >= 0).all())
            and divisor.sum() > _NEARLY * least
        ):
            return _Measure("overlap", float((top / divisor).mean()), targets)
    return None


def _only_rises(node: Node, goal: Node) -> bool:
    """Whether one operation rises with another, on every way between them."""
    waiting, met = [(node, 1.0)], False
    for _ in range(_MOST):
        if not waiting:
            break
        each, sign = waiting.pop()
        if each is goal:
            if sign < 0:
                return False
            met = True
        elif (inner := rises_with(each, sign)) is not None:
            waiting += inner
    return met


def _cosine(look: Look, noted: Mapping[Node, FunctionCall], node: Node) -> _Measure | None:
    """The cosine between answers and data: by its function, or as a sum of products of rows of length 1."""
    call = noted.get(node)
    if call is not None and call.name == "cosine_similarity":
        pair = [call.given(0, "x1"), call.given(1, "x2")]
    elif operation(node) == "Sum" and (call := noted.get(inputs_of(node)[0])) is not None and call.name in PRODUCTS:
        pair = [call.given(0, "input"), call.given(1, "other")]
        if not all(isinstance(each, Tensor) and each.ndim > 1 and _unit(each) for each in pair):
            return None
    else:
        return None
    data = next((each for each in pair if isinstance(each, Tensor) and not each.requires_grad), None)
    if data is None or all(each.requires_grad is False for each in pair) or bootstrapped(look, data):
        return None
    if any(call.result is data and call.name in _TURNED for call in look.outside):
        return None  # away from it is meant
    one, two = (each.detach().float() for each in pair)
    return _Measure("cosine", float(torch.nn.functional.cosine_similarity(one, two, dim=-1).mean()))


def _unit(rows: Tensor) -> bool:
    return bool(((rows.detach().float().norm(dim=-1) - 1).abs() < 1e-3).all())


def _entropy(node: Node) -> _Measure | None:
    """The sum of p log p of a softmax, which is minus its entropy: a product of shares with their own logarithm."""
    inputs = inputs_of(node)
    if operation(node) != "Mul" or len(inputs) != 2:
        return None
    for shares, logs in (inputs, inputs[::-1]):
        below = logs
        while operation(below) in ("Clamp", "ClampMin", "Add") and len(inputs_of(below)) == 1:
            below = inputs_of(below)[0]
        made = inputs_of(shares)[:1]
        same = operation(below) == "LogSoftmax" and inputs_of(below)[:1] == made  # softmax and log_softmax of the same
        normal = operation(below) == "Sub" and operation(inputs_of(below)[-1]) == "Logsumexp" and made == [below]
        back = operation(shares) == "Exp" and made == [below] and operation(below) == "LogSoftmax"
        of_log = operation(below) == "Log" and shares in walk(inputs_of(below), 4)
        if back or (operation(shares) == "Softmax" and (same or normal or of_log)):
            product = saved(node, "self") * saved(node, "other")
            return _Measure("entropy", -float(product.sum(-1).mean()))
    return None


def _errors(look: Look, noted: Mapping[Node, FunctionCall], found: list[_Found]) -> list[tuple[_Measure, str]]:
    """Errors of values that a policy's loss makes larger."""
    if not look.once(acts):
        return []
    return [
        (_Measure("error", apart), "")
        for node, sign, _ in found
        if sign == -1 and (apart := error_at(look, noted, node)) is not None
    ]


def _density(loss: Tensor, found: list[_Found]) -> list[tuple[_Measure, str]]:
    """A normal log-likelihood of data that the steps make smaller: its error and the logarithm of its spread both count
    against the loss.
    """
    errors = [node for node, _, _ in found if squared(node)]
    if not errors or any(sign != -1 for _, sign, _ in found):
        return []
    divisors = [
        following for each in walk([loss.grad_fn], _MOST) if operation(each) == "Div" for following in inputs_of(each)[1:]
    ]
    spreads = set(walk(divisors, 10 * _MOST))
    if any(node not in spreads for node, _, _ in found if node not in errors):
        return []
    return [(_Measure("log-likelihood", float(loss.detach())), "")]


def _same_targets(call: FunctionCall | None, sign: float, measure: _Measure) -> str:
    """The name of a loss that has the same targets."""
    if call is None or call.name not in _BESIDE or sign != 1 or measure.target is None:
        return ""
    target = call.given(1, "target")
    same = isinstance(target, Tensor) and target.numel() == measure.target.numel()
    return call.name if same and torch.equal(target.reshape(-1).to(measure.target), measure.target.reshape(-1)) else ""
