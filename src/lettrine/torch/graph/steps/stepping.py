"""What happens to gradients between backward passes and the optimiser's step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from math import nan, sqrt
from typing import Any, ClassVar, Final

import torch
from torch import Tensor
from torch.optim import Optimizer

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.copies import local
from lettrine.torch.capture.looks import Look, Stepping, reader
from lettrine.torch.capture.outputs import tensors_in
from lettrine.torch.capture.settings import setting
from lettrine.torch.private import version

_WITNESSES: Final = 4  # parameters whose gradients are read; whether a gradient exists is checked for every parameter


@dataclass
class _Count:
    """The counts of one optimiser; see `Gradients`."""

    steps: int = 0
    none: int = 0
    zeros: int = 0
    called: int = 0
    micro: int = 0
    cleared: int = 0
    partly: int = 0
    lost: int = 0
    accumulated: int = 0
    scaled: int = 0
    frozen: int = 0
    others: int = 0
    followed: int = 0
    leftover: int = 0


@reader
class Gradients:
    """Evidence "gradients", one for each optimiser: the gradients that its steps found.

    where: the names of its watched parameters. figures, counted in optimiser steps:
        steps: looked at. none: no parameter had a gradient, or all gradients were zero. zeros: those of "none" with zeros.
        called: those of "none" with a backward pass that was seen. others: those of "none" with gradients in other parameters of
        the model. micro: backward passes per step. cleared: before each later backward pass, the gradients of the pass before
        were gone. partly: before one later pass, and not before all; lost: most passes of such a step that came before the last
        clearing. accumulated: steps with several passes. scaled: those of "accumulated" whose loss was divided by a number.
        frozen: 1 if all its parameters have requires_grad off. followed: steps whose gradients were followed from the backward
        pass. leftover: those of "followed" that began with gradients of an earlier step.

    These passes do not count as micro-batches: the input requires a gradient (attacks on the input, a generator's pass through
    its critic); the weights changed in between (SAM); the model is in eval mode.
    """

    def __init__(self) -> None:
        self._counts: dict[tuple[str, ...], _Count] = {}
        # passes of the current step: whether each found no gradients left; None for no micro-batch
        self._passes: list[bool | None] = []
        self._divided = False
        self._versions: list[int] = []
        self._names: dict[int, tuple[int, tuple[str, ...]]] = {}  # by optimiser: number of its parameters, and their names
        self._last = 0

    def look(self, look: Look) -> Iterable[Evidence]:
        """A backward pass is about to begin."""
        if not look.place:
            self._passes, self._divided = [], False
        parameters = [parameter for parameter in look.named.values() if parameter.requires_grad]
        versions = list(map(version, parameters))
        plain = look.loss is not None and all(root.module.training for root in look.roots)
        asked = any(tensor.requires_grad for root in look.roots for tensor in tensors_in([root.args, list(root.kwargs.values())]))
        moved = bool(look.place) and versions != self._versions
        self._versions = versions
        self._passes.append(nothing(parameters) if plain and not asked and not moved else None)
        self._divided |= _divided(look)
        return ()

    def stepping(self, stepping: Stepping) -> Iterable[Evidence]:
        """The optimiser is about to use the gradients."""
        held = {id(parameter): parameter for group in stepping.optimiser.param_groups for parameter in group["params"]}
        size, names = self._names.get(id(stepping.optimiser), (-1, ()))
        if size != len(held):
            names = tuple(name for name, parameter in stepping.named.items() if id(parameter) in held)
            self._names[id(stepping.optimiser)] = len(held), names
        count = self._counts.setdefault(names, _Count())
        count.steps += 1
        self._last = stepping.step
        count.frozen = int(bool(held) and not any(parameter.requires_grad for parameter in held.values()))
        count.followed += stepping.leftover == stepping.leftover
        count.leftover += stepping.leftover > 0
        empty = nothing(list(held.values()))
        if empty:
            count.none += 1
            count.zeros += any(parameter.grad is not None for parameter in held.values())
            count.called += stepping.passes > 0
            count.others += not nothing([each for each in stepping.named.values() if id(each) not in held])
        if len(self._passes) > 1 and None not in self._passes and stepping.passes == len(self._passes):
            count.accumulated += 1
            count.micro = max(count.micro, stepping.passes)
            count.scaled += self._divided
            count.cleared += all(self._passes[1:]) and not empty
            if any(self._passes[1:]) and not all(self._passes[1:]) and not empty:
                count.partly += 1
                count.lost = max(count.lost, *(place for place, fresh in enumerate(self._passes) if fresh))
        self._passes = []
        return ()

    def finish(self) -> Iterable[Evidence]:
        """The counts of every optimiser."""
        for names, count in self._counts.items():
            figures = {name: float(value) for name, value in asdict(count).items()}
            yield Evidence("gradients", names, (0, self._last), figures)


def nothing(parameters: Sequence[Tensor]) -> bool:
    """Whether no parameter has a non-zero gradient. Values are read for a few parameters only; a missing gradient is noticed for
    all.
    """
    gradients = [local(parameter.grad) for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return True
    read = [*gradients[:_WITNESSES], *gradients[-_WITNESSES:]]
    return not any(bool((gradient.coalesce().values() if gradient.is_sparse else gradient).count_nonzero()) for gradient in read)


def _divided(look: Look) -> bool:
    """Whether the loss was multiplied by a number, as is done before gradients are accumulated over micro-batches."""
    for call in reversed(look.outside):
        if call.result is look.loss:
            numbers = [each for each in call.args if isinstance(each, int | float)]
            return call.name in ("div", "true_divide", "__truediv__", "mul", "__mul__", "__rmul__") and bool(numbers)
    return False


@reader
class Clipping:
    """Evidence "clipping": the norm of all gradients of an optimiser at its step, under a GradScaler.

    figures: steps (looked at with a scale above 1), scale (the last), norm (median of the norms after removing the scale),
    spread (of norm * scale, relative to its median): almost 0 if the gradients were clipped before they were unscaled.
    """

    def __init__(self) -> None:
        self._found: list[tuple[float, float]] = []  # norm, scale
        self._last = 0

    def stepping(self, stepping: Stepping) -> Iterable[Evidence]:
        """Measure the norm."""
        if stepping.output_scale > 1:
            self._last = stepping.step
            norm = _norm(stepping.optimiser) / stepping.gradient_scale
            self._found.append((norm, stepping.output_scale))
        return ()

    def finish(self) -> Iterable[Evidence]:
        """The result over all steps."""
        found = [(norm, scale) for norm, scale in self._found if 0 < norm < float("inf")]
        if len(found) < 3:
            return
        norms = torch.tensor([norm for norm, _ in found], dtype=torch.float64)
        products = torch.tensor([norm * scale for norm, scale in found], dtype=torch.float64)
        middle = float(products.median())
        spread = float((products - middle).abs().median()) / middle if middle > 0 else nan
        figures = {"steps": len(found), "scale": found[-1][1], "norm": float(norms.median()), "product": middle, "spread": spread}
        yield Evidence("clipping", (), (0, self._last), {name: float(value) for name, value in figures.items()})


def _norm(optimiser: Optimizer) -> float:
    gradients = [
        local(parameter.grad) for group in optimiser.param_groups for parameter in group["params"] if parameter.grad is not None
    ]
    dense = [gradient.coalesce().values() if gradient.is_sparse else gradient for gradient in gradients]
    return sqrt(sum(float(gradient.float().square().sum()) for gradient in dense))


@reader
class Optimisers:
    """Evidence "optimiser", one for each optimiser and parameter group: its settings and its state when it was first seen.

    where: the names of its watched parameters. figures: weight_decay, decoupled (1 if it is not added to the gradient), lr, given
    (the rate it was made with; NaN where groups may have their own), eps, state (1 if it had a state at the first step), eps_zero
    (1 if eps rounds to 0 in the type of a parameter). words: kind, dtype.
    """

    whole: ClassVar[bool] = True

    def __init__(self) -> None:
        self._found: dict[tuple[int, int], Evidence] = {}

    def look(self, look: Look) -> Iterable[Evidence]:
        """Read the settings at the first look."""
        names = look.parameters
        for place, optimiser in enumerate(look.optimisers):
            for number, group in enumerate(optimiser.param_groups):
                if (place, number) not in self._found:
                    self._found[place, number] = _settings(optimiser, group, names, look.step)
        return ()

    def finish(self) -> Iterable[Evidence]:
        """What was read."""
        yield from self._found.values()


def _settings(optimiser: Optimizer, group: dict[str, Any], names: dict[int, str], step: int) -> Evidence:
    held = [parameter for parameter in group["params"] if isinstance(parameter, Tensor)]
    kind = type(optimiser).__name__
    eps = setting(group, "eps")
    low = next((each.dtype for each in held if eps > 0 and float(torch.tensor(eps, dtype=each.dtype)) == 0), None)
    decoupled = bool(group.get("decoupled_weight_decay", "AdamW" in kind or kind in ("Lion", "Muon")))
    figures = {
        "weight_decay": setting(group, "weight_decay"),
        "decoupled": float(decoupled),
        "lr": setting(group, "lr"),
        "given": setting(optimiser.defaults, "lr") if len(optimiser.param_groups) == 1 else nan,
        "eps": eps,
        "state": float(any(optimiser.state.get(parameter) for parameter in held)),
        "eps_zero": float(low is not None),
    }
    where = tuple(dict.fromkeys(names[id(parameter)] for parameter in held if id(parameter) in names))
    return Evidence("optimiser", where, (step, step), figures, {"kind": kind, "dtype": str(low or "").removeprefix("torch.")})
