"""Frozen weights that still have their random start values and lie between the input and the loss."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from math import prod, sqrt

import torch
from torch import Tensor, nn

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.capture.outputs import tensors_in
from lettrine.torch.graph.walks import fresh_random
from lettrine.torch.private import version


@reader
class FrozenRandom:
    """Evidence "frozen random": matrices without requires_grad that still have their random start values, feed trained layers,
    and did not change.

    where: their names. figures: count, values, share (of the values of all matrices of the model), steps. words: drawn.

    Not reported: a copy of another parameter (a target network); a parameter that other code changes (a moving average); a
    network that only makes targets (no trained layer stands before or after it).
    """

    def __init__(self) -> None:
        self._found: dict[str, tuple[weakref.ref[Tensor], int, str]] | None = None
        self._first = self._last = 0
        self._all = 1

    def look(self, look: Look) -> Iterable[Evidence]:
        """At the first look: find them. Later: note that they are still there."""
        self._last = look.step
        if self._found is None and look.modules:
            self._first, self._found = look.step, {}
            if frozen := never_trained(look.named):
                self._all = sum(each.numel() for each in look.named.values() if each.ndim > 1)
                on_the_way = _on_the_way(look)
                for name, drawn in frozen.items():
                    parameter = look.named[name]
                    if id(parameter) in on_the_way:
                        self._found[name] = weakref.ref(parameter), version(parameter), drawn
        return ()

    def finish(self) -> Iterable[Evidence]:
        """Matrices that did not change and are still frozen."""
        still = {}
        for name, (reference, then, drawn) in (self._found or {}).items():
            parameter = reference()
            if parameter is not None and version(parameter) == then and not parameter.requires_grad:
                still[name] = parameter.numel(), drawn
        if still:
            values = sum(count for count, _ in still.values())
            figures = {"count": len(still), "values": values, "share": values / self._all, "steps": self._last - self._first}
            drawn = next(iter(still.values()))[1]
            yield Evidence(
                "frozen random",
                tuple(still),
                (self._first, self._last),
                {name: float(value) for name, value in figures.items()},
                {"drawn": drawn},
            )


def never_trained(named: Mapping[str, Tensor]) -> dict[str, str]:
    """Names of frozen matrices that still have their random start values, and the distribution of each; none if nothing else is
    trained. A copy of a trained one is not among them.

    A short training hardly changes the distribution of normal values. So normal ones count only if nothing that is frozen was
    trained before, as a vector of unequal values or a matrix of another distribution shows.
    """
    trained = [each for each in named.values() if each.requires_grad]
    frozen = {
        name: each
        for name, each in named.items()
        if not each.requires_grad and not isinstance(each, nn.UninitializedParameter) and not each.is_meta
    }
    matrices = {name: each for name, each in frozen.items() if each.ndim > 1}
    drawn = {name: fresh_random(each) for name, each in matrices.items()}
    if any(each.startswith("normal") for each in drawn.values()):
        # What is too small to be sure of may be fresh as well, beside large ones that are.
        drawn |= {name: fresh_random(each, large=0) for name, each in matrices.items() if not drawn[name]}
        strange = any(not drawn[name] and not _constant(each) for name, each in matrices.items())
        if strange or any(_learned(name, each, matrices) for name, each in frozen.items() if each.ndim < 2):
            drawn = {name: each for name, each in drawn.items() if not each.startswith("normal")}
    return {
        name: each
        for name, each in drawn.items()
        if each and trained and not any(one.shape == frozen[name].shape and torch.equal(one, frozen[name]) for one in trained)
    }


def _constant(values: Tensor) -> bool:
    return bool((values == values.flatten()[0]).all()) if values.numel() else True


def _learned(name: str, vector: Tensor, matrices: Mapping[str, Tensor]) -> bool:
    """Whether a vector has neither one value nor values that torch draws for a bias."""
    weight = matrices.get(f"{name.rpartition('.')[0]}.weight".lstrip("."))
    bound = 1.0 / sqrt(prod(weight.shape[1:])) if weight is not None else 0.0
    return not _constant(vector) and float(vector.detach().abs().max()) > bound


def _on_the_way(look: Look) -> set[int]:
    """Frozen parameters of modules that stand after or before something trained.

    A trained module after them is given a tensor that is neither the model's own input nor differentiable.
    """
    given = {
        tensor.data_ptr()
        for root in look.roots
        for each in (root.args, list(root.kwargs.values()))
        for tensor in tensors_in(each)
    }
    found: set[int] = set()
    before: dict[int, set[int]] = {}  # By call of the model: frozen parameters met so far that have nothing trained before them.
    for call in look.modules:
        own = list(call.module.parameters(recurse=False))
        if not own:
            continue
        inputs = [tensor for tensor in tensors_in(call.args) if tensor.is_floating_point()]
        frozen = {id(parameter) for parameter in own if not parameter.requires_grad}
        if any(parameter.requires_grad for parameter in own):
            if inputs and not inputs[0].requires_grad and inputs[0].data_ptr() not in given:
                found |= before.get(call.root, set())
        elif inputs and inputs[0].requires_grad:
            found |= frozen
        else:
            before.setdefault(call.root, set()).update(frozen)
    return found
