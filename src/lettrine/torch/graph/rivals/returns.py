"""Evidence "returns": weights of log-probabilities, one for each step of an episode, that are a discounted sum of the rewards
before a step, instead of those after it.

figures: "looks" with weights that follow the rule of a discounted sum; "forwards", those of them that follow it from the first
step to the last; "steps" of the last such episode; "discount".

A return is g[t] = r[t] + discount * g[t + 1]. Where rewards are alike, the differences of returns shrink by the discount from
each step to the step before it; of a sum that runs forwards, from each step to the next. That holds after the returns are
standardised as well. The order of the steps in time is that in which the log-probabilities were made.

Weights discount**t that fall, and those below 0, are left out: a return may be multiplied by discount**t on purpose.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from math import isfinite, nan
from typing import Final

import numpy as np
from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.devices import double
from lettrine.torch.graph.losses.comparisons import readable
from lettrine.torch.graph.losses.written import inputs_of, other
from lettrine.torch.graph.reading import VIEWS, Node, operation
from lettrine.torch.graph.rivals.advantages import picks
from lettrine.torch.graph.walks import walk
from lettrine.torch.private import saved, sequence_number

_JOINS: Final = ("Stack", "Cat")
_LEAST: Final = 8  # steps of an episode
_NEAR: Final = 64  # operations of a loss above its steps
_PASSED: Final = 4  # operations between a join and a product
_EXACT: Final = 2e-3  # relative: of numbers that float32 holds, and of their differences
_ALIKE: Final = 0.8  # of the ratios are the same: some rewards may differ
_DISCOUNTS: Final = (0.5, 0.9995)  # between them forwards and backwards cannot be confused


@reader
class Returns:
    """Reads the weights of policies' losses."""

    def __init__(self) -> None:
        self._steps: list[int] = []
        self._forwards = 0
        self._length, self._discount = 0, nan

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        if look.loss is None:
            return ()
        for node in walk([look.loss.grad_fn], _NEAR):
            weights = _weights(node)
            ratio = nan if weights is None else _ratio(weights)
            if weights is not None and isfinite(ratio):
                self._steps.append(look.step)
                forwards = ratio < 1 and weights[-1] > weights[0] and weights[-1] > 0
                self._forwards += bool(forwards)
                self._length, self._discount = len(weights), min(ratio, 1 / ratio)
                break
        return ()

    def finish(self) -> Iterator[Evidence]:
        """What the looks showed."""
        if self._steps:
            figures = {"looks": len(self._steps), "forwards": self._forwards, "steps": self._length, "discount": self._discount}
            told = {name: float(value) for name, value in figures.items()}
            yield Evidence("returns", (), (self._steps[0], self._steps[-1]), told)


def _weights(node: Node) -> np.ndarray | None:
    """The weights of the steps of an episode, in the order of time, if this joins or weighs their log-probabilities."""
    name = operation(node)
    if name in _JOINS:
        return _one_by_one(list(inputs_of(node)))
    if name != "Mul":
        return None
    join: Node | None = next(iter(inputs_of(node)), None)
    for _ in range(_PASSED):
        if join is None or operation(join) in _JOINS:
            break
        join = next(iter(inputs_of(join)), None) if operation(join) in VIEWS | {"Neg"} else None
    if join is None or operation(join) not in _JOINS:
        return None
    factor, steps = other(node), inputs_of(join)  # what a checkpointed block saved is not to be asked for: it would run once more
    if factor is None or not readable(factor):
        return None
    ordered = len(steps) == factor.numel() >= _LEAST and _in_time(steps) and picks(steps[0])
    return double(factor.detach()).reshape(-1).cpu().numpy() if ordered else None


def _one_by_one(steps: list[Node]) -> np.ndarray | None:
    """The same where each log-probability was weighted before all were joined."""
    first = next(iter(inputs_of(steps[0])), None) if len(steps) >= _LEAST and _in_time(steps) else None
    if first is None or not picks(first):
        return None
    weights = []
    for step in steps:
        product: Node | None = step
        for _ in range(_PASSED):
            if product is None or operation(product) == "Mul":
                break
            product = next(iter(inputs_of(product)), None) if operation(product) in VIEWS | {"Neg"} else None
        factor = None if product is None or operation(product) != "Mul" else saved(product, "other")
        if isinstance(factor, Tensor) and factor.numel() == 1:
            factor = float(factor)
        if not isinstance(factor, int | float):
            return None
        weights.append(float(factor))
    return np.array(weights)


def _in_time(steps: list[Node]) -> bool:
    numbers = list(map(sequence_number, steps))
    return all(one is not None and other is not None and one < other for one, other in pairwise(numbers))


def _ratio(weights: np.ndarray) -> float:
    """The ratio of each difference to the one before it, if it is the same almost everywhere and that of a discount."""
    jumps = np.diff(weights)
    seen = np.abs(jumps[:-1]) > _EXACT * max(float(np.abs(weights).max()), 1e-12) * _EXACT
    if seen.sum() < _LEAST - 2:
        return nan
    ratios = jumps[1:][seen] / jumps[:-1][seen]
    middle = float(np.median(ratios))
    alike = np.abs(ratios - middle) <= _EXACT * abs(middle)
    discount = min(middle, 1 / middle) if middle > 0 else 0.0
    return middle if alike.mean() >= _ALIKE and _DISCOUNTS[0] <= discount <= _DISCOUNTS[1] else nan
