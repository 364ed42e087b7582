"""The values with which one of several processes trained, at the steps looked at. Rank 0 compares the ranks.

Nothing is communicated here. A tensor becomes two numbers: its root mean square, and its projection on a fixed pattern that is
the same on every rank. The difference of two projections estimates the rms of the difference of the tensors.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from math import nan
from typing import Any, Final

import torch
from torch import Tensor, nn

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.catalogue import clean_name
from lettrine.torch.capture.copies import dense, local, measurable, part
from lettrine.torch.capture.held_out import differs
from lettrine.torch.capture.looks import Look, Stepping, reader
from lettrine.torch.capture.sharding import data_parallel, many_processes, placed

KEPT: Final = 24  # the figures of so many looks are kept: of the first ones, and of the last ones
FIRST: Final = 4
_ANGLE: Final = 2.399963  # radians between neighbours of the pattern: the golden angle, which no period of a layer matches


@reader
class ReplicaNotes:
    """Evidence "replica", one for each parameter, and "fed", one in all; nothing if one process trains alone.

    "replica": figures for each step S, just before the optimiser makes it: "S:value" and "S:rms" of the parameter, "S:gradient"
    and "S:gradient rms". words: sharded ("yes" if this rank holds only a part).
    "fed": figures for each step S: "S:input" (projection of the model's input), "S:rows" (examples), "S:training" (modules in
    training mode, among those to which the mode matters). words: dtype (of the model's output), parallel ("data" if every rank
    should have its own data).
    """

    def __init__(self) -> None:
        self._found: dict[str, dict[int, tuple[float, ...]]] = {}
        self._sharded: set[str] = set()
        self._fed: dict[int, dict[str, float]] = {}
        self._words: dict[str, str] = {}
        self._names: dict[int, tuple[int, list[tuple[str, nn.Parameter]]]] = {}  # by optimiser: how many parameters, and which

    def look(self, look: Look) -> Iterable[Evidence]:
        """Note the input of the model."""
        if look.place or not many_processes():
            return ()
        given = [local(tensor) for root in look.roots for tensor in root.inputs]
        given = [tensor for tensor in given if tensor.layout is torch.strided and tensor.numel() and not tensor.is_complex()]
        told = torch.stack([digest(tensor)[0] for tensor in given]).sum().item() if given else nan
        rows = next((float(tensor.shape[0]) for tensor in given if tensor.ndim), nan)
        modes = [module.training for module in look.model.modules() if differs(module)]
        self._fed[look.step] = {"input": told, "rows": rows, "training": float(sum(modes))}
        _thin(self._fed)
        returned = [tensor.dtype for root in look.roots for tensor in root.outputs]
        self._words = {"dtype": str(returned[0]).removeprefix("torch.") if returned else ""}
        self._words["parallel"] = "data" if data_parallel(look.model) else ""
        return ()

    def stepping(self, stepping: Stepping) -> Iterable[Evidence]:
        """Note the parameters and their gradients."""
        if not many_processes():
            return ()
        held = self._held(stepping)
        pairs: list[tuple[Tensor, Tensor]] = []
        nothing = (torch.tensor(nan), torch.tensor(nan))
        for _, parameter in held:
            gradient = dense(parameter.grad)
            pairs += [digest(local(parameter)), nothing if gradient is None else digest(gradient)]
        figures = _fetched(pairs)
        for (name, _), row in zip(held, figures, strict=True):
            value, rms, gradient_value, gradient_rms = row
            scale = stepping.gradient_scale
            kept = self._found.setdefault(name, {})
            kept[stepping.step] = value, rms, gradient_value / scale, gradient_rms / scale
            _thin(kept)
        return ()

    def finish(self) -> Iterable[Evidence]:
        """The evidence so far."""
        keys = ("value", "rms", "gradient", "gradient rms")
        for name, looks in self._found.items():
            figures = {f"{step}:{key}": each for step, row in looks.items() for key, each in zip(keys, row, strict=True)}
            words = {"sharded": "yes" if name in self._sharded else ""}
            yield Evidence("replica", (name,), (min(looks), max(looks)), figures, words)
        if self._fed:
            figures = {f"{step}:{key}": each for step, row in self._fed.items() for key, each in row.items()}
            yield Evidence("fed", (), (min(self._fed), max(self._fed)), figures, self._words)

    def _held(self, stepping: Stepping) -> list[tuple[str, nn.Parameter]]:
        """The optimiser's parameters with their names, without those that each rank has for itself: DDP was told so, or a library
        of experts marks them (`allreduce = False`).
        """
        own = {id(each) for group in stepping.optimiser.param_groups for each in group["params"]}
        size, held = self._names.get(id(stepping.optimiser), (-1, []))
        if size != len(own):
            alone = set(getattr(stepping.model, "_ddp_params_and_buffers_to_ignore", ()))
            held = [
                (clean_name(name), each)
                for name, each in stepping.named.items()
                if id(each) in own and name not in alone and getattr(each, "allreduce", True) and measurable(local(each))
            ]
            self._sharded |= {name for name, each in held if placed(stepping.model, each).sharded}
            self._names[id(stepping.optimiser)] = len(own), held
        return held


def digest(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """Projection on the pattern, and root mean square, still on their device. Of a large tensor only a part is measured."""
    flat = part(tensor.detach()).reshape(-1).float()
    return torch.dot(flat, _pattern(len(flat), flat.device)) / len(flat) ** 0.5, torch.linalg.vector_norm(flat) / len(flat) ** 0.5


@lru_cache(maxsize=256)
def _pattern(size: int, device: torch.device) -> Tensor:
    """Weights of mean square 1."""
    return (torch.arange(size, dtype=torch.float64) * _ANGLE).cos().mul(2**0.5).float().to(device)


def _fetched(pairs: Sequence[tuple[Tensor, Tensor]]) -> list[list[float]]:
    """Rows of four, fetched in one transfer for each device."""
    flat = [each for pair in pairs for each in pair]
    found = [nan] * len(flat)
    for device in {each.device for each in flat}:
        places = [place for place, each in enumerate(flat) if each.device == device]
        for place, value in zip(places, torch.stack([flat[place] for place in places]).tolist(), strict=True):
            found[place] = value
    return [found[place : place + 4] for place in range(0, len(found), 4)]


def _thin(kept: dict[int, Any]) -> None:
    """Keep the first and the last looks."""
    if len(kept) > KEPT:
        del kept[sorted(kept)[FIRST]]
