"""One optimiser step as its parameters see it: values before and after, gradients, and what was done to the gradients between.

Everything is copied in the optimiser's own hooks, just before and just after its step, so the update measured is the one
really made, whatever the optimiser.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import nan, sqrt
from operator import attrgetter
from typing import Any, Final, Protocol

import torch
from torch import Tensor, nn
from torch.compiler import is_compiling
from torch.optim import Optimizer

from lettrine.errors import HealthError
from lettrine.health.duplicates import duplicates
from lettrine.health.measure import ParameterArrays
from lettrine.health.trace import Facts, ParameterInfo
from lettrine.torch.capture.catalogue import parameter_info
from lettrine.torch.capture.copies import Batch, Copy, dense, local, measurable
from lettrine.torch.capture.outputs import BatchNorm
from lettrine.torch.capture.sharding import gathers

_PARAMETER, _REQUIRES_GRAD = attrgetter("parameter"), attrgetter("requires_grad")
_IDLE: Final = 16  # steps of one optimiser after which another that has not stepped is no longer waited for
_WITNESSES: Final = 2  # parameters of each optimiser whose gradients are followed from the backward pass to the step
_SAME: Final = 1e-3  # by which two sums of squares of one gradient may differ, relative
_CLIPPED: Final = 1e-3  # a gradient this much smaller at the step than after the backward pass was clipped


class Wrapped(Protocol):
    """What libraries put around an optimiser."""

    @property
    def optimizer(self) -> Optimizer:
        """The one inside."""
        ...


class ParameterCapture:
    """One parameter: copies of its values before and after a step and of its gradient."""

    def __init__(self, parameter: nn.Parameter, info: ParameterInfo) -> None:
        self.parameter = parameter
        self.info = info
        self.group: dict[str, Any] | None = None  # of the optimiser that holds it
        self.optimiser = -1
        self.before, self.after, self.gradient = Copy(), Copy(), Copy()
        self.has_before = self.has_after = self.has_gradient = False

    def copies(self) -> list[Copy]:
        """All that may have to be fetched."""
        taken = ((self.before, self.has_before), (self.after, self.has_after), (self.gradient, self.has_gradient))
        return [copy for copy, there in taken if there]

    def arrays(self, gradient_scale: float) -> ParameterArrays:
        """What `health.measure.ParameterPlan` wants; gradients divided by the loss scale."""
        gradient = self.gradient.array if self.has_gradient else None
        if gradient is not None and gradient_scale != 1.0:
            gradient = gradient / gradient.dtype.type(gradient_scale)
        return ParameterArrays(self.before.array, self.after.array if self.has_after else None, gradient, size=self.before.size)

    @property
    def learning_rate(self) -> float:
        """Of the optimiser that holds it; NaN if none does."""
        return nan if self.group is None else float(self.group.get("lr", nan))

    def duplicate(self) -> float:
        """What `health.duplicates` says of the whole matrix before the step; NaN if only a part was copied."""
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
        """What this process holds of each."""
        return [local(parameter) for parameter in self._held]

    def take_before(self) -> None:
        """Copy the values."""
        self._before.take(self._parameters)
        for capture in self.captures:
            capture.has_before = True

    def take_before_and_gradients(self) -> None:
        """Copy the values and the gradients there are."""
        gradients = self._gradients()
        if gradients is None:
            self.take_before()
            self.take_gradients()
            return
        self._both.take(self._parameters + gradients)
        for capture in self.captures:
            capture.has_before = capture.has_gradient = True

    def take_gradients(self) -> None:
        """Copy the gradients there are."""
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
        """Copy the values the step has made, if those before it were copied."""
        if all(capture.has_before for capture in self.captures):
            self._after.take(self._parameters)
            for capture in self.captures:
                capture.has_after = True

    def _gradients(self) -> list[Tensor] | None:
        """All gradients; None if one is missing or sparse."""
        found = [parameter.grad for parameter in self._held]
        gradients = [local(gradient) for gradient in found if gradient is not None and gradient.layout is torch.strided]
        return gradients if len(gradients) == len(found) else None


class Witness:
    """One parameter's gradient, followed from the backward pass to the step.

    leftover: whether every backward pass since the last step found an earlier gradient in place; None if none came.
    squares: sum of squares the gradient has when the backward pass is over, if it is added to what was there.
    """

    def __init__(self, capture: ParameterCapture) -> None:
        self.capture = capture
        self.leftover: bool | None = None
        self.squares: Tensor | None = None
        self._earlier: Tensor | None = None
        self.handle: Any = capture.parameter.register_hook(self._guarded)  # type: ignore[no-untyped-call]

    def _guarded(self, gradient: Tensor) -> None:
        if is_compiling():
            return
        try:
            self._arrives(local(gradient.detach()))
        except Exception:  # noqa: BLE001  without an answer nothing is claimed, and the user's backward pass goes on
            self.leftover = self.squares = None

    def _arrives(self, gradient: Tensor) -> None:
        if gradient.layout is not torch.strided:
            return
        self._earlier = earlier = self.capture.parameter.grad
        if earlier is not None and earlier.layout is torch.strided:
            earlier = local(earlier.detach())
            present = bool(earlier.count_nonzero())
            self.leftover = present if self.leftover is None else self.leftover and present
            gradient = gradient + earlier if present else gradient
        else:
            self.leftover = False
        self.squares = squares(gradient)

    @property
    def added_up(self) -> bool:
        """Whether the gradient at the step is the earlier one with the new one added. What `torch.autograd.grad` returns is added
        to nothing, and may be put in its place, as in training with private gradients.
        """
        now = self.capture.parameter.grad
        if now is None or now is self._earlier or self.squares is None or now.layout is not torch.strided:
            return now is self._earlier  # autograd adds in place, unless it builds a graph of the backward pass
        return abs(float(squares(local(now.detach()))) / max(float(self.squares), 1e-30) - 1) < _SAME


def squares(gradient: Tensor) -> Tensor:
    """Sum of squares, still on its device."""
    flat = gradient.reshape(-1)
    if flat.dtype not in (torch.float32, torch.float64):
        flat = flat.float()
    return torch.dot(flat, flat)


class ParameterProbe:
    """The parameters of one model and the optimisers that move them. Each parameter once, by its first name."""

    def __init__(self, model: nn.Module, optimisers: Sequence[Optimizer]) -> None:
        self._model = model
        self._optimisers = optimisers
        self._sizes: list[int] = []  # of the groups of parameters
        self._trained: list[bool] = []
        self._witnesses: list[Witness] = []
        self._followed: list[ParameterCapture] = []
        self._waiting = True
        self._new = False
        self.remote = False
        self.gathered = False  # whether FSDP computes with others than these
        self.captures: list[ParameterCapture] = []
        self.all = ParameterGroup([])
        self._groups: list[ParameterGroup] = []
        self._firsts: list[ParameterGroup] = []

    def grouped(self) -> bool:
        """Whether all are known, and the optimisers hold as many as when this was last looked at."""
        sizes = [len(group["params"]) for each in self._optimisers for group in each.param_groups]
        return sizes == self._sizes and not self._waiting

    def refresh(self) -> None:
        """Look again at which parameters there are and who moves them, if something changed."""
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
                self._waiting = True  # a lazy module that has not run yet
                continue
            if not measurable(local(parameter)):
                continue  # of a parameter held in parts this process may have none
            place, group = holder.get(id(parameter), (-1, None))
            optimised = group is not None if self._optimisers else None
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
        self._followed = [capture for captures in by_place for capture in _witnesses_among(captures)]

    def new_infos(self) -> list[ParameterInfo]:
        """What is known of each parameter, if that changed since this was last asked."""
        new, self._new = self._new, False
        return [capture.info for capture in self.captures] if new else []

    def forget(self) -> None:
        """Begin a new step."""
        for capture in self.captures:
            capture.has_before = capture.has_after = capture.has_gradient = False
        self.dismiss()

    def follow(self) -> None:
        """Follow the gradients of a few parameters of each optimiser through this step."""
        self._witnesses += [
            Witness(capture) for capture in self._followed if capture.parameter.requires_grad and capture.parameter.is_leaf
        ]

    def dismiss(self) -> None:
        """Stop following."""
        for witness in self._witnesses:
            witness.handle.remove()
        self._witnesses.clear()

    def of(self, place: int, *, first: bool = False) -> ParameterGroup:
        """The parameters of one optimiser; with `first`, also those that none holds."""
        return self._firsts[place] if first else self._groups[place]

    def leftover(self, place: int) -> float:
        """1 where backward passes found gradients of an earlier step of this optimiser in place, 0 where they did not, NaN if
        no backward pass was seen.
        """
        of_this = [witness for witness in self._witnesses if witness.capture.optimiser == place]
        answers = [witness.leftover and witness.added_up for witness in of_this if witness.leftover is not None]
        return float(any(answers)) if answers else nan

    def clipped(self, place: int, scale: float) -> float:
        """1 where this optimiser's gradients shrank between the backward pass and the step, 0 where they did not, NaN if no
        backward pass was seen. scale: by what the GradScaler has divided them meanwhile. To be asked just before the step.
        """
        answers = []
        for witness in self._witnesses:
            gradient = witness.capture.parameter.grad
            if witness.capture.optimiser != place or witness.squares is None or gradient is None:
                continue
            if gradient.layout is not torch.strided:
                continue
            at_backward, at_step = float(witness.squares), float(squares(local(gradient.detach())))
            if 0.0 < at_backward < float("inf") and at_step < float("inf"):
                answers.append(scale * sqrt(at_step / at_backward) < 1.0 - _CLIPPED)
        return float(any(answers)) if answers else nan


class Turns:
    """Which of several optimisers have stepped since all had."""

    def __init__(self, count: int) -> None:
        self._steps, self._idle = [0] * count, [0] * count

    @property
    def fresh(self) -> bool:
        """Whether none has stepped yet."""
        return not any(self._steps)

    def complete(self, place: int) -> bool:
        """One of them has stepped: whether all have now, those apart that have been idle for long."""
        if len(self._steps) == 1:
            return True
        self._steps[place] += 1
        self._idle = [0 if other == place else steps + 1 for other, steps in enumerate(self._idle)]
        if any(not steps and idle < _IDLE for steps, idle in zip(self._steps, self._idle, strict=True)):
            return False
        self._steps = [0] * len(self._steps)
        return True


def _witnesses_among(captures: Sequence[ParameterCapture]) -> list[ParameterCapture]:
    """A few of one optimiser's parameters, matrices if there are any: the first and the last."""
    able = [capture for capture in captures if capture.parameter.requires_grad and capture.parameter.is_leaf]
    wide = [capture for capture in able if capture.parameter.ndim > 1] or able
    return list({id(capture): capture for capture in (wide[:1] + wide[-1:])[:_WITNESSES]}.values())


