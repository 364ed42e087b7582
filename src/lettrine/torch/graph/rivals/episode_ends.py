"""Evidence "ends of episodes": values of next states that are kept for some transitions only, and become targets.

The target of a value is reward + gamma * (value of the next state), without the second part where the episode ends. A mask of 0
and 1 says where, as a factor or as the places that are set to 0.

where: (). figures: "looks"; "kept", share of the values that the mask keeps; "values", how many there were.

Values are followed by the memory they lie in, since detaching is not noted: from a network's result through picks, maxima,
factors and sums to the target of the loss.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import torch
from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.functions import WATCHED, FunctionCall
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.losses.comparisons import readable
from lettrine.torch.graph.memory import memory, tensors_within

_NETWORK: Final = frozenset(("linear", "conv1d", "conv2d", WATCHED))
_PICKING: Final = frozenset(
    """max amax min minimum gather squeeze unsqueeze view reshape flatten __getitem__ take_along_dim mean relu clone to float mul
    __mul__ __rmul__""".split()  # noqa: SIM905
)
_ADDING: Final = frozenset("add __add__ __radd__ add_ __iadd__".split())  # noqa: SIM905
_FACTORS: Final = frozenset("mul __mul__ __rmul__ mul_ __imul__".split())  # noqa: SIM905
_FILLS: Final = frozenset(("masked_fill", "masked_fill_", "__setitem__"))


@reader
class EpisodeEnds:
    """Counts the transitions whose next state counts."""

    def __init__(self) -> None:
        self._kept = self._values = 0
        self._looks: list[int] = []

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        targets = {memory(term.target) for term in look.terms if term.target is not None and readable(term.target)}
        masking = any(call.name in _FILLS or call.name in _FACTORS for call in (*look.earlier, *look.calls))
        if look.place or not targets or not masking:
            return ()
        outputs = [each for root in look.roots for each in root.outputs]
        outputs += [each for call in look.modules for each in tensors_within(call.output)]  # those without a graph are no roots
        values = _Values({memory(each) for each in outputs if readable(each)})
        for call in (*look.earlier, *look.calls):
            values.take(call)
        found = next((values.added[target] for target in targets if target in values.added), None)
        if found is not None:
            self._kept, self._values = self._kept + int(found.sum()), self._values + found.numel()
            self._looks.append(look.step)
        return ()

    def finish(self) -> Iterator[Evidence]:
        """The share over all looks."""
        if self._looks:
            figures = {"looks": len(self._looks), "kept": self._kept / self._values, "values": self._values}
            told = {name: float(value) for name, value in figures.items()}
            yield Evidence("ends of episodes", (), (self._looks[0], self._looks[-1]), told)


class _Values:
    """What networks gave, by memory; the masks put on it; and the sums of what was masked with data."""

    def __init__(self, made: set[int]) -> None:
        self._made = made
        self._masked: dict[int, Tensor] = {}
        self.added: dict[int, Tensor] = {}

    def take(self, call: FunctionCall) -> None:
        """Follow one call."""
        results = {memory(each) for each in tensors_within(call.result) if readable(each)}
        given = [memory(each) for each in tensors_within(call.args) if readable(each)]
        if call.name in _NETWORK:
            self._made |= results
        elif not self._made.isdisjoint(given) and (mask := _mask(call, self._made)) is not None:
            self._masked.update(dict.fromkeys(results or given[:1], mask))
        if call.name in _PICKING and not self._made.isdisjoint(given):
            self._made |= results
        if call.name not in _PICKING | _ADDING:
            return
        for place in given:
            if place in self._masked:
                data = call.name in _ADDING and any(each not in self._made for each in given)
                (self.added if data else self._masked).update(dict.fromkeys(results, self._masked[place]))
            if place in self.added:
                self.added.update(dict.fromkeys(results, self.added[place]))


def _mask(call: FunctionCall, made: set[int]) -> Tensor | None:
    """Which values this call keeps, if it sets the others to 0."""
    pair = call.given(0, "input"), call.given(1, "other", call.given(1, "mask"))
    if not all(isinstance(each, Tensor) and readable(each) and not each.requires_grad for each in pair):
        return None
    if call.name in _FILLS:
        values: Tensor = pair[0]
        places: Tensor = pair[1]
        zero = call.given(2, "value")
        if places.dtype is torch.bool and places.shape == values.shape and isinstance(zero, int | float) and zero == 0:
            return ~places
        return None
    mask: Tensor | None = next((each for each in pair if memory(each) not in made), None)
    alike = pair[0].numel() == pair[1].numel() > 1
    if call.name not in _FACTORS or mask is None or not alike or not bool(((mask == 0) | (mask == mask.max())).all()):
        return None  # 0 and 1, or 0 and gamma
    return mask > 0
