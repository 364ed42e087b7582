"""Evidence "replaced": a parameter that took the place of one an optimiser holds, under the same name, and that none holds.

where: their names. figures: "looks" at which the loss depended on one of them, "steps" from the first of these looks to the last,
"values" of them all.

Only those count that did not change between looks: whatever else may step them would have changed them.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator

from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.capture.sharding import gathers
from lettrine.torch.graph.walks import leaves
from lettrine.torch.private import version


@reader
class Replaced:
    """Compares the model's parameters with those that were held when the first look was taken."""

    def __init__(self) -> None:
        self._held: dict[str, weakref.ref[Tensor]] | None = None
        self._met: dict[str, tuple[weakref.ref[Tensor], int]] = {}  # the new parameter and its version, by name
        self._steps: list[int] = []
        self._still: set[str] = set()  # those that were seen again, unchanged

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        if look.loss is None or gathers(look.model):
            return ()
        held, now = look.held, look.named
        if self._held is None:
            self._held = {name: weakref.ref(each) for name, each in now.items() if id(each) in held}
            return ()
        new = {name: now[name] for name, was in self._held.items() if name in now and was() is not now[name]}
        new = {name: each for name, each in new.items() if each.requires_grad and id(each) not in held}
        reached = {id(leaf) for leaf in leaves(look.nodes)} if new else set()
        new = {name: each for name, each in new.items() if id(each) in reached}
        if new:
            self._steps.append(look.step)
        for name, each in new.items():
            known = self._met.get(name)
            if known is not None and known[0]() is each and known[1] == version(each):
                self._still.add(name)
            else:
                self._still.discard(name)
            self._met[name] = weakref.ref(each), version(each)
        return ()

    def finish(self) -> Iterator[Evidence]:
        """What was seen so far."""
        if self._still:
            sizes = [each.numel() for name in self._still if (each := self._met[name][0]()) is not None]
            figures = {"looks": len(self._steps), "steps": self._steps[-1] - self._steps[0], "values": sum(sizes)}
            told = {name: float(value) for name, value in figures.items()}
            yield Evidence("replaced", tuple(sorted(self._still)), (self._steps[0], self._steps[-1]), told)
