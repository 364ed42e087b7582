"""Evidence "log scale": the logarithm of a scale is added to the loss with the sign that pays for shrinking.

where: (). figures: "looks" that showed it; "all" looks with a loss; "first", "middle" and "last": mean logarithm of the factors,
at those looks.

Where values are multiplied by exp(s), as in a flow or in a sample of a distribution, a likelihood subtracts s from the loss: it
is paid for what gets wider. Where they are divided by it, as the errors of a prediction are, it adds s. With the other sign the
loss is smaller the smaller all values are, and has no end. The signs are read from the graph, where s reaches the loss through
sums and numbers alone; a loss whose examples are weighted, as that of a policy is, may ask for either.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isnan
from typing import Final, TypeAlias

from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.devices import double
from lettrine.torch.graph.losses.scales import factor_of
from lettrine.torch.graph.losses.written import VIEWS, inputs_of, mask, other
from lettrine.torch.graph.reading import Node, operation
from lettrine.torch.private import saved

_ADDING: Final = VIEWS | frozenset(("Mean", "Sum", "Add", "Cat", "Stack"))
_TURNED: Final = {"Sub": 1, "Neg": 0, "Rsub": 0}
"""Which of its inputs an operation takes away."""
_MOST: Final = 2_000  # places searched below the loss
_LEAST: Final = 1e-30  # of a factor, so that its logarithm is finite
_DEEP: Final = 8  # operations between an exponential and its logarithm

Place: TypeAlias = tuple[Node, int]
"""A result of an operation: its node and which of its results."""


@reader
class LogScales:
    """Compares the sign of a scale's logarithm in the loss with what the scale does."""

    def __init__(self) -> None:
        self._seen: list[tuple[int, float]] = []
        self._all = 0

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        if look.loss is None or look.loss.grad_fn is None:
            return ()
        self._all += 1
        powers = [node for node in look.nodes if operation(node) == "Exp"]
        weights = _weights((look.loss.grad_fn, 0)) if powers else {}
        users = _users(look.nodes) if weights else {}
        found = [factor for node in powers if (factor := _paid(node, weights, users)) is not None]
        if found:
            self._seen.append((look.step, sum(found) / len(found)))
        return ()

    def finish(self) -> Iterator[Evidence]:
        """The first, the middle and the last look."""
        if self._seen:
            (first, before), (_, between), (last, after) = self._seen[0], self._seen[len(self._seen) // 2], self._seen[-1]
            figures = {
                "looks": float(len(self._seen)),
                "all": float(self._all),
                "first": before,
                "middle": between,
                "last": after,
            }
            yield Evidence("log scale", (), (first, last), figures)


def _weights(start: Place) -> dict[Place, float]:
    """By what number each place is multiplied on its way to the loss, where sums and numbers alone lie between; {} if examples
    are weighted.
    """
    found: dict[Place, float] = {}
    waiting: list[tuple[Place, float]] = [(start, 1.0)]
    for _ in range(_MOST):
        if not waiting:
            break
        place, weight = waiting.pop()
        found[place] = found.get(place, 0.0) + weight
        name, node = operation(place[0]), place[0]
        following = [(each, weight) for each in node.next_functions]
        if name in _TURNED:
            following = [(each, -weight if number == _TURNED[name] else weight) for number, (each, _) in enumerate(following)]
        elif name in ("Mul", "Div"):
            factor, by = factor_of(node, name), other(node)
            if isnan(factor) and by is not None and not mask(by):
                if not bool((by == by.flatten()[0]).all()):
                    return {}
                factor = float(by.flatten()[0]) if name == "Mul" else 1 / float(by.flatten()[0])
            following = [] if isnan(factor) else [(each, weight * factor) for each, _ in following]
        elif name not in _ADDING:
            following = []
        waiting += [(each, weight) for each, weight in following if each[0] is not None]
    return found


def _paid(power: Node, weights: Mapping[Place, float], users: Mapping[Node, list[Node]]) -> float | None:
    """Mean logarithm of the factors that this exponential gives, if the loss pays for making them smaller; otherwise None."""
    result = saved(power, "result")
    if not isinstance(result, Tensor) or not (way := _way(power, users)):
        return None
    place, sign = power.next_functions[0], 1.0
    for _ in range(_DEEP):
        if place[0] is None:
            return None
        if weights.get(place, 0.0):
            paid = weights[place] * sign * way > 0
            return way * float(double(result.detach()).clamp(min=_LEAST).log().mean()) if paid else None
        name = operation(place[0])
        scaled = name in ("Mul", "Div")
        factor = factor_of(place[0], name) if scaled else -1.0 if name == "Neg" else 1.0 if name in VIEWS else 0.0
        if not factor or isnan(factor) or len(inputs_of(place[0])) != 1:
            return None
        sign, place = sign * factor, place[0].next_functions[0]
    return None


def _users(nodes: Sequence[Node]) -> dict[Node, list[Node]]:
    """Of each operation, those that take its result."""
    users: dict[Node, list[Node]] = {}
    for node in nodes:
        for each in inputs_of(node):
            users.setdefault(each, []).append(node)
    return users


def _way(power: Node, users: Mapping[Node, list[Node]]) -> int:
    """1 if other values are multiplied by an exponential, -1 if they are divided by it, 0 for neither."""
    ways = {_of_user(node, power) for node in users.get(power, ())}
    return ways.pop() if len(ways) == 1 else 0


def _of_user(node: Node, power: Node) -> int:
    name, places = operation(node), [each for each, _ in node.next_functions]
    if name == "Mul":
        return 1 if len(inputs_of(node)) == 2 or ((by := other(node)) is not None and by.numel() > 1) else 0
    return -1 if name == "Div" and len(places) > 1 and places[1] is power else 0
