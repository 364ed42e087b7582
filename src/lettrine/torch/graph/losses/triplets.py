"""Evidence "triplets": vectors handed to a triplet loss, and which of the two others the anchors lay nearer to at first.

where: (). figures: "farther", share of the anchors that lay nearer to the negative than to the positive at the first looks, and
"rows" of them; "first" and "value": the loss of a triplet at the first and the last look; "margin"; "looks"; "chosen": 1 if
positives or negatives were picked from vectors that were made before, as when the hardest are taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import nan
from typing import Final

from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.functions import FunctionCall
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.devices import double
from lettrine.torch.graph.losses.comparisons import readable
from lettrine.torch.graph.makers import makers

_LOSSES: Final = frozenset(("triplet_margin_loss", "triplet_margin_with_distance_loss"))
_FIRST: Final = 2  # looks at vectors that hardly have been trained


@reader
class Triplets:
    """Measures the distances at the first looks."""

    def __init__(self) -> None:
        self._seen: list[tuple[int, float]] = []
        self._farther = self._rows = 0
        self._margin = nan
        self._chosen = False

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        for call in look.outside:
            vectors = [call.given(place, name) for place, name in enumerate(("anchor", "positive", "negative"))]
            known = call.name in _LOSSES and all(isinstance(each, Tensor) and readable(each) for each in vectors)
            if not known:
                continue
            self._chosen |= any(_chosen(look.once(makers).get(id(each))) for each in vectors[1:])
            self._margin = float(call.kwargs.get("margin", 1.0))
            if len(self._seen) < _FIRST:
                anchor, positive, negative = (double(each.detach().flatten(1)) for each in vectors)
                farther = (anchor - positive).norm(dim=1) > (anchor - negative).norm(dim=1)
                self._farther, self._rows = self._farther + int(farther.sum()), self._rows + len(farther)
            total = float(double(call.result.detach()).mean())
            self._seen.append((look.step, total / (len(vectors[0]) if call.kwargs.get("reduction") == "sum" else 1)))
            break
        return ()

    def finish(self) -> Iterator[Evidence]:
        """The first looks and the last one."""
        if self._rows:
            figures = {"farther": self._farther / self._rows, "rows": self._rows, "first": self._seen[0][1]}
            figures |= {"value": self._seen[-1][1], "margin": self._margin, "looks": len(self._seen), "chosen": self._chosen}
            told = {name: float(value) for name, value in figures.items()}
            yield Evidence("triplets", (), (self._seen[0][0], self._seen[-1][0]), told)


def _chosen(call: FunctionCall | None) -> bool:
    """Whether a call picks rows by their numbers."""
    if call is None or call.name not in ("__getitem__", "index_select", "gather", "take_along_dim"):
        return False
    return any(isinstance(each, Tensor) for each in call.args[1:]) or call.name != "__getitem__"
