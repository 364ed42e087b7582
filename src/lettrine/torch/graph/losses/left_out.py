"""Evidence "left out": parameters behind an error that is computed with its graph, outside of the model, and is not in the
loss.

where: their names, of those that the loss does not reach, and nothing that `torch.autograd.grad` is asked of: a slope does not
hold the constant that was added to its function. figures: "looks" at which it was so; "all" looks. words: "function"
that made the error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import ClassVar

from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.capture.outputs import tensors_in
from lettrine.torch.graph.walks import leaves, walk


@reader
class LeftOut:
    """Compares what single numbers depend on with what the loss depends on."""

    whole: ClassVar[bool] = False

    def __init__(self) -> None:
        self._looks = self._last = 0
        self._found: Counter[str] = Counter()
        self._function = ""

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        if look.loss is None or look.loss.grad_fn is None:
            return ()
        self._looks, self._last = self._looks + 1, look.step
        results = [(call.result, call.name) for call in look.outside if isinstance(call.result, Tensor)]
        numbers = [(each, name) for each, name in results if each.numel() == 1 and each.grad_fn is not None]
        nodes = look.nodes if numbers else []
        known = set(nodes)
        aside = [(each, name) for each, name in numbers if each.grad_fn not in known]
        asked = [each.grad_fn for each in _differentiated(look)] if aside else []
        reached = {look.parameters.get(id(leaf)) for leaf in leaves([*nodes, *walk(asked)])} if aside else set()
        names: set[str] = set()
        for each, function in aside:
            behind = {look.parameters[id(leaf)] for leaf in leaves(walk([each.grad_fn])) if id(leaf) in look.parameters}
            alone = behind - reached
            self._function = function if alone else self._function
            names |= alone
        self._found.update(names)
        return ()

    def finish(self) -> Iterable[Evidence]:
        """Which parameters, and how often."""
        if self._found:
            most = max(self._found.values())
            names = tuple(name for name, count in self._found.items() if count == most)
            figures = {"looks": float(most), "all": float(self._looks)}
            yield Evidence("left out", names, (0, self._last), figures, {"function": self._function})


def _differentiated(look: Look) -> list[Tensor]:
    """What the training itself takes slopes of, such as an energy whose slope is a force."""
    return [each for call in look.calls if call.name == "grad" for each in tensors_in(call.given(0, "outputs"))]
