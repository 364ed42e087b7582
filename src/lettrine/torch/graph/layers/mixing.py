"""Evidence "states": the result of a recurrent module is reshaped so that the examples of a batch are mixed.

Torch's recurrent modules return their last states as (layers, batch, units). They return their outputs as (time, batch, units),
unless built with batch_first. A view or reshape to (batch, ...) without a transposition takes values from other examples.

where: the recurrent module. figures: "looks" that showed it, "first" the length of the first axis, "batch". words: "what"
("states" or "outputs"), "function".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from torch import Tensor, nn

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.functions import FunctionCall
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.capture.outputs import tensors_in
from lettrine.torch.graph.reading import Node, operation

_RESHAPING: Final = ("view", "reshape", "flatten")
_SAME_PLACE: Final = ("NativeDropout", "Relu", "Tanh", "Sigmoid", "Gelu", "Mul", "Clone", "Alias", "Slice")
_LONGEST: Final = 4  # operations followed backwards, none of which moves an axis


@reader
class RecurrentStates:
    """Watches how recurrent states are reshaped."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, int, int, int, str, str]] = {}

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        made: dict[tuple[Node, int], tuple[str, str, int, int]] = {}
        for each in look.modules:
            if isinstance(each.module, nn.RNNBase):
                _note(made, each.name, each.module, each.output)
        if not made:
            return ()
        for call in look.calls:
            if call.name in _RESHAPING and (found := _maker(call, made)) is not None:
                name, what, first, batch = found
                result = call.result
                if isinstance(result, Tensor) and result.ndim > 1 and len(result) == batch and result.shape[1] != batch:
                    looks = self._found.get(name, (0, look.step, 0, 0, "", ""))
                    self._found[name] = looks[0] + 1, looks[1], first, batch, what, call.name
        return ()

    def finish(self) -> Iterable[Evidence]:
        """What was seen."""
        for name, (looks, step, first, batch, what, function) in self._found.items():
            figures = {"looks": float(looks), "first": float(first), "batch": float(batch)}
            yield Evidence("states", (name,), (step, step), figures, {"what": what, "function": function})


def _note(made: dict[tuple[Node, int], tuple[str, str, int, int]], name: str, module: nn.RNNBase, output: Any) -> None:
    """Remember the nodes whose second axis is the batch and whose first axis is longer than 1."""
    if not (isinstance(output, tuple) and len(output) == 2) or not isinstance(output[0], Tensor) or output[0].ndim != 3:
        return
    states = [(each, "states") for each in tensors_in(output[1])]
    outputs = [] if module.batch_first else [(output[0], "outputs")]
    for tensor, what in (*states, *outputs):
        if tensor.grad_fn is not None and tensor.ndim == 3 and tensor.shape[0] > 1 and tensor.shape[1] > 1:
            made[tensor.grad_fn, tensor.output_nr] = name, what, tensor.shape[0], tensor.shape[1]


def _maker(call: FunctionCall, made: dict[tuple[Node, int], tuple[str, str, int, int]]) -> tuple[str, str, int, int] | None:
    """The recurrent module whose states are reshaped, and the axes they still have."""
    given = call.given(0, "input")
    if not isinstance(given, Tensor) or given.ndim != 3 or given.grad_fn is None:
        return None
    node, place = given.grad_fn, given.output_nr
    for _ in range(_LONGEST):
        if (found := made.get((node, place))) is not None:
            return found if given.shape[:2] == found[2:] else None
        following = [(each, number) for each, number in node.next_functions if each is not None]
        if operation(node) not in _SAME_PLACE or len(following) != 1:
            return None
        node, place = following[0]
    return None
