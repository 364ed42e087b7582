"""Evidence "picked across": a class, or an action, that is picked along the axis of the examples.

`gather(0, y[:, None])` of answers (N, K) takes element (y[i], 0): an answer to another example, and always from the first column.

where: (). figures: "looks" at which it was so, "all" of them; "rows" N, "columns" K.

Numbers of rows, as a permutation has them, are told from numbers of classes by their size: none reaches K, and N is larger.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.functions import FunctionCall
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.walks import walk

_BEHIND: Final = 400  # nodes of the loss searched for the pick


@reader
class PickedAcross:
    """Looks at what is gathered from the answers."""

    def __init__(self) -> None:
        self._looks: list[int] = []
        self._all = self._rows = self._columns = 0

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        if look.loss is None or look.place:
            return ()
        self._all += 1
        across = [call for call in look.outside if _across(call)]
        if across and not {call.result.grad_fn for call in across}.isdisjoint(walk([look.loss.grad_fn], _BEHIND)):
            self._rows, self._columns = across[0].given(0, "input").shape
            self._looks.append(look.step)
        return ()

    def finish(self) -> Iterator[Evidence]:
        """What the looks showed."""
        if self._looks:
            figures = {"looks": len(self._looks), "all": self._all, "rows": self._rows, "columns": self._columns}
            told = {name: float(value) for name, value in figures.items()}
            yield Evidence("picked across", (), (self._looks[0], self._looks[-1]), told)


def _across(call: FunctionCall) -> bool:
    """Whether one element for each example is taken from the first column."""
    if call.name != "gather":
        return False
    answers, axis, places = (call.given(place, name) for place, name in enumerate(("input", "dim", "index")))
    return _table(answers) and answers.requires_grad and axis in (0, -2) and _of_classes(answers, places)


def _table(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 2


def _of_classes(answers: Tensor, places: Any) -> bool:
    rows, columns = answers.shape
    return _table(places) and places.shape == (rows, 1) and 1 < columns < rows and int(places.max()) < columns
