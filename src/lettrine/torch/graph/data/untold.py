"""Evidence "untold": noise is mixed into each row by an amount of its own, and the network is told one and the same amount, or
none.

What the network is given was made in the step as a sum of products, in one of which random numbers are multiplied by a number for
each row. Beside it the network gets one number for each row, or a single one, and this is the same at all looks; or nothing.

where: the root. figures: "looks" with such an input, "constant" of them with one value for all rows, "value" of it; "low",
"high": least and largest amount of the noise; "alone": 1 if the network got nothing but the mixture at all looks, while what was
mixed with the noise was scaled row by row, too; "gain": the share by which its squared error falls, at the later half of these
looks, if the answers of each quarter of the rows, from little noise to much, are multiplied by the number that is best for that
quarter, beyond the best number for all: 0 where the mixture itself shows how much noise there is; NaN without a squared error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import inf, nan
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.functions import FunctionCall
from lettrine.torch.capture.looks import Look, RootCall, reader
from lettrine.torch.graph.losses.comparisons import comparisons, readable
from lettrine.torch.graph.memory import tensors_within

_SUMS: Final = frozenset("add __add__ __radd__ sub __sub__".split())  # noqa: SIM905
_PRODUCTS: Final = frozenset("mul multiply __mul__ __rmul__".split())  # noqa: SIM905
_DRAWS: Final = frozenset(("randn_like", "randn", "normal"))
_ROWS: Final = 8  # of a batch
_PARTS: Final = 4  # of the rows, by their noise

Array = NDArray[Any]


@reader
class Untold:
    """Follows what the network is given back to the noise in it."""

    def __init__(self) -> None:
        self._alone: list[Array] = []  # (B, 4) of a look: amount, answer * target, answer squared, target squared
        self._seen_alone = True
        self._values: set[float] = set()
        self._looks = self._constant = 0
        self._low, self._high = inf, -inf
        self._name, self._steps = "", [0, 0]

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        for root in look.roots[:1] if look.earlier else ():
            amounts = _amounts(root, look.earlier)
            if amounts is None:
                continue
            self._steps = [self._steps[0] if self._looks else look.step, look.step]
            self._looks, self._name = self._looks + 1, root.name
            value = _told(root, len(amounts), amounts)
            self._seen_alone &= _alone(root, look)
            self._alone += _products(look, amounts) if self._seen_alone else []
            self._constant += value is not None
            self._values |= set() if value is None else {value}
            self._low, self._high = min(self._low, float(amounts.min())), max(self._high, float(amounts.max()))
        return ()

    def finish(self) -> Iterator[Evidence]:
        """What all looks showed."""
        if self._looks:
            value = next(iter(self._values)) if len(self._values) == 1 else nan
            figures = {"looks": self._looks, "constant": self._constant, "value": value, "low": self._low, "high": self._high}
            figures |= {"alone": self._seen_alone, "gain": _gain(self._alone[len(self._alone) // 2 :])}
            yield Evidence(
                "untold", (self._name,), (self._steps[0], self._steps[1]), {name: float(each) for name, each in figures.items()}
            )


def _amounts(root: RootCall, calls: Iterable[FunctionCall]) -> Tensor | None:
    """(B,) by how much noise is multiplied in each row of what a root is given; None if that is not seen to differ."""
    made = {id(call.result): call for call in calls if isinstance(call.result, Tensor)}
    given = next((each for each in root.inputs if each.is_floating_point() and each.ndim > 1 and not each.requires_grad), None)
    added = None if given is None else made.get(id(given))
    if given is None or added is None or added.name not in _SUMS or len(given) < _ROWS:
        return None
    for part in added.args:
        product = made.get(id(part))
        if product is None or product.name not in _PRODUCTS:
            continue
        pair = [each for each in product.args if isinstance(each, Tensor)]
        drawn = [each for each in pair if id(each) in made and made[id(each)].name in _DRAWS]
        factors = [each for each in pair if each.numel() == len(given) and readable(each)]
        if drawn and factors and len(torch.unique(factors[0])) >= _ROWS // 2:
            return factors[0].detach().reshape(-1)
    return None


def _alone(root: RootCall, look: Look) -> bool:
    """Whether a root gets the mixture alone, both parts of which are scaled row by row, and no function in it is given anything
    else of the rows that was made before.
    """
    tensors = [each for each in tensors_within([root.args, root.kwargs]) if each.numel()]
    numbers = [each for each in (*root.args, *root.kwargs.values()) if isinstance(each, int | float) and each not in (0, 1)]
    if len(tensors) != 1 or numbers:
        return False
    made = {id(call.result): call for call in look.earlier if isinstance(call.result, Tensor)}
    for part in made[id(tensors[0])].args:
        product = made.get(id(part))
        if product is None or product.name not in _PRODUCTS:
            return False
        scales = [each for each in tensors_within(product.args) if each.numel() == len(tensors[0])]
        if not any(readable(each) and len(torch.unique(each)) >= _ROWS // 2 for each in scales):
            return False
    before = {id(each) for call in look.earlier for each in (*tensors_within(call.args), *tensors_within(call.result))}
    functions = [call.args for call in look.calls if call.root >= 0]
    inside = tensors_within([*functions, *(call.args for call in look.modules)])
    return not any(id(each) in before and each.numel() == len(tensors[0]) for each in inside)


def _products(look: Look, amounts: Tensor) -> list[Array]:
    """For each row the amount of noise, and the sums of answer * target, answer squared and target squared."""
    for each in look.once(comparisons):
        if each.expects == "squared" and each.prediction.shape == each.target.shape and len(each.target) == len(amounts):
            said, asked = (value.detach().reshape(len(amounts), -1).cpu().double() for value in (each.prediction, each.target))
            sums = [amounts.cpu().double(), (said * asked).sum(1), said.square().sum(1), asked.square().sum(1)]
            return [torch.stack(sums, 1).numpy()]
    return []


def _gain(looks: list[Array]) -> float:
    if not looks:
        return nan
    rows = np.concatenate(looks)
    rows = rows[rows[:, 0].argsort()]

    def left(part: Array) -> float:
        _, both, said, asked = part.sum(axis=0)
        return float(asked - both**2 / said) if said > 0 else float(asked)

    whole = left(rows)
    return 1 - sum(map(left, np.array_split(rows, _PARTS))) / whole if whole > 0 else nan


def _told(root: RootCall, rows: int, amounts: Tensor) -> float | None:
    """The one number that the network is told for all rows; None if it is told none, or something that may tell the amounts."""
    single: list[float] = []
    for each in (*root.args, *root.kwargs.values()):
        if isinstance(each, int | float) and not isinstance(each, bool):
            single.append(float(each))
        elif isinstance(each, Tensor) and each.numel() in (1, rows):
            if not readable(each):
                return None
            values = each.detach().reshape(-1)
            if bool((values == values[0]).all()):
                single.append(float(values[0]))
            elif not _apart(values, amounts):
                return None
        elif not _first(root, each):
            return None  # something wide, which may hold the amounts
    return single[0] if len(single) == 1 else None


def _first(root: RootCall, each: Any) -> bool:
    """Whether this is what the noise was mixed into, or nothing."""
    return each is None or isinstance(each, bool) or (bool(root.inputs) and each is root.inputs[0])


def _apart(values: Tensor, amounts: Tensor) -> bool:
    """Whether rows with the same value have different amounts: it says something else about them."""
    return any(len(torch.unique(amounts[values == each])) > 1 for each in torch.unique(values))
