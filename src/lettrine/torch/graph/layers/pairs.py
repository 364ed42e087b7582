"""Evidence "frozen pairs": two matrices of low rank, made to be multiplied, both frozen while one of them is all zeros.

Adapters of low rank (LoRA) start so: what they add is 0 until they have learned.

where: the names of the matrices. figures: "pairs", "rank" (the highest), "steps" that they stayed so.

A pair is recognised by its names, which differ in one part, such as lora_A and lora_B, and by its shapes. Not reported: pairs
beside others that train, such as adapters of another task; modules that are not called.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.private import version

_MOST: Final = 4_000  # matrices of a model that are compared with one another by name


@reader
class FrozenPairs:
    """Looks for them at the first look, and whether they stay as they are."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[weakref.ref[Tensor], int]] | None = None
        self._first = self._last = self._rank = 0

    def look(self, look: Look) -> Iterable[Evidence]:
        """Find them once."""
        self._last = look.step
        if self._found is None and look.modules:
            self._first, self._found = look.step, {}
            flat = {name: each for name, each in look.named.items() if each.ndim == 2}
            zeros = [name for name, each in flat.items() if not each.requires_grad and each.numel() and not bool(each.any())]
            if zeros and len(flat) <= _MOST and not any(_pairs(list(flat), flat, trained=True)):
                called = {id(each) for call in look.modules for each in call.module.parameters(recurse=False)}
                for pair in _pairs(zeros, flat, trained=False):
                    if all(id(flat[name]) in called for name in pair):
                        self._rank = max(self._rank, _rank(*(flat[name] for name in pair)))
                        self._found |= {name: (weakref.ref(flat[name]), version(flat[name])) for name in reversed(pair)}
        return ()

    def finish(self) -> Iterable[Evidence]:
        """Those that are still as they were."""
        found = self._found or {}
        alive = [(reference(), then) for reference, then in found.values()]
        if found and all(each is not None and not each.requires_grad and version(each) == then for each, then in alive):
            figures = {"pairs": len(found) / 2, "rank": float(self._rank), "steps": float(self._last - self._first)}
            yield Evidence("frozen pairs", tuple(found), (self._first, self._last), figures)


def _pairs(names: list[str], flat: Mapping[str, Tensor], *, trained: bool) -> Iterator[tuple[str, str]]:
    """These names, each with the one that its name and shape go with."""
    places: dict[tuple[str, ...], list[str]] = {}
    for name in flat:
        for place in _places(name):
            places.setdefault(place, []).append(name)
    for name in names:
        for other in dict.fromkeys(each for place in _places(name) for each in places[place] if each != name):
            same = flat[name].requires_grad is flat[other].requires_grad is trained
            if same and _rank(flat[name], flat[other]):
                yield name, other
                break


def _places(name: str) -> list[tuple[str, ...]]:
    """The name with one of its parts left open, for each part."""
    parts = name.split(".")
    return [(*parts[:place], "", *parts[place + 1 :]) for place in range(len(parts))]


def _rank(one: Tensor, other: Tensor) -> int:
    """The rank of the product of two matrices, if that is less than half of what its shape allows; otherwise 0."""
    for (high, inner), (again, wide) in ((one.shape, other.shape), (other.shape, one.shape)):
        if inner == again and 2 * inner <= min(high, wide):
            return int(inner)
    return 0
