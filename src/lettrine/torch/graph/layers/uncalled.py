"""Evidence "uncalled": parts of the model that hold a table, such as one of positions, and are never called.

where: their names. figures: "looks". Only parts without weights: weights that get no gradient are told of by themselves. A part
that is never called may hand out its table; so what it holds must not lie in the memory of anything that is computed with.

Evidence "unused": parameters that no function was given at any look, such as one that is left over in `__init__`. where: their
names. figures: "looks".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar

from torch import nn

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.catalogue import named_modules
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.memory import memory, tensors_within


@reader
class Uncalled:
    """Strikes from a list what is called or used."""

    whole: ClassVar[bool] = True

    def __init__(self) -> None:
        self._left: dict[nn.Module, str] | None = None
        self._steps: list[int] = []

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        if self._left is None:
            self._left = {module: name for name, module in named_modules(look.model) if name and _only_holds(module)}
        if not self._left or not look.roots or not look.modules:
            return ()
        self._steps.append(look.step)
        for call in look.modules:
            self._left.pop(call.module, None)
        if self._left:
            used = {memory(each) for call in look.calls for each in tensors_within((call.args, call.kwargs))}
            self._left = {each: name for each, name in self._left.items() if not used & {memory(own) for own in each.buffers()}}
        return ()

    def finish(self) -> Iterator[Evidence]:
        """What is left."""
        if self._left and self._steps:
            figures = {"looks": float(len(set(self._steps)))}
            yield Evidence("uncalled", tuple(self._left.values()), (self._steps[0], self._steps[-1]), figures)


@reader
class LeftOver:
    """Strikes from the list of parameters what is computed with."""

    whole: ClassVar[bool] = True

    def __init__(self) -> None:
        self._left: dict[str, int] | None = None
        self._steps: list[int] = []

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        if not look.used:
            return ()
        left = self._left if self._left is not None else {name: id(each) for name, each in look.named.items()}
        self._left = {name: key for name, key in left.items() if key not in look.used}
        self._steps.append(look.step)
        return ()

    def finish(self) -> Iterator[Evidence]:
        """What is left."""
        if self._left:
            figures = {"looks": float(len(set(self._steps)))}
            yield Evidence("unused", tuple(self._left), (self._steps[0], self._steps[-1]), figures)


def _only_holds(module: nn.Module) -> bool:
    """Whether a module holds a table of its own, and no weight."""
    own = [each for each in module.buffers(recurse=False) if each.is_floating_point() and each.numel() > 1]
    return bool(own) and next(module.parameters(), None) is None and not list(module.children())
