"""Evidence "fixed copy": a part of the model that began as the copy of another part, as a target network does, and stays as it
was while the other one is trained.

where: the part that is trained, and its copy. figures: "steps" between the first look and the last; "written": looks at which
values had been written into the copy since the look before; "asked": looks at which the
best of the copy's answers was taken, or some were picked, as for the target of Q-learning.

Only copies of matrices that were fresh from their random draw: a copy of trained weights may be meant to stay.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.copies import first_values, local
from lettrine.torch.capture.looks import Look, Stepping, reader
from lettrine.torch.graph.walks import fresh_random
from lettrine.torch.private import version

_VALUES: Final = 4_096  # compared of each matrix
_MATRICES: Final = 4
_PICKING: Final = frozenset(("max", "amax", "gather"))


@dataclass
class _Pair:
    names: tuple[str, str]
    first: int
    start: list[Tensor]
    versions: list[int]
    written: int = 0
    asked: int = 0
    last: int = 0
    fixed: bool = False


@reader
class FixedCopies:
    """Follows copies that no optimiser holds."""

    def __init__(self) -> None:
        self._pairs: list[_Pair] | None = None

    def look(self, look: Look) -> Iterable[Evidence]:
        """See which copies are asked for values."""
        for pair in self._pairs or ():
            answers = {id(each) for root in look.roots if root.name == pair.names[1] for each in root.outputs}
            answers |= {id(call.output) for call in look.modules if call.name == pair.names[1]}
            pair.asked += any(call.name in _PICKING and id(call.given(0, "input")) in answers for call in look.outside)
        return ()

    def stepping(self, stepping: Stepping) -> Iterable[Evidence]:
        """Find the copies at the first look, and see at the others what has become of them."""
        modules = dict(stepping.model.named_modules())
        if self._pairs is None:
            held = stepping.held
            self._pairs = [_Pair(names, stepping.step, *_state(modules[names[1]])) for names in _copies(modules, held)]
        for pair in self._pairs:
            live, copy = (modules.get(name) for name in pair.names)
            if live is None or copy is None:
                continue
            values, versions = _state(copy)
            pair.written += versions != pair.versions
            pair.versions, pair.last = versions, stepping.step
            pair.fixed = _same(values, pair.start) and not _same(_state(live)[0], pair.start)
        return ()

    def finish(self) -> Iterable[Evidence]:
        """Those that were the same at the last look."""
        for pair in self._pairs or ():
            if pair.fixed:
                figures = {"steps": float(pair.last - pair.first), "written": float(pair.written)}
                figures["asked"] = float(pair.asked)
                yield Evidence("fixed copy", pair.names, (pair.first, pair.last), figures)


def _copies(modules: dict[str, nn.Module], held: AbstractSet[int]) -> Iterable[tuple[str, str]]:
    """Names of a part that an optimiser holds and of its copy that none does; the outermost ones only."""
    trained: dict[tuple[tuple[str, torch.Size], ...], list[str]] = {}
    others: list[tuple[tuple[tuple[str, torch.Size], ...], str]] = []
    for name, module in modules.items():
        own = list(module.named_parameters())
        shape = tuple((path, each.shape) for path, each in own)
        if name and any(id(each) in held for _, each in own):
            trained.setdefault(shape, []).append(name)
        elif name and own:
            others.append((shape, name))
    found: list[str] = []
    for shape, name in others:
        inside = any(name.startswith(f"{outer}.") for outer in found)
        for live in () if inside else trained.get(shape, ()):
            pairs = list(zip(modules[live].parameters(), modules[name].parameters(), strict=True))
            if all(torch.equal(first_values(a, _VALUES), first_values(b, _VALUES)) for a, b in pairs) and any(
                fresh_random(local(b)) for _, b in pairs
            ):
                found.append(name)
                yield live, name
                break


def _state(module: nn.Module) -> tuple[list[Tensor], list[int]]:
    """A copy of some values of its first matrices, and how often its parameters were written."""
    matrices = [each for each in module.parameters() if each.ndim > 1][:_MATRICES]
    return [first_values(each, _VALUES).clone() for each in matrices], list(map(version, module.parameters()))


def _same(values: list[Tensor], others: list[Tensor]) -> bool:
    return len(values) == len(others) and all(map(torch.equal, values, others))
