"""Evidence "turned": pictures and the maps that are their targets, of which one lies mirrored or turned.

In most tasks whose targets are maps (masks, depth, heat) some channel of the picture goes with the map, place by place. How
closely is told by their correlation. It is taken for the map as it is, and for the map mirrored and turned in all ways that keep
its shape. Where one way is clearly best for a row, the row is told.

where: the root. figures: "told" rows; "straight" of them, as they are; "ways" that at least a tenth of the others lie in; "rows"
compared; "chance": rows told among the same number of pairs of a picture and the map of another one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.losses.comparisons import comparisons, readable

_ROWS: Final = 64  # of one look
_MOST: Final = 512  # rows of all looks
_SIDE: Final = 32  # places along each side, after averaging
_LEAST: Final = 8  # places along each side: fewer look alike by chance
_CHANNELS: Final = 4
_CLEAR: Final = 0.3  # correlation of the best way, at least, and
_APART: Final = 0.1  # by how much it lies above that of any other way
_PART: Final = 0.1  # of the rows that do not lie straight


@reader
class Turned:
    """Holds targets against inputs in all ways."""

    def __init__(self) -> None:
        self._ways: Counter[int] = Counter()
        self._rows = self._chance = 0
        self._name, self._steps = "", (0, 0)

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        given = look.roots[0].inputs if len(look.roots) == 1 else ()
        pictures = given[0] if len(given) == 1 else None
        if pictures is None or pictures.ndim != 4 or not pictures.is_floating_point() or not readable(pictures):
            return ()
        if self._rows >= _MOST or min(pictures.shape[2:]) < _LEAST or pictures.requires_grad or len(pictures) < 2:
            return ()
        for each in look.once(comparisons):
            maps = _maps(each.target, pictures) if each.given else None
            if maps is not None:
                self._compare(_small(pictures[:_ROWS].detach()[:, :_CHANNELS]), _small(maps))
                self._name = look.roots[0].name
                self._steps = (self._steps[0] if self._rows > len(maps) else look.step, look.step)
                break
        return ()

    def _compare(self, pictures: Tensor, maps: Tensor) -> None:
        self._rows += len(maps)
        self._ways.update(_best(pictures, maps))
        self._chance += len(_best(pictures, maps.roll(1, 0)))

    def finish(self) -> Iterator[Evidence]:
        """The counts of all looks."""
        if self._rows:
            told, straight = sum(self._ways.values()), self._ways[0]
            ways = sum(count >= _PART * (told - straight) for way, count in self._ways.items() if way)
            figures = {"told": told, "straight": straight, "ways": ways, "rows": self._rows, "chance": self._chance}
            yield Evidence("turned", (self._name,), self._steps, {name: float(value) for name, value in figures.items()})


def _maps(target: Tensor, pictures: Tensor) -> Tensor | None:
    """(B, C, H, W) targets as maps; of class numbers, one for each of the commonest classes; None if they are no maps."""
    if target.ndim not in (3, 4) or len(target) != len(pictures) or target.shape[-2:] != pictures.shape[-2:]:
        return None
    maps = target.detach()[:_ROWS]
    maps = maps.unsqueeze(1) if maps.ndim == 3 else maps
    if not maps.is_floating_point() and maps.shape[1] == 1:
        classes, counts = torch.unique(maps, return_counts=True)
        maps = maps == classes[counts.argsort(descending=True)[:_CHANNELS]].reshape(1, -1, 1, 1)
    return maps[:, :_CHANNELS].float()


def _small(pictures: Tensor) -> Tensor:
    """At most _SIDE places along each side."""
    return functional.adaptive_avg_pool2d(pictures.float(), (min(pictures.shape[2], _SIDE), min(pictures.shape[3], _SIDE))).cpu()


def _best(pictures: Tensor, maps: Tensor) -> list[int]:
    """For each row that is told: the way in which its map goes best with its picture; 0 is as it is."""
    ways = [maps, maps.flip(3), maps.flip(2), maps.flip(2, 3)]
    ways += [each.transpose(2, 3) for each in ways] if maps.shape[2] == maps.shape[3] else []
    own = _unit(pictures)
    scores = torch.stack([(own @ _unit(each).transpose(1, 2)).abs().amax((1, 2)) for each in ways], 1)  # (B, ways)
    best, second = scores.topk(2, 1).values.unbind(1)
    clear = (best >= _CLEAR) & (best - second >= _APART)
    return [int(way) for way in scores.argmax(1)[clear]]


def _unit(pictures: Tensor) -> Tensor:
    """(B, C, places) of mean 0 and length 1, or 0 throughout."""
    flat = pictures.flatten(2)
    return functional.normalize(flat - flat.mean(2, keepdim=True), dim=2)
