"""Evidence "exchanged": a loss function is given the targets as its input and the model's answers as its target.

figures: "looks" at which it was so, "all" of them. words: "function".

The input needs no gradient and holds what only targets hold: 0 and 1, or rows of shares that sum to 1. The target needs one.
A distillation that goes the other way round hands over logarithms, which are below 0, or logits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.functions import FunctionCall
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.losses.comparisons import readable

_FUNCTIONS: Final = ("cross_entropy", "binary_cross_entropy", "binary_cross_entropy_with_logits", "kl_div")
_SUM_NEAR: Final = 1e-3


@reader
class Exchanged:
    """Looks at the arguments of losses that treat their two arguments differently."""

    def __init__(self) -> None:
        self._found: Counter[str] = Counter()
        self._all = self._last = 0

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        self._all, self._last = self._all + 1, look.step
        self._found.update({call.name for call in look.outside if call.name in _FUNCTIONS and _exchanged(call)})
        return ()

    def finish(self) -> Iterator[Evidence]:
        """What was seen."""
        for function, looks in self._found.items():
            figures = {"looks": float(looks), "all": float(self._all)}
            yield Evidence("exchanged", (), (0, self._last), figures, {"function": function})


def _exchanged(call: FunctionCall) -> bool:
    given, target = call.given(0, "input"), call.given(1, "target")
    if not isinstance(given, Tensor) or not isinstance(target, Tensor) or target.grad_fn is None or given.requires_grad:
        return False
    if not given.is_floating_point() or not given.numel() or not readable(given):
        return False
    yes_or_no = bool(((given == 0) | (given == 1)).all()) and bool((given != given.reshape(-1)[0]).any())
    shares = given.ndim > 1 and bool((given >= 0).all()) and bool(((given.sum(1) - 1).abs() < _SUM_NEAR).all())
    return yes_or_no or shares
