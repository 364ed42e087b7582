"""Evidence "inputs": the batches that the model was fed at the steps looked at.

One for each root that takes floating-point numbers. For a root that takes integers: only whether its batches repeat.

where: the root's name.

figures, over all looks: "looks", "rows" (of one batch); "mean", "std", "low", "high" of all values; "feature_most",
    "feature_least": largest and smallest root mean square of a feature (of a channel, if there are more than two axes), but for
    columns that embeddings are asked for;
    "rescaled": share of looks in which the model itself first divides its input; "beside": share of looks in which it was given
    a second table of data with as many rows; "written": changes of the weights in place that were no steps of the optimiser, per
    step; NaN if not every step changes them as often; "pairs": looks at two optimiser steps in a
    row, "same": share of them with the same batch in another tensor, "held": in the very tensor, "distinct": different batches,
    "asked": different batches of targets among those kept; "period": number of steps after which the
    same batches came again in the same order; NaN if some look did not show it; "alike": share of looks in which all rows of
    the batch were equal; "empty": share of the rows kept that hold one value throughout; "empty_spread": variance of the
    targets of these / that of all (of classes: of their indicators); "grown": number of different rows in the last batches /
    in the first ones; it grows while a replay buffer fills; "told": how much better than chance inputs predict targets, in
    standard deviations over permuted targets; "closest": the same of the inputs closest to each other, below 0 if their
    targets are less alike than others; "near", "drawn": see `Likeness`; "compared": on how many examples,
    equal ones counted once; "taken": how many were kept; "columns": numbers in a target, or more than 1 where inputs
    are tokens; "copied": largest share of the targets that one column of the inputs, or the input at their own place, holds;
    "scatter": how many times more the batches differ from each other than chance allows, in their inputs or in their targets,
    whichever is less; NaN for targets that are classes. Told is of `telling`.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from math import nan
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, RootCall, reader
from lettrine.torch.graph.data.batches import MARK, mark, period, scatter
from lettrine.torch.graph.data.looked_up import looked_up
from lettrine.torch.graph.data.numbered import numbered
from lettrine.torch.graph.data.telling import ROWS, Copies, Likeness, flat, told
from lettrine.torch.graph.losses.comparisons import comparisons, readable
from lettrine.torch.private import version, viewed

_MOST: Final = 2**16  # numbers read of one batch
_ALL: Final = 1_024  # examples kept of all looks
_WIDE: Final = 256  # numbers kept of each example
_LONG: Final = 512  # tokens kept of each example
_SPREAD, _PLACE = 101, 37  # odd numbers that spread tokens and places over the columns of a hash
_MASK: Final = 2  # values in a mask
_ALIKE: Final = 4  # rows needed to say that all are equal
_WHOLE: Final = (torch.int64, torch.int32, torch.int16, torch.uint8)  # types of tokens; masks have others
_EMPTY: Final = 16  # numbers in a row, before one value throughout says anything

Array = NDArray[Any]


@dataclass
class _Seen:
    steps: list[int] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    kept: list[bool] = field(default_factory=list)  # whether the very tensor of the look before was given again
    last: weakref.ref[Tensor] | None = None
    moments: list[tuple[float, float, float, float, float, float]] = field(default_factory=list)
    ids: set[int] = field(default_factory=set)  # columns that embeddings are asked for
    versions: list[int] = field(default_factory=list)  # of the first weight that is trained, at each look
    rescaled: int = 0
    beside: int = 0
    alike: int = 0
    different: list[int] = field(default_factory=list)  # rows of each batch
    judged: int = 0
    rows: int = 0
    inputs: list[Array] = field(default_factory=list)
    targets: list[Array] = field(default_factory=list)
    classes: bool = True
    copies: Copies = field(default_factory=Copies)
    columns: int = 1  # numbers in a target; of tokens, numbers that tell of an input
    told: tuple[int, Likeness] = (0, Likeness(nan, nan, 0))  # by number of batches kept: a live page then computes it once
    numbered: dict[str, float] = field(default_factory=dict)  # computed with it


@reader
class Inputs:
    """Collects the inputs of roots."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look; `finish` makes the evidence."""
        done: set[str] = set()
        for root in look.roots:
            given = _table_of(root)
            tokens = _tokens_of(root) if given is None else None
            constant = _constant_of(root) if given is None and tokens is None else None
            if (given is None and tokens is None and constant is None) or root.name in done:
                continue
            done.add(root.name)
            seen = self._seen.setdefault(root.name, _Seen())
            if seen.steps and seen.steps[-1] == look.step:
                continue  # another micro-batch of the same step
            seen.steps.append(look.step)
            seen.marks.append(mark(tokens if given is None else given))
            seen.versions.append(next((version(each) for each in look.named.values() if each.requires_grad), 0))
            _note_same(seen, tokens if given is None else given)
            if tokens is not None and sum(map(len, seen.inputs)) < _ALL:
                _take_pairs(seen, tokens, look)
            if given is None:
                seen.rows = next((len(each) for each in (tokens, constant) if each is not None), 0)
                seen.judged += constant is not None
                seen.alike += constant is not None
                continue
            seen.different.append(_different(given))
            seen.beside += any(_data_beside(each, given) for each in root.inputs)
            seen.ids |= set(looked_up(given, ((call.module, call.args) for call in look.modules)))  # not all looks hold modules
            _take(seen, given)
            seen.rescaled += any(call.name in ("div", "__truediv__") and call.given(0, "input") is given for call in look.calls)
            if sum(map(len, seen.inputs)) < _ALL:
                _take_pairs(seen, given, look)
        return ()

    def finish(self) -> Iterable[Evidence]:
        """The evidence of all looks."""
        for name, seen in self._seen.items():
            yield Evidence("inputs", (name,), (seen.steps[0], seen.steps[-1]), _figures(seen))


