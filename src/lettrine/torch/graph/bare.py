"""Evidence "bare term": a loss that was computed with its graph, and then added as a mere number: by item(), float() or detach().

figures: "looks" of those at which it was so; "all" looks. words: "function" that made it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Final

from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.reading import Node
from lettrine.torch.graph.walks import walk

_JOINING: Final = frozenset("add __add__ __radd__ add_ __iadd__ sub __sub__ mul __mul__ __rmul__ div __truediv__".split())  # noqa: SIM905


@reader
class Bare:
    """Finds terms of a loss that have lost their graph."""

    whole: ClassVar[bool] = False

    def __init__(self) -> None:
        self._looks = self._bare = self._last = 0
        self._function = ""

    def look(self, look: Look) -> Iterable[Evidence]:
        """Compare the numbers that are added with the losses computed before."""
        if look.loss is None or look.loss.grad_fn is None:
            return ()
        self._looks, self._last = self._looks + 1, look.step
        nodes: set[Node] | None = None
        computed: list[tuple[float, Tensor, str]] = []
        for call in look.outside:
            for value in (_number(each) for each in call.args) if call.name in _JOINING else ():
                for known, tensor, name in computed if value else ():
                    if known == value:
                        nodes = set(walk([look.loss.grad_fn])) if nodes is None else nodes
                        if tensor.grad_fn not in nodes:
                            self._bare, self._function = self._bare + 1, name
                            return ()
            result = call.result
            if isinstance(result, Tensor) and result.numel() == 1 and result.requires_grad and result.is_floating_point():
                computed.append((float(result.detach()), result, call.name))
        return ()

    def finish(self) -> Iterable[Evidence]:
        """How often it was so."""
        if self._bare:
            figures = {"looks": float(self._bare), "all": float(self._looks)}
            yield Evidence("bare term", (), (0, self._last), figures, {"function": self._function})


def _number(value: Any) -> float:
    """A number without a graph; 0 for anything else."""
    if type(value) is float:
        return value
    bare = isinstance(value, Tensor) and value.numel() == 1 and not value.requires_grad and value.is_floating_point()
    return float(value) if bare else 0.0
