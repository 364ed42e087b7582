"""Evidence "leak", with words["what"] "itself": the numbers that the answers are compared with are one of the model's inputs.

figures: as in `leaks`. A model with a single input that is its own target is an autoencoder; one with a narrower layer between,
or with another term in its loss, has something to learn: these do not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.data.determining import LEAST
from lettrine.torch.graph.losses.comparisons import readable
from lettrine.torch.graph.losses.terms import Term


@reader
class CopiedInputs:
    """Compares inputs with targets, and sizes of layers with that of the input."""

    def __init__(self) -> None:
        self._steps: list[int] = []
        self._looks = self._rows = self._place = 0
        self._layers = self._narrow = False

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        if len(look.terms) != 1 or len(look.roots) != 1:
            return ()
        self._looks += 1
        inputs = look.roots[0].inputs
        place = _same(inputs, look.terms[0])
        if place is not None:
            self._steps.append(look.step)
            self._place, self._rows = place, self._rows + len(inputs[place])
            outputs = [output for call in look.modules if isinstance(output := call.output, Tensor)]
            self._layers |= look.whole and bool(outputs)
            self._narrow |= any(each.numel() < inputs[place].numel() for each in outputs)
        return ()

    def finish(self) -> Iterator[Evidence]:
        """What all looks showed."""
        if self._layers and not self._narrow and len(self._steps) == self._looks and self._rows >= LEAST:
            figures = {"input": float(self._place), "place": -1.0, "places": 1.0, "examples": float(self._rows)}
            yield Evidence("leak", (), (self._steps[0], self._steps[-1]), figures, {"what": "itself"})


def _same(inputs: Sequence[Tensor], term: Term) -> int | None:
    """The place of the input, one of several, that holds the target."""
    target = term.target
    if target is None or not target.is_floating_point() or target.ndim < 2 or len(inputs) < 2 or not readable(target):
        return None
    for place, given in enumerate(inputs):
        fits = given.shape == target.shape and given.dtype == target.dtype and readable(given)
        if fits and torch.equal(given, target) and bool(given.min() < given.max()):
            return place
    return None