def _table_of(root: RootCall) -> Tensor | None:
    """The first floating-point input of a root, one row for each example. An input with one value throughout is skipped: it is a
    mask or an empty state. So is a square matrix beside a table with as many rows: it tells which nodes of a graph are linked.
    """
    given = [each for each in root.inputs if each.is_floating_point() and each.ndim > 1 and not each.requires_grad]
    varied = [each for each in given if readable(each) and bool((each != each.reshape(-1)[0]).any())]
    rows = {each.shape[:-1] for each in varied if each.shape[-2] != each.shape[-1]}
    return next((each for each in varied if each.shape[-2] != each.shape[-1] or each.shape[:-1] not in rows), None)


def _data_beside(other: Tensor, given: Tensor) -> bool:
    """Whether another input is data for each row, too: the second of two pictures to be compared, a question about one, or the
    number of a task. A mask has two values.
    """
    asked = other.ndim > 1 or (other.ndim == 1 and other.dtype in _WHOLE)
    like = other is not given and asked and len(other) == len(given) > 1 and not other.requires_grad
    return like and readable(other) and len(torch.unique(other.detach().reshape(-1)[:_MOST])) > _MASK


def _constant_of(root: RootCall) -> Tensor | None:
    """The whole input of a root, if it has one value throughout."""
    only = root.inputs[0] if len(root.inputs) == 1 else None
    if only is None or not only.is_floating_point() or only.ndim < 2 or len(only) < _ALIKE or only.requires_grad:
        return None
    return only if readable(only) else None


def _different(given: Tensor) -> int:
    """How many rows of a batch differ from all rows before them."""
    rows = given.detach()[:_ALL].reshape(min(len(given), _ALL), -1)
    values = rows[:, :MARK].cpu().to(torch.float64).numpy() + 0.0  # -0.0 is 0.0
    return len({row.tobytes() for row in values})


def _tokens_of(root: RootCall) -> Tensor | None:
    """The first integer input of a root, one row for each example."""
    return next((each for each in root.inputs if each.dtype in _WHOLE and each.ndim > 1 and readable(each)), None)


def _note_same(seen: _Seen, given: Tensor | None) -> None:
    """Note whether the tensor, or one that holds the same values in another shape, was given at the look before: then it was held
    on purpose. A loader makes each batch anew, and so does a loop that cuts batches out of one large tensor.
    """
    base = None if given is None else viewed(given)
    whole = base if given is None or base is None or base.numel() == given.numel() else given
    seen.kept.append(whole is not None and seen.last is not None and seen.last() is whole)
    seen.last = None if whole is None else weakref.ref(whole)


