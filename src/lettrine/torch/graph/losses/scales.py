"""By what a loss is multiplied between what it is made of and what `backward` is called on."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite, nan, prod
from typing import Final

from torch import Tensor

from lettrine.torch.graph.losses.written import VIEWS, inputs_of, other
from lettrine.torch.graph.reading import Node, operation

_MOST: Final = 8  # operations at the end of a loss
_ALIKE: Final = 0.02  # relative difference up to which two factors are the same


def factor_of(node: Node, name: str) -> float:
    """The number by which a product ("Mul") or quotient ("Div") scales its input; NaN if it is not a single number."""
    value = getattr(node, "_saved_other", None) if name == "Div" or len(node.next_functions) < 2 else other(node)
    if isinstance(value, Tensor):
        value = float(value) if value.numel() == 1 and len(inputs_of(node)) == 1 else nan
    if not isinstance(value, int | float):
        return nan
    return float(value) if name == "Mul" else 1 / value if value else nan


def last_factors(node: Node | None) -> tuple[float, ...]:
    """The numbers by which a loss was multiplied last, such as 1/4 for `loss / 4`."""
    return tuple(_last_factors(node))


def _last_factors(node: Node | None) -> Iterator[float]:
    for _ in range(_MOST):
        name = "" if node is None else operation(node)
        if name in ("Mul", "Div") and isfinite(factor := factor_of(node, name)):
            yield factor
        elif name not in VIEWS:
            return
        node = next(iter(inputs_of(node)), None)


def is_share(factors: tuple[float, ...], weight: float, parts: int) -> bool:
    """Whether a loss is only its share of a step of so many parts: it was divided by their number, or it is that share of the
    mean of its only term. factors: `last_factors`. weight: the loss divided by that mean, NaN if unknown.
    """
    return parts > 1 and any(abs(each * parts - 1) <= _ALIKE for each in (*factors, weight))


def is_mean(factors: tuple[float, ...], weight: float, parts: int) -> bool:
    """Whether a loss is a whole one, and the step adds up those of its parts: a mean, or something that nothing divides. A sum
    that is divided by the number of examples of all parts together is none.
    """
    if is_share(factors, weight, parts):
        return False
    product = prod(factors)
    return abs(weight / product - 1) <= _ALIKE if isfinite(weight) and product else not factors
