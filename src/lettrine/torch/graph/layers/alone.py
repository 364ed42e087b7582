"""Evidence "norm of one": a normalisation over a single value, which is 0 whatever the value is.

A layer norm over one feature; a group norm or instance norm with one channel in a group and one place.

where: the module. figures: "looks" that showed it, "all" looks at which it was called. words: "kind".
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import Any, ClassVar

from torch import Tensor, nn

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader


@reader
class NormOfOne:
    """Counts the values that each normalisation takes together."""

    whole: ClassVar[bool] = True

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, int, str]] = {}
        self._last = 0

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        self._last = look.step
        alone: dict[str, tuple[bool, str]] = {}
        for call in look.modules:
            if isinstance(call.module, nn.LayerNorm | nn.GroupNorm) and call.args:
                single = _values(call.module, call.args[0]) == 1
                alone[call.name] = single and alone.get(call.name, (True, ""))[0], type(call.module).__name__
        for name, (single, kind) in alone.items():
            looks, every, _ = self._found.get(name, (0, 0, ""))
            self._found[name] = looks + single, every + 1, kind
        return ()

    def finish(self) -> Iterable[Evidence]:
        """Those that were seen with one value only."""
        for name, (looks, every, kind) in self._found.items():
            if looks:
                yield Evidence(
                    "norm of one", (name,), (0, self._last), {"looks": float(looks), "all": float(every)}, {"kind": kind}
                )


def _values(module: nn.LayerNorm | nn.GroupNorm, given: Any) -> int:
    """How many values are normalised together; 0 if unknown."""
    if isinstance(module, nn.LayerNorm):
        return prod(module.normalized_shape)
    if not isinstance(given, Tensor) or given.ndim < 2:
        return 0
    return given.shape[1] // module.num_groups * prod(given.shape[2:])
