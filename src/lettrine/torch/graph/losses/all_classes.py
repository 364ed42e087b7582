"""Evidence "all classes": the whole loss is a mean or sum of logarithms of a softmax over all classes: no target picks one.

where: the module that made the scores, () if unknown. words: "rows", "yes" if an index picks rows, as in log_softmax(x)[y].
figures: "looks" that showed it; "all" looks with a loss; "classes".

Such a loss is least where all classes are equally likely. It is a fair term beside others, as for examples that belong to no
class, but asks nothing by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.losses.heads import head_of
from lettrine.torch.graph.losses.written import below_guards, inputs_of, other, picked_by, signed
from lettrine.torch.graph.reading import VIEWS, Node, operation
from lettrine.torch.private import saved

_PICKING: Final = frozenset("Select Slice Split SplitWithSizes Unbind Unfold".split())  # noqa: SIM905
_PASSING: Final = (VIEWS - _PICKING) | frozenset("Neg Mean Sum Mul Div Add Sub Rsub Index".split())  # noqa: SIM905
_LONGEST: Final = 16  # operations between the loss and the softmax


@reader
class AllClasses:
    """Follows the loss back to a softmax."""

    def __init__(self) -> None:
        self._steps: list[int] = []
        self._all = self._classes = 0
        self._where, self._rows = "", False

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        if look.loss is None or look.loss.grad_fn is None:
            return ()
        self._all += 1
        found = _softmax(look.loss.grad_fn)
        if found is not None:
            node, self._rows = found
            self._steps.append(look.step)
            self._classes = saved(node, "result").shape[signed(saved(node, "dim"))]
            made = [call.result for call in look.calls if isinstance(call.result, Tensor) and call.result.grad_fn is node]
            self._where = head_of(made[0], look.parameters).module if made else ""
        return ()

    def finish(self) -> Iterator[Evidence]:
        """What the looks showed."""
        if self._steps and self._classes > 1:
            figures = {"looks": float(len(self._steps)), "all": float(self._all), "classes": float(self._classes)}
            where = (self._where,) if self._where else ()
            yield Evidence(
                "all classes", where, (self._steps[0], self._steps[-1]), figures, {"rows": "yes" if self._rows else ""}
            )


def _softmax(node: Node) -> tuple[Node, bool] | None:
    """The softmax of which a loss is the mean logarithm, times numbers, and whether rows were picked of it."""
    rows = False
    for _ in range(_LONGEST):
        name, inputs = operation(node), inputs_of(node)
        if name == "LogSoftmax":
            return node, rows
        if name == "Log":
            share = below_guards(inputs[0]) if inputs else None
            return (share, rows) if share is not None and operation(share) == "Softmax" else None
        factor = other(node) if name in ("Mul", "Div") else None
        if name not in _PASSING or len(inputs) != 1 or (factor is not None and factor.numel() > 1):
            return None
        if name == "Index":
            if picked_by(node) is not None or not _of_rows(node):
                return None
            rows = True
        node = inputs[0]
    return None


def _of_rows(node: Node) -> bool:
    """Whether an index by numbers picks along the first axis alone, and leaves the last one whole."""
    first, *others = saved(node, "indices")
    return isinstance(first, Tensor) and first.dtype.is_signed and not any(isinstance(each, Tensor) for each in others)
