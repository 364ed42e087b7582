"""Evidence "only last": errors of many calls of the model in a step, of which the loss holds the last one alone; or many answers
of one call, of which it holds that of a single row.

where: the root that is called. figures: "looks" at which it was so, of "all" looks before a step's first backward pass; "errors",
or rows, of the last of these looks. words: "function" that made them; "row", which one, "" for errors.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Final

from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.losses.comparisons import comparisons
from lettrine.torch.graph.losses.terms import FUNCTIONS
from lettrine.torch.graph.makers import makers

_FEWEST: Final = 4  # errors of a step
_ROWS: Final = 8  # answers of a call
_TABLE: Final = 2  # axes of a batch


@reader
class OnlyLast:
    """Compares the errors that were computed with those in the loss."""

    whole: ClassVar[bool] = False

    def __init__(self) -> None:
        self._looks = self._all = self._errors = 0
        self._steps = (0, 0)
        self._name = self._function = self._row = ""

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        if look.loss is None or look.loss.grad_fn is None or look.place:
            return ()
        self._all += 1
        if (picked := _of_one_row(look)) is not None:
            root, rows, self._row, self._function = picked
            self._note(look.step, root, rows)
            return ()
        errors = [call for call in look.outside if call.name in FUNCTIONS and _open(call.result)]
        called = {root.name for root in look.roots}
        if len(errors) < _FEWEST or len(called) > 1 or len(look.roots) < _FEWEST or len({call.name for call in errors}) > 1:
            return ()
        known = set(look.nodes)
        if [call.result.grad_fn in known for call in errors] == [False] * (len(errors) - 1) + [True]:
            self._row, self._function = "", errors[-1].name
            self._note(look.step, called.pop(), len(errors))
        return ()

    def _note(self, step: int, root: str, errors: int) -> None:
        first = self._steps[0] if self._looks else step
        self._looks, self._errors, self._steps, self._name = self._looks + 1, errors, (first, step), root

    def finish(self) -> Iterable[Evidence]:
        """How often."""
        if self._looks:
            figures = {"looks": float(self._looks), "all": float(self._all), "errors": float(self._errors)}
            yield Evidence("only last", (self._name,), self._steps, figures, {"function": self._function, "row": self._row})


def _of_one_row(look: Look) -> tuple[str, int, str, str] | None:
    """The root, its rows, the row picked and the function that compares, if answers and targets are both cut to one row."""
    compared = [each for each in look.once(comparisons) if each.given]
    if len(compared) != 1 or len(look.roots) != 1:
        return None
    made, (each,), (root,) = look.once(makers), compared, look.roots
    answer, asked = made.get(id(each.prediction)), made.get(id(each.call.given(1, "target")))
    if answer is None or asked is None or {answer.name, asked.name} != {"__getitem__"}:
        return None
    row, said, target = answer.given(1, "index"), answer.given(0, "input"), asked.given(0, "input")
    outputs = {id(output) for output in root.outputs}
    whole = type(row) is int and row == asked.given(1, "index") and id(said) in outputs and isinstance(target, Tensor)
    if not whole or not root.inputs or root.inputs[0].ndim < _TABLE or not target.ndim:
        return None
    rows = len(said)
    alike = rows == len(target) == len(root.inputs[0]) and rows >= _ROWS
    return (root.name, rows, str(row), each.call.name) if alike else None


def _open(result: object) -> bool:
    """Whether this is a number from which gradients can go back."""
    return isinstance(result, Tensor) and result.numel() == 1 and result.grad_fn is not None
