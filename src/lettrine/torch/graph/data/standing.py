"""Evidence "standing input": one of several inputs is the same batch at all looks, while the others and the targets change.

Its rows differ, in no order, and neither the other inputs nor the targets have to do with it: what it says belongs to other rows.
So do conditions of which the loader is begun anew in each step, or that were read once, before the loop.

where: the root. figures: "looks", of different batches; "rows" of one; "different" rows among them; "input": its place among the
inputs; "chosen": 1 if it was chosen anew from what holds more (another tensor at each look, or a part of a larger one; not where
each row differs, as of noise, and it is but a part); "again": examples that were seen again beside another row of it; "told": by
how many standard deviations the rest is more alike in rows of the same condition, or at the same place, than among rows by
chance, at most; "scatter": Fisher's F of the batches, as in `inputs`, the larger one of the rest and the targets.

Inputs that stand still for a reason are told apart: rows that are places of one thing (stations, nodes, points of a grid) are
like themselves from step to step, or a step moves them all together; a table of all cases or a grid is in order; random numbers
that a generator turns into pictures are drawn in the step.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from math import inf, nan
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, RootCall, reader
from lettrine.torch.graph.data.batches import mark, scatter
from lettrine.torch.graph.data.telling import flat, from_chance, standard
from lettrine.torch.graph.losses.comparisons import comparisons, readable
from lettrine.torch.private import viewed

_ROWS: Final = 16  # of a batch, or more
_MOST: Final = 2**18  # numbers of an input that are compared
_LOOKS: Final = 16  # looks kept
_FEWEST: Final = 3  # looks, before the rest is compared
_TYPES: Final = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32)
_DRAWS: Final = frozenset(("randn_like", "randn", "normal", "rand", "rand_like"))
_COLUMNS: Final = 12  # numbers that a row is brought down to
_PERMUTATIONS: Final = 24

Array = NDArray[Any]


@dataclass
class _Standing:
    """An input that was the same at all looks. first: a copy; groups: (R,) the number of its row, the same for equal rows."""

    first: Tensor
    groups: Array
    part: bool  # of a larger tensor
    last: weakref.ref[Tensor]
    remade: bool = True  # another tensor at each look
    met: dict[bytes, int] = field(default_factory=dict)  # by example: the row that it was seen beside
    again: int = 0


@dataclass
class _Inputs:
    steps: list[int] = field(default_factory=list)
    standing: dict[int, _Standing] = field(default_factory=dict)  # by place
    marks: set[int] = field(default_factory=set)
    apart: bool = True  # whether no example was twice in a batch
    rest: list[Array] = field(default_factory=list)
    targets: list[Array] = field(default_factory=list)


@reader
class StandingInputs:
    """Compares each input with itself at the first look."""

    def __init__(self) -> None:
        self._seen: dict[str, _Inputs] = {}

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        if look.place or len({root.name for root in look.roots}) != len(look.roots):
            return ()
        for root in look.roots:
            seen = self._seen.get(root.name)
            if seen is None:
                self._seen[root.name] = seen = _Inputs(standing=_candidates(root))
            else:
                seen.standing = {place: each for place, each in seen.standing.items() if _same(root, place, each)}
            if seen.standing and len(seen.rest) < _LOOKS:
                _take(seen, root, look)
        return ()

    def finish(self) -> Iterator[Evidence]:
        """What stood still at all looks."""
        for name, seen in self._seen.items():
            for place, each in seen.standing.items() if len(seen.rest) >= _FEWEST else ():
                different = len(np.unique(each.groups))
                figures = {
                    "looks": len(seen.rest),
                    "rows": len(each.first),
                    "different": different,
                    "input": place,
                    "chosen": each.remade or (each.part and different < len(each.groups)),
                    "again": each.again if seen.apart and different < len(each.groups) else 0,
                    "told": _told(seen, each.groups),
                    "scatter": float(np.nanmax([scatter(seen.rest), scatter(seen.targets), -inf])),
                }
                yield Evidence(
                    "standing input",
                    (name,),
                    (seen.steps[0], seen.steps[-1]),
                    {key: float(value) for key, value in figures.items()},
                )


def _candidates(root: RootCall) -> dict[int, _Standing]:
    """The inputs whose rows differ without an order, if there are others with as many rows; copied, as they may be written to."""
    found = {}
    for place, each in enumerate(root.inputs):
        beside = any(other is not each and other.ndim and len(other) == len(each) for other in root.inputs if each.ndim)
        if beside and _condition(each) and not _ordered(flat(each, len(each))):
            whole = viewed(each)
            part = whole is not None and whole.numel() > each.numel()
            found[place] = _Standing(each.detach().clone(), _groups(each), part, weakref.ref(each))
    return found


def _condition(each: Tensor) -> bool:
    """Whether this may tell something of each row: no mask, no state, and no square of all rows with all."""
    if each.dtype not in _TYPES or each.requires_grad or not readable(each) or len(each) < _ROWS or each.numel() > _MOST:
        return False
    marks = each.ndim > 1 and each[0].numel() > 1 and len(torch.unique(each)) <= 2
    return not marks and tuple(each.shape[-2:]) != (len(each),) * 2


def _ordered(rows: Array) -> bool:
    """Whether each column is sorted, or comes again in a period, as in a grid, a list of numbers or a table of all cases."""
    return all(map(_in_order, rows.T[:: max(1, rows.shape[1] // _COLUMNS)]))


def _in_order(column: Array) -> bool:
    steps = np.diff(column)
    if (steps >= 0).all() or (steps <= 0).all():
        return True
    return any((column[period:] == column[:-period]).all() for period in range(1, len(column) // 2 + 1))


def _same(root: RootCall, place: int, each: _Standing) -> bool:
    given, first = root.inputs[place] if place < len(root.inputs) else None, each.first
    if given is None or (given.shape, given.dtype, given.device) != (first.shape, first.dtype, first.device):
        return False
    each.remade &= each.last() is not given and not each.part and given.device.type == "cpu"  # a copy to a device is made anew
    each.last = weakref.ref(given)
    return torch.equal(given, first)


def _take(seen: _Inputs, root: RootCall, look: Look) -> None:
    """Keep the rest of the inputs and the targets, where all of them are new."""
    rows = len(next(iter(seen.standing.values())).first)
    others = [
        each
        for place, each in enumerate(root.inputs)
        if place not in seen.standing and each.ndim and len(each) == rows and readable(each)
    ]
    drawn = {id(call.result) for call in (*look.earlier, *look.outside) if call.name in _DRAWS}
    data = [each for each in others if not each.requires_grad and id(each) not in drawn]
    wide = max(data, key=lambda each: each[0].numel(), default=None)
    asked = next((each.target for each in look.once(comparisons) if each.target.ndim and len(each.target) == rows), None)
    if wide is None or asked is None or mark(wide) in seen.marks or not bool((asked != asked.reshape(-1)[0]).any()):
        return
    seen.marks.add(mark(wide))
    seen.steps.append(look.step)
    seen.rest.append(_brought_down(wide))
    seen.targets.append(_brought_down(asked))
    examples = [row.tobytes() for row in np.hstack([flat(wide, rows), flat(asked, rows)])]
    seen.apart &= len(set(examples)) == len(examples)
    for each in seen.standing.values():
        for example, group in zip(examples, each.groups.tolist(), strict=True):
            each.again += each.met.setdefault(example, group) != group


def _brought_down(given: Tensor) -> Array:
    """(R, at most _COLUMNS) of each row its numbers, mixed at random if there are more; class numbers as columns of 0 and 1."""
    rows = flat(given)
    if not given.is_floating_point() and rows.shape[1] == 1:
        return np.asarray((rows.astype(int) % _COLUMNS == np.arange(_COLUMNS)).astype(np.float64))
    if rows.shape[1] <= _COLUMNS:
        return rows
    return np.asarray(rows @ np.random.default_rng(0).normal(size=(rows.shape[1], _COLUMNS)))


def _groups(first: Tensor) -> Array:
    """(R,) a number for each row, the same for equal rows."""
    return np.asarray(np.unique(flat(first, len(first)), axis=0, return_inverse=True)[1]).reshape(-1)


def _told(seen: _Inputs, groups: Array) -> float:
    """How much more alike than by chance the rest, the targets and both together are for one condition, or at one place."""
    kept = [
        (a, b)
        for a, b in zip(seen.rest, seen.targets, strict=True)
        if (a.shape, b.shape) == (seen.rest[0].shape, seen.targets[0].shape)
    ]
    if len(kept) < _FEWEST or not all(np.isfinite(a).all() and np.isfinite(b).all() for a, b in kept):
        return nan
    rest, asked = (standard(np.concatenate(each)) for each in zip(*kept, strict=True))
    both = (rest[:, :, None] * asked[:, None, :]).reshape(len(rest), -1)
    tables = [standard(each) for each in (rest, asked, both, rest**2, asked**2)]
    rows = len(kept[0][0])
    numbers = [np.tile(each, len(kept)) for each in (groups[:rows], np.arange(rows))]
    orders = _orders(len(kept), rows)
    far = [from_chance(_alike(table, each), orders) for table in tables for each in numbers if len(np.unique(each)) > 1]
    return float(np.nanmax([*far, -inf]))


def _orders(looks: int, rows: int) -> list[Array]:
    """Permutations of the rows within each look."""
    generator = np.random.default_rng(0)
    return [np.concatenate([rows * at + generator.permutation(rows) for at in range(looks)]) for _ in range(_PERMUTATIONS)]


def _alike(table: Array, numbers: Array) -> Callable[[Array], float]:
    """The squares of the means of all groups, summed up: larger where rows of a group are alike."""
    counts = np.bincount(numbers)

    def measure(order: Array) -> float:
        sums = np.zeros((len(counts), table.shape[1]))
        np.add.at(sums, numbers[order], table)
        return float((sums**2 / counts[:, None]).sum())

    return measure
