"""Outputs that are passed on without their graph: the next loss does not train the modules that made them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from torch import nn

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.functions import ModuleCall
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.capture.outputs import tensors_in
from lettrine.torch.graph.walks import fresh_random


@reader
class Detached:
    """Evidence "detached": a module gets the same values that another module made, but without their graph.

    where: the module that made them, the module that got them. figures: looks (that showed it), passes (backward passes looked
    at). For a generator and its critic this is right in the critic's pass and wrong in the generator's.
    """

    whole: ClassVar[bool] = True

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], int] = {}
        self._passes = 0
        self._last = 0

    def look(self, look: Look) -> Iterable[Evidence]:
        """Compare the inputs of modules with the outputs of trained modules."""
        self._passes += 1
        self._last = look.step
        made: dict[int, str] = {}
        met = set()
        for call in look.modules:
            for tensor in tensors_in(call.args):
                maker = made.get(tensor.data_ptr()) if tensor.numel() and not tensor.requires_grad else None
                if maker is not None and maker != call.name and not call.name.startswith(f"{maker}."):
                    met.add((maker, call.name))
            if _trained(call.module):
                for tensor in tensors_in(call.output):
                    if tensor.requires_grad and tensor.numel():
                        # several modules may return one tensor: the outermost comes last and gives the name
                        made[tensor.data_ptr()] = call.name
        for pair in met:
            self._found[pair] = self._found.get(pair, 0) + 1
        return ()

    def finish(self) -> Iterable[Evidence]:
        """Every pair that was found."""
        for pair, count in self._found.items():
            yield Evidence("detached", pair, (0, self._last), {"looks": float(count), "passes": float(self._passes)})


@reader
class WithoutGraph:
    """Evidence "without graph": modules called under no_grad or inference_mode. Their outputs have no graph, although their
    parameters require gradients.

    where: their names, in order of the first call. figures: looks (at which all outputs had no graph), all (looks), fresh (1 if
    one of their matrices still had its random start values at the first look). A network that is called without a graph as a
    whole, such as one that makes targets, is not reported: a trained module must be called in the same pass.
    """

    whole: ClassVar[bool] = True

    def __init__(self) -> None:
        self._names: dict[str, bool] | None = None  # by name: whether it still has its random start values
        self._looks = 0
        self._last = 0

    def look(self, look: Look) -> Iterable[Evidence]:
        """Compare the parameters of modules with their outputs."""
        if look.place or not look.modules:
            return ()
        self._last = look.step
        self._looks += 1
        traced = {call.root for call in look.modules if any(tensor.requires_grad for tensor in tensors_in(call.output))}
        names = {call.name: call.module for call in look.modules if call.root in traced and _untraced(call)}
        for call in look.modules:
            if call.name in names and any(tensor.requires_grad for tensor in tensors_in(call.output)):
                del names[call.name]
        if self._names is None:
            self._names = {name: any(map(fresh_random, module.parameters(recurse=False))) for name, module in names.items()}
        self._names = {name: fresh for name, fresh in self._names.items() if name in names}
        return ()

    def finish(self) -> Iterable[Evidence]:
        """Modules that had no graph at every look."""
        if self._names:
            figures = {"looks": float(self._looks), "fresh": float(any(self._names.values()))}
            yield Evidence("without graph", tuple(self._names), (0, self._last), figures)


def _untraced(call: ModuleCall) -> bool:
    own = any(parameter.requires_grad for parameter in call.module.parameters(recurse=False))
    answers = [tensor for tensor in tensors_in(call.output) if tensor.is_floating_point()]
    return own and bool(answers) and not any(tensor.requires_grad for tensor in answers)


def _trained(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())
