"""Evidence "overflow": where values that are not finite came from.

A module that is fed infinite values did not make them. Autograd knows the type of what each operation before it made, and of some
the values: float16 ends at 65,504.

where: the first module that was fed such values, or made them. words: "after": the last module before it whose output was finite,
"" for none; "type": of the first values that were infinite, or "float16" where something since "after" was of that type; "" for
none; "made": "yes" if it made them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import torch
from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.functions import ModuleCall
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.losses.comparisons import readable
from lettrine.torch.graph.memory import tensors_within
from lettrine.torch.graph.walks import walk
from lettrine.torch.private import saved, saves_elsewhere, sequence, types

_KEPT: Final = ("result", "self", "input", "other", "mat1", "mat2")  # names under which nodes keep values


@reader
class Overflows:
    """Looks at the first step whose loss is not finite."""

    def __init__(self) -> None:
        self._found: list[Evidence] = []

    def look(self, look: Look) -> Iterable[Evidence]:
        """Read the modules and the graph of a loss that is not finite."""
        if not self._found and look.loss is not None and readable(look.loss) and not bool(torch.isfinite(look.loss).all()):
            self._found += self._read(look)
        return ()

    def _read(self, look: Look) -> Iterator[Evidence]:
        after, since = "", -1
        for call in look.modules:
            fed = _broken(call.args)
            if fed or _broken(call.output):
                words = {"after": after, "type": _kind(call, since) if fed else _name(_broken(call.output)[0].dtype)}
                yield Evidence("overflow", (call.name,), (look.step, look.step), words=words | {"made": "" if fed else "yes"})
                return
            after, since = call.name, max([since, *(sequence(each.grad_fn) for each in tensors_within(call.output))])

    def finish(self) -> Iterable[Evidence]:
        """What was found."""
        return self._found


def _broken(values: Any) -> list[Tensor]:
    """The tensors among these that hold NaN or infinity."""
    tensors = [each for each in tensors_within(values) if readable(each) and each.is_floating_point()]
    return [each for each in tensors if not bool(torch.isfinite(each.detach()).all())]


def _kind(call: ModuleCall, since: int) -> str:
    """The type of the first values that the operations before the input kept and that are infinite."""
    nodes = sorted(walk(each.grad_fn for each in tensors_within(call.args)), key=sequence)
    kept = (saved(node, name) for node in ([] if saves_elsewhere() else nodes) for name in _KEPT)
    values = (each for each in kept if isinstance(each, Tensor) and readable(each) and each.is_floating_point())
    found = next((_name(each.dtype) for each in values if bool(each.isinf().any())), "")
    half = any(torch.float16 in types(node) for node in nodes if sequence(node) > since)
    return _name(torch.float16) if half and found in ("", _name(torch.float32)) else found


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
