"""Evidence "precision": a layer that computes in float32 between others that torch.autocast lets compute in half of it.

where: (name,). figures: "looks" at which it did so; "all", passes looked at in which any layer computed in half precision;
"size", values of its weight; "whole", those of all weights of such layers. words: "type", what the others give.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Final

import torch
from torch import Tensor, nn

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader

_HALVES: Final = (torch.bfloat16, torch.float16)
_PRODUCTS: Final = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@reader
class Precision:
    """Compares the types that products of weights are computed in, where all weights are float32."""

    whole: ClassVar[bool] = True

    def __init__(self) -> None:
        self._found: dict[str, int] = {}
        self._sizes: dict[str, int] = {}
        self._type = ""
        self._passes = self._last = 0

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look: the layers between the first and the last in half precision, at their first call."""
        types: dict[str, torch.dtype] = {}
        for call in look.modules:
            # not module.weight: to read one that is computed (spectral norm) changes the training
            weight = look.named.get(f"{call.name}.weight".lstrip("."))
            if isinstance(call.module, _PRODUCTS) and isinstance(call.output, Tensor) and weight is not None:
                if weight.dtype is not torch.float32:
                    return ()
                types.setdefault(call.name, call.output.dtype)
                self._sizes[call.name] = weight.numel()
        names = list(types)
        half = [place for place, name in enumerate(names) if types[name] in _HALVES]
        if half:
            self._passes, self._last, self._type = self._passes + 1, look.step, str(types[names[half[0]]])
            for name in names[half[0] : half[-1]]:
                if types[name] is torch.float32:
                    self._found[name] = self._found.get(name, 0) + 1
        return ()

    def finish(self) -> Iterable[Evidence]:
        """Each layer that did so."""
        for name, looks in self._found.items():
            figures = {"looks": looks, "all": self._passes, "size": self._sizes[name], "whole": sum(self._sizes.values())}
            words = {"type": self._type.removeprefix("torch.")}
            yield Evidence("precision", (name,), (0, self._last), {key: float(value) for key, value in figures.items()}, words)
