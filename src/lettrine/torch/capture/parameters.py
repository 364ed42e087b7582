"""The parameters in one optimiser step: values before and after, gradients, and changes of the gradients before the step.

The hooks of the optimiser copy all, just before and just after its step. So the update is measured, not computed by a formula,
and is right for every optimiser.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lettrine.health.duplicates import duplicates
from lettrine.health.measure import ParameterArrays
from lettrine.health.trace import ParameterInfo
from lettrine.torch.capture.catalogue import parameter_info
from lettrine.torch.capture.copies import Batch, Copy, dense, local, measurable
from lettrine.torch.capture.settings import setting
from lettrine.torch.capture.sharding import gathers
from lettrine.torch.capture.witness import Witnesses

_PARAMETER, _REQUIRES_GRAD = attrgetter("parameter"), attrgetter("requires_grad")


class ParameterCapture:
    """One parameter: copies of its values before and after a step and of its gradient."""

    def __init__(self, parameter: nn.Parameter, info: ParameterInfo) -> None:
        self.parameter = parameter
        self.info = info
        self.group: dict[str, Any] | None = None  # the number of the optimiser that holds it
        self.optimiser = -1
        self.before, self.after, self.gradient = Copy(), Copy(), Copy()
        self.has_before = self.has_after = self.has_gradient = False

    def copies(self) -> list[Copy]:
        """All that may have to be fetched."""
        taken = ((self.before, self.has_before), (self.after, self.has_after), (self.gradient, self.has_gradient))
        return [copy for copy, there in taken if there]

    def arrays(self, gradient_scale: float) -> ParameterArrays:
        """The arrays for `health.measure.ParameterPlan`; gradients are divided by the loss scale."""
        gradient = self.gradient.array if self.has_gradient else None
        if gradient is not None and gradient_scale != 1.0:
            gradient = gradient / gradient.dtype.type(gradient_scale)
        return ParameterArrays(self.before.array, self.after.array if self.has_after else None, gradient, size=self.before.size)

    @property
    def learning_rate(self) -> float:
        """The learning rate of its optimiser; NaN if it has none."""
        return nan if self.group is None else setting(self.group, "lr")

    def duplicate(self) -> float:
        """The result of `health.duplicates` for the whole matrix before the step; NaN if only a part was copied."""
        whole = self.parameter.ndim > 1 and self.before.size == self.before.array.size
        return duplicates(self.before.array) if whole else nan


class ParameterGroup:
    """Parameters that are copied together."""

    def __init__(self, captures: Sequence[ParameterCapture]) -> None:
        self.captures = captures
        self._held: list[Tensor] = [capture.parameter for capture in captures]
        before, gradient = [capture.before for capture in captures], [capture.gradient for capture in captures]
        self._before, self._gradient, self._both = Batch(before), Batch(gradient), Batch(before + gradient)
        self._after = Batch([capture.after for capture in captures])

    @property
    def _parameters(self) -> list[Tensor]:
        """The part of each that this process holds."""
        return [local(parameter) for parameter in self._held]

    def take_before(self) -> None:
        """Copy the values."""
        self._before.take(self._parameters)
        for capture in self.captures:
            capture.has_before = True

    def take_before_and_gradients(self) -> None:
        """Copy the values, and the gradients that exist."""
        gradients = self._gradients()
        if gradients is None:
            self.take_before()
            self.take_gradients()
            return
        self._both.take(self._parameters + gradients)
        for capture in self.captures:
            capture.has_before = capture.has_gradient = True

    def take_gradients(self) -> None:
        """Copy the gradients that exist."""
        gradients = self._gradients()
        if gradients is not None:
            self._gradient.take(gradients)
            for capture in self.captures:
                capture.has_gradient = True
            return
        for capture in self.captures:
            found = dense(capture.parameter.grad)
            if found is not None:
                capture.gradient.take(found)
                capture.has_gradient = True

    def take_after(self) -> None:
        """Copy the values after the step, if those before it were copied."""
        if all(capture.has_before for capture in self.captures):
            self._after.take(self._parameters)
            for capture in self.captures:
                capture.has_after = True

    def _gradients(self) -> list[Tensor] | None:
        """All gradients; None if one is missing or sparse."""
        found = [parameter.grad for parameter in self._held]
        gradients = [local(gradient) for gradient in found if gradient is not None and gradient.layout is torch.strided]
        return gradients if len(gradients) == len(found) else None


class ParameterProbe:
    """The parameters of one model, and the optimisers that move them. Each parameter once, by its first name.

    witnesses: follow a few of the gradients. remote: whether a parameter is on another device. gathered: whether FSDP computes
    with other tensors than these. all: all parameters, which are copied together.
    """

    def __init__(self, model: nn.Module, optimisers: Sequence[Optimizer]) -> None:
        self._model = model
        self._optimisers = optimisers
        self._sizes: list[int] = []  # of the groups of parameters
        self._trained: list[bool] = []
        self._once_held: set[int] = set()  # parameters that an optimiser holds, or held before another took its place
        self.witnesses = Witnesses()
        self._waiting = True
        self._new = False
        self.remote = False
        self.gathered = False
        self.captures: list[ParameterCapture] = []
        self.all = ParameterGroup([])
        self._groups: list[ParameterGroup] = []
        self._firsts: list[ParameterGroup] = []

    def grouped(self) -> bool:
        """Whether all parameters are known, and the optimisers hold as many as at the last look."""
        sizes = [len(group["params"]) for each in self._optimisers for group in each.param_groups]
        return sizes == self._sizes and not self._waiting

    def renew(self) -> None:
        """Another optimiser moves them: look again at who holds which."""
        self._sizes = [-1]

    def refresh(self) -> None:
        """If something changed, look again which parameters there are and which optimiser moves each."""
        if self.grouped() and self._trained == list(map(_REQUIRES_GRAD, map(_PARAMETER, self.captures))):
            return
        self._sizes = [len(group["params"]) for each in self._optimisers for group in each.param_groups]
        self._new = True
        holder = {
            id(parameter): (place, group)
            for place, optimiser in enumerate(self._optimisers)
            for group in optimiser.param_groups
            for parameter in group["params"]
        }
        known = {id(capture.parameter): capture for capture in self.captures}
        self._waiting, self.captures = False, []
        self.gathered = gathers(self._model)
        for name, parameter in self._model.named_parameters():
            if isinstance(parameter, nn.UninitializedParameter):
                self._waiting = True  # of a lazy module that was not called yet
                continue
            if not measurable(local(parameter)):
                continue  # of a sharded parameter this process may hold no part
            place, group = holder.get(id(parameter), (-1, None))
            self._once_held |= {id(parameter)} if group is not None else set()
            optimised = id(parameter) in self._once_held if self._optimisers else None
            info = parameter_info(self._model, name, parameter, optimised)
            capture = known.get(id(parameter)) or ParameterCapture(parameter, info)
            capture.info, capture.optimiser, capture.group = info, place, group
            self.captures.append(capture)
            self.remote = self.remote or not parameter.is_cpu
        self._trained = list(map(_REQUIRES_GRAD, map(_PARAMETER, self.captures)))
        by_place = [
            [capture for capture in self.captures if capture.optimiser == place] for place in range(len(self._optimisers))
        ]
        unheld = [capture for capture in self.captures if capture.optimiser < 0]
        self.all = ParameterGroup(self.captures)
        self._groups = [ParameterGroup(captures) for captures in by_place]
        self._firsts = [ParameterGroup(captures + unheld) for captures in by_place] if unheld else self._groups
        followed = by_place or [self.captures]  # of steps made by hand: all
        self.witnesses.choose([[capture.parameter for capture in captures] for captures in followed])

    def new_infos(self) -> list[ParameterInfo]:
        """The facts about each parameter, if they changed since the last call of this method."""
        new, self._new = self._new, False
        return [capture.info for capture in self.captures] if new else []

    def forget(self) -> None:
        """Begin a new step."""
        for capture in self.captures:
            capture.has_before = capture.has_after = capture.has_gradient = False
        self.witnesses.dismiss()

    def of(self, place: int, *, first: bool = False) -> ParameterGroup:
        """The parameters of one optimiser; with `first`, also those that no optimiser holds."""
        return self._firsts[place] if first else self._groups[place]