def _take(seen: _Seen, given: Tensor) -> None:
    seen.rows = len(given)
    if len(given) >= _ALIKE:
        seen.judged += 1
        seen.alike += bool((given[1:] == given[:1]).all())
    table = given.detach().movedim(1, -1).reshape(-1, given.shape[1])  # (R, features)
    table = table[:: max(1, -(-table.numel() // _MOST))][:, :_MOST]
    table = table[:, [place for place in range(table.shape[1]) if place not in seen.ids]] if seen.ids else table
    values = table.cpu().to(torch.float64).numpy()
    finite = np.isfinite(values)
    values = values if finite.all() else values[finite.all(axis=1)]
    if values.size:
        sizes = np.sqrt(np.einsum("nf,nf->f", values, values) / len(values))
        known = sizes[sizes > 0] if (sizes > 0).any() else sizes
        seen.moments.append((values.mean(), values.var(), values.min(), values.max(), known.max(), known.min()))


def _take_pairs(seen: _Seen, given: Tensor, look: Look) -> None:
    """Keep some examples with their targets: a class, a number, or a row or a picture of them for each."""
    for each in look.once(comparisons):
        target = each.target
        if each.given and target.ndim and len(target) == len(given):
            break
        if each.given and not given.is_floating_point() and target.numel() == given.numel():  # a target for each token
            seen.copies.take(given, target)
            return
        if each.given and target.ndim and given.ndim > 2 and len(target) == given.shape[1]:  # time comes first
            given = given.transpose(0, 1)
            break
    else:
        return
    single = target[:1].numel() == 1
    named = not target.is_floating_point() and not single
    seen.copies.take(given, target)
    seen.inputs.append(flat(given) if given.is_floating_point() else _spelled(given, 0, _PLACE))
    seen.targets.append(_spelled(target, _PLACE) if named else flat(target))
    seen.columns = seen.inputs[-1].shape[1] if not given.is_floating_point() else target[:1].numel()
    seen.classes = single and (not target.is_floating_point() or each.expects in ("logits", "probabilities"))


def _spelled(tokens: Tensor, *places: int) -> Array:
    """The first rows of tokens or class numbers, as counts of what occurs, (R, _WIDE for each of places). A place: 0 for
    wherever it occurs, otherwise for each place apart. What a hash brings together only blurs the counts.
    """
    rows = tokens.detach()[:ROWS].reshape(min(len(tokens), ROWS), -1)[:, :_LONG].long().cpu().numpy()
    wide = _WIDE * len(places)
    each = [(rows * _SPREAD + place * np.arange(rows.shape[1])) % _WIDE + _WIDE * at for at, place in enumerate(places)]
    columns = np.concatenate(each, axis=1) + wide * np.arange(len(rows))[:, None]
    return np.bincount(columns.reshape(-1), minlength=wide * len(rows)).reshape(len(rows), wide).astype(np.float64)


def _figures(seen: _Seen) -> dict[str, float]:
    looks = len(seen.steps)
    figures: dict[str, float] = {"looks": looks, "rows": seen.rows, "rescaled": seen.rescaled / looks}
    figures["alike"] = seen.alike / seen.judged if seen.judged else nan
    figures["grown"] = seen.different[-1] / max(seen.different[0], 1) if seen.different else nan
    figures |= {"beside": seen.beside / looks, "written": _written(seen)}
    held = [kept for kept, first, second in zip(seen.kept[1:], seen.steps, seen.steps[1:], strict=False) if second == first + 1]
    figures["held"] = sum(held) / len(held) if held else nan
    follow = [
        before == after and not kept
        for before, after, kept, first, second in zip(
            seen.marks, seen.marks[1:], seen.kept[1:], seen.steps, seen.steps[1:], strict=False
        )
        if second == first + 1
    ]
    figures |= {"pairs": len(follow), "same": sum(follow) / len(follow) if follow else nan, "distinct": len(set(seen.marks))}
    figures |= {"period": period(seen.steps, seen.marks), "asked": len({each.tobytes() for each in seen.targets})}
    if seen.moments:
        mean, variance, low, high, most, least = np.array(seen.moments).T
        figures |= {"mean": mean.mean(), "std": float(np.sqrt((variance + (mean - mean.mean()) ** 2).mean()))}
        figures |= {"low": low.min(), "high": high.max(), "feature_most": most.max(), "feature_least": least.min()}
    if seen.told[0] != len(seen.inputs):
        seen.told = len(seen.inputs), told(seen.inputs, seen.targets, classes=seen.classes)
        seen.numbered = {} if seen.classes else numbered(seen.inputs, seen.targets)
    known = seen.told[1]
    figures |= {"told": known.far, "closest": known.closest, "compared": known.rows, "columns": seen.columns}
    figures |= {"near": known.near, "drawn": known.drawn, "taken": sum(map(len, seen.inputs))}
    figures |= _empty(seen) | seen.numbered
    figures["copied"] = seen.copies.share
    figures["scatter"] = nan if seen.classes else float(np.minimum(scatter(seen.inputs), scatter(seen.targets)))
    return {name: float(value) for name, value in figures.items()}


def _empty(seen: _Seen) -> dict[str, float]:
    """Rows with one value throughout, and how far the targets of these differ, relative to those of all."""
    if not seen.inputs or len({each.shape[1] for each in (*seen.inputs, *seen.targets)}) > 2 or seen.inputs[0].shape[1] < _EMPTY:
        return {}
    inputs, targets = np.concatenate(seen.inputs), np.concatenate(seen.targets)
    empty = np.ptp(inputs, axis=1) == 0
    if targets.shape[1] > 1 or not empty.any():
        return {"empty": float(empty.mean())}
    labels = targets == np.unique(targets) if seen.classes else targets
    spread = labels.astype(np.float64).var(axis=0).sum()
    own = labels[empty].astype(np.float64).var(axis=0).sum()
    return {"empty": float(empty.mean()), "empty_spread": float(own / spread) if spread > 0 else nan}


def _written(seen: _Seen) -> float:
    """How often the weights were written over per step, beside the steps themselves, as where they are loaded again."""
    looks = list(zip(seen.steps, seen.versions, strict=True))
    each = min((then - now for (at, now), (next_at, then) in pairwise(looks) if next_at == at + 1), default=0)
    taken = seen.steps[-1] - seen.steps[0]
    return (seen.versions[-1] - seen.versions[0]) / each / taken - 1 if each > 0 else nan
