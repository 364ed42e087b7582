"""Evidence "same places": the network answers the same at all places of a sequence, whose targets differ from place to place.

where: the head. figures: "looks" that showed it, all there were; "places" of a sequence; "within": share of the variance of the
targets that lies within sequences, which such answers leave as it is; "rows" in all looks.

Answers count only if those to different sequences differ: else the network gives one answer to everything, which is another
fault.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.devices import double
from lettrine.torch.graph.losses.comparisons import Comparison, comparisons, readable

_LEAST: Final = 4  # sequences, and places of each
_SAME: Final = 1e-5  # of the spread between sequences: rounding of float32
_NUMBERS: Final = ("squared", "absolute")
_CLASSES: Final = ("classes", "logarithms")


@dataclass
class _Seen:
    looks: int = 0
    same: int = 0
    rows: int = 0
    places: int = 0
    within: float = 0.0
    steps: tuple[int, int] = (0, 0)


@reader
class SamePlaces:
    """Compares the answers at the places of each sequence."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        for each in look.once(comparisons):
            if (pair := _sequences(each, look)) is None:
                continue
            answers, targets = pair
            seen = self._seen.setdefault(each.head.module, _Seen(steps=(look.step, look.step)))
            seen.looks, seen.steps = seen.looks + 1, (seen.steps[0], look.step)
            within = _within(targets)
            if _spread(answers, 1) <= _SAME * _spread(answers, 0) and within > 0:
                seen.same, seen.rows = seen.same + 1, seen.rows + len(answers)
                seen.places, seen.within = answers.shape[1], within
        return ()

    def finish(self) -> Iterable[Evidence]:
        """Heads for which it was so at every look."""
        for place, seen in self._seen.items():
            if seen.looks and seen.same == seen.looks:
                told = {"looks": seen.looks, "places": seen.places, "within": seen.within, "rows": seen.rows}
                yield Evidence("same places", (place,), seen.steps, {name: float(value) for name, value in told.items()})


def _sequences(each: Comparison, look: Look) -> tuple[Tensor, Tensor] | None:
    """(B, T, C) answers and (B, T, F) targets, of classes one column for each; None for other shapes."""
    given, target = each.prediction.detach(), each.target.detach()
    if not (each.given and each.alone and len(look.roots) == 1):
        return None
    outputs = [one for one in look.roots[0].outputs if one.ndim == 3 and readable(one)]
    if each.expects in _NUMBERS and given.ndim == 3 and target.shape == given.shape:
        found = (given, target)
    elif each.expects in _CLASSES and len(outputs) == 1 and not target.is_floating_point():
        answers = outputs[0].detach()
        if answers.numel() != given.numel() or target.numel() != answers.shape[0] * answers.shape[1] or int(target.min()) < 0:
            return None
        labels = target.reshape(answers.shape[:2])
        if not (given.shape[:-1].numel() == target.numel() and given.shape[-1] == answers.shape[2]):
            return None
        found = (answers, torch.nn.functional.one_hot(labels.long()))
    else:
        return None
    answers, targets = found
    batches = {len(one) for one in look.roots[0].inputs if one.ndim}
    if answers.shape[0] not in batches or min(answers.shape[:2]) < _LEAST or answers.shape[0] == answers.shape[1]:
        return None
    return double(answers), double(targets)


def _spread(values: Tensor, axis: int) -> float:
    return float((values.amax(axis) - values.amin(axis)).max())


def _within(targets: Tensor) -> float:
    """Share of the variance that lies within sequences."""
    whole = float((targets - targets.mean((0, 1))).square().sum())
    return float((targets - targets.mean(1, keepdim=True)).square().sum()) / whole if whole > 0 else 0.0