def run_facts(known: Facts, model: nn.Module, optimisers: Sequence[Optimizer]) -> Facts:
    """What is known of the optimisers and of batch norm, beside what is known already."""
    groups = [group for optimiser in optimisers for group in optimiser.param_groups]
    momenta = [group.get("momentum", group.get("betas", (nan,))[0]) for group in groups]
    norms = [module.momentum for module in model.modules() if isinstance(module, BatchNorm)]
    return replace(
        known,
        optimiser=", ".join(dict.fromkeys(type(optimiser).__name__ for optimiser in optimisers)),
        momentum=float(momenta[0]) if momenta else nan,
        norm_momentum=next((float(share) for share in norms if share is not None), nan),
    )


def optimisers_of(given: Optimizer | Wrapped | Iterable[Optimizer | Wrapped] | None) -> list[Optimizer]:
    """As a list, without the wrappers that libraries put around an optimiser."""
    if given is None:
        return []
    listed: list[Any] = [given] if hasattr(given, "param_groups") or not isinstance(given, Iterable) else list(given)
    found = []
    for optimiser in listed:
        inner = optimiser
        while isinstance(getattr(inner, "optimizer", None), Optimizer):
            inner = inner.optimizer
        if not isinstance(inner, Optimizer):
            raise HealthError(
                f"watch got a {type(inner).__name__} as optimizer; expected a torch.optim.Optimizer, or a list of them"
            )
        found.append(inner)
    return found
