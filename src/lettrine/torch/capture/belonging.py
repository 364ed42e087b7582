"""Whether a loss belongs to the watched model, and not to another model that trains in the same loop."""

from __future__ import annotations

from typing import Any, Final

from torch import Tensor, nn

from lettrine.torch.capture.sharding import gathers

SEARCHED: Final = 10_000  # most nodes of the loss's graph that are searched for a parameter of the model


class Belonging:
    """Decides whether a loss was computed from the parameters of one model."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._own: set[int] = set()  # its parameters, by identity, when they were last looked up

    def of(self, loss: Tensor | None) -> bool:
        """Whether this loss was; also True if that cannot be known."""
        if loss is None or gathers(self._model) or self._below(loss):
            return True
        own = set(map(id, self._model.parameters()))
        if own == self._own:
            return False
        self._own = own
        return self._below(loss)

    def _below(self, loss: Tensor) -> bool:
        """Whether a parameter is in the loss's graph, or the graph is too large to search."""
        waiting, seen = [loss.grad_fn], set[Any]()
        while waiting and len(seen) < SEARCHED:  # depth first: the first path down ends at a parameter
            node = waiting.pop()
            if node is None or node in seen:
                continue
            seen.add(node)
            if id(getattr(node, "variable", None)) in self._own:
                return True
            waiting += [following for following, _ in node.next_functions]
        return len(seen) >= SEARCHED
