"""Evidence "kept graphs": losses of earlier steps, or the model's outputs, that are still held with their graphs.

A small tag is put into the graph of each loss that is looked at, beside the notes that anomaly detection leaves there. It goes
when the graph goes, so later looks see which graphs are still there. No lifetime changes.

where: (). figures: "kept", looks in a row, up to the one before, whose graphs were all still there; "age", steps since the first
of them. At the look where the age was highest. words: "what" is kept: "losses" or "outputs".
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import TypeAlias

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.reading import Node
from lettrine.torch.private import tag


class Tag:
    """Lives as long as the graph it was put into."""


_Tags: TypeAlias = tuple[weakref.ref[Tag], ...]


@reader
class KeptGraphs:
    """Follows how long graphs live."""

    def __init__(self) -> None:
        self._losses: list[tuple[int, _Tags]] = []
        self._outputs: list[tuple[int, _Tags]] = []
        self._most: dict[str, tuple[int, int, int, int]] = {}  # by what is kept: age, looks, first and last step

    def look(self, look: Look) -> Iterable[Evidence]:
        """See what is left of earlier graphs, and tag this one."""
        if look.loss is None or look.place or (self._losses and self._losses[-1][0] == look.step):
            return ()
        outputs = [each.grad_fn for root in look.roots for each in root.outputs]
        for what, tags, nodes in (("losses", self._losses, [look.loss.grad_fn]), ("outputs", self._outputs, outputs)):
            kept = _kept(tags)
            if kept:
                self._most[what] = max(self._most.get(what, (0, 0, 0, 0)), (look.step - kept[0], len(kept), kept[0], look.step))
            tags.append((look.step, tuple(map(_tagged, filter(None, nodes)))))
        return ()

    def finish(self) -> Iterable[Evidence]:
        """The longest life seen. A loss that is kept keeps the outputs it was made from, so it is told before them."""
        for what in sorted(self._most, key=lambda each: -self._most[each][0])[:1]:
            age, looks, first, last = self._most[what]
            yield Evidence("kept graphs", (), (first, last), {"kept": float(looks), "age": float(age)}, {"what": what})


def _kept(tags: list[tuple[int, _Tags]]) -> list[int]:
    """The steps in a row, up to the last, whose graphs are there, in order."""
    steps: list[int] = []
    for step, each in reversed(tags):
        if all(tag() is None for tag in each):
            break
        steps.insert(0, step)
    return steps


def _tagged(node: Node) -> weakref.ref[Tag]:
    made = Tag()
    tag(node, made)
    return weakref.ref(made)
