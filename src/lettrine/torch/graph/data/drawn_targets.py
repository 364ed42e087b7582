"""Evidence "drawn target": the target of an error is normal noise that nothing else of the step was computed from.

where: the module that holds the last weights of the prediction. figures: "looks" at which it was so; "all" looks with the
target of an error that was drawn in the step. words: "function" that drew it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.losses.heads import head_of
from lettrine.torch.graph.losses.terms import ERRORS, Term
from lettrine.torch.graph.memory import memory, tensors_within

_DRAWS: Final = frozenset(("randn_like", "randn", "normal"))
_READING: Final = frozenset("__len__ size shape __repr__ mean std norm min max".split())  # noqa: SIM905
_LEAST: Final = 16  # numbers in a target


@reader
class DrawnTargets:
    """Looks for what takes a target beside the loss."""

    def __init__(self) -> None:
        self._steps: list[int] = []
        self._all = 0
        self._found: tuple[str, str] = "", ""

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        calls = (*look.earlier, *look.calls)
        drawn = {id(call.result): call.name for call in calls if call.name in _DRAWS}
        terms = [term for term in look.terms if term.kind in ERRORS and id(term.target) in drawn]
        for term in terms[:1]:
            if term.target is None or term.target.numel() < _LEAST:
                continue
            self._all += 1
            given = [each for root in look.roots for each in tensors_within([root.args, list(root.kwargs.values())])]
            used = [
                each
                for call in calls
                if not _compares(call.result, call.args, term)
                for each in tensors_within(call.args)
                if call.name not in _READING
            ]
            kept = [
                each
                for call in calls
                for value in call.kwargs.values()
                for each in tensors_within(value)
                if not _compares(call.result, call.kwargs.values(), term)
            ]
            place = memory(term.target)
            if not any(memory(each) == place for each in (*given, *used, *kept)):
                self._steps.append(look.step)
                name = head_of(term.given, look.parameters).module if term.given is not None else ""
                self._found = name, drawn[id(term.target)]
        return ()

    def finish(self) -> Iterator[Evidence]:
        """What the looks showed."""
        if self._steps:
            figures = {"looks": float(len(self._steps)), "all": float(self._all)}
            where, function = self._found
            steps = self._steps[0], self._steps[-1]
            yield Evidence("drawn target", (where,) if where else (), steps, figures, {"function": function})


def _compares(result: Any, given: Any, term: Term) -> bool:
    """Whether a call holds the target against the prediction."""
    return any(each is term.given for each in given) and isinstance(result, Tensor) and result.requires_grad
