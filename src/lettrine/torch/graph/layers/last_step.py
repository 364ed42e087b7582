"""Evidence "padded end": the model uses only the last step of a recurrent module, but most rows end in padding.

The token that most rows end in is taken as padding if it fills the ends of these rows in runs of different length.

where: the recurrent module. figures: "looks"; "rows", share of rows that end in it; "run", share of all places that these runs
fill; "token". words: "used": "outputs" (at the last place) or "states".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Final

from torch import Tensor, nn

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.functions import ModuleCall
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.data.counted import padded_ends
from lettrine.torch.graph.reading import Node, operation
from lettrine.torch.private import saved

_SEARCHED: Final = 500  # nodes between the loss and the module's outputs
_PASSING: Final = ("Slice", "Transpose", "Alias", "Squeeze", "Clone")


@reader
class LastStep:
    """Finds recurrent modules whose last step is used where rows end in padding."""

    whole: ClassVar[bool] = True

    def __init__(self) -> None:
        self._found: dict[str, list[tuple[float, float, int, str]]] = {}
        self._last = 0

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        self._last = look.step
        ends = [end for root in look.roots for each in root.inputs if (end := padded_ends(each)) is not None]
        if not ends or look.loss is None:
            return ()
        for call in look.modules:
            if isinstance(call.module, nn.RNNBase) and not call.module.bidirectional:
                used = _used(call, look.loss.grad_fn, ends[0].places.shape[1])
                if used:
                    self._found.setdefault(call.name, []).append((ends[0].rows, ends[0].run, ends[0].token, used))
        return ()

    def finish(self) -> Iterable[Evidence]:
        """The result over all looks."""
        for name, found in self._found.items():
            rows, run, token, used = found[-1]
            figures = {"looks": float(len(found)), "rows": rows, "run": run, "token": float(token)}
            yield Evidence("padded end", (name,), (0, self._last), figures, {"used": used})


def _used(call: ModuleCall, loss: Node | None, places: int) -> str:
    """Which result of a recurrent module the loss uses, if it uses only the last step; otherwise ""."""
    given: Any = (call.args or (None,))[0]
    output: Any = call.output
    if not isinstance(given, Tensor) or given.ndim != 3 or not isinstance(output, tuple) or not isinstance(output[0], Tensor):
        return ""
    if given.shape[1 if call.module.batch_first else 0] != places:
        return ""
    last = output[1][0] if isinstance(output[1], tuple) else output[1]
    made = {output[0].grad_fn: "outputs", last.grad_fn: "states"}
    reached = set(_reached(loss, made, places))
    return reached.pop() if len(reached) == 1 and "all" not in reached else ""


def _reached(loss: Node | None, made: dict[Node, str], places: int) -> Iterator[str]:
    """Which of the two are used; "all" if outputs at other places than the last are used."""
    waiting: list[tuple[Node, tuple[Node, ...]]] = [(loss, ())]
    seen = set[Node]()
    while waiting and len(seen) < _SEARCHED:
        node, above = waiting.pop()
        if node is None or (node in seen and node not in made):
            continue
        seen.add(node)
        what = made.get(node)
        if what is None:
            waiting += [(each, (node, *above[:3])) for each, _ in node.next_functions]
            continue
        picked = next((each for each in above if operation(each) not in _PASSING), None)
        yield what if what == "states" or (picked is not None and _at_end(picked, places)) else "all"
    if waiting:
        yield "all"


def _at_end(node: Node, places: int) -> bool:
    """Whether exactly the last place is picked."""
    if operation(node) != "Select":
        return False
    index = int(saved(node, "index"))
    return (index if index < 2**63 else index - 2**64) in (-1, places - 1)
