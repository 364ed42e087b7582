"""What a sampled step costs once the network is known: hooks in as few operations as can be, and figures read in place.

A step is quick when the same modules gave outputs of the same shapes as before, all of them held and left as they were, and
every parameter has its gradient. Then nothing is copied but the parameters before the step, and no array is made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import nan
from typing import Any, Final

import torch
from torch import Tensor, nn

from lettrine.health.duplicates import duplicates
from lettrine.health.live import Frame, LiveOutput, LivePlan, reader
from lettrine.health.parts import CAP
from lettrine.torch.steps import ParameterTap
from lettrine.torch.taps import Call, Listener, Root, Tap

TENSORS: Final = reader(Tensor)
_graph_task = torch._C._current_graph_task_id  # noqa: SLF001  see `recomputing`
_level = torch._C._functorch.maybe_current_level  # noqa: SLF001  inside a function transform; no public way to ask
_grad_enabled = torch.is_grad_enabled


class QuickListener(Listener):
    """The forward hook of a module whose output can be held: the common case in as few operations as can be."""

    __slots__ = ("_append", "_call", "_shape", "_tap")

    def __init__(self, tap: Tap, held: list[Call], otherwise: Callable[..., None]) -> None:
        super().__init__(otherwise)
        self._tap, self._call, self._shape, self._append = tap, tap.calls[0], tap.steady, held.append

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """A module has been called."""
        tap = self._tap
        if (
            type(output) is not Tensor
            or tap.used
            or output.shape != self._shape
            or tap.steady is not self._shape  # this hook is out of date
            or output.is_leaf  # nothing is differentiated
            or output.retains_grad  # the user wants it: not ours to clear
            or _graph_task() != -1
            or _level() is not None
        ):
            self._function(module, args, output)
            return
        output.retain_grad()
        call = self._call
        call.arrived, call.quick, call.tensor, call.version = False, True, output, output._version  # noqa: SLF001  changes in place
        tap.used = 1
        self._append(call)


class QuickReturn(Listener):
    """The forward hook of a module the user calls, where it has nothing to say itself: to note that the call has returned."""

    __slots__ = ("_hears", "_root")

    def __init__(self, root: Root, hears: Callable[[], bool], otherwise: Callable[..., None]) -> None:
        super().__init__(otherwise)
        self._root, self._hears = root, hears

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """The module has been called."""
        if self._hears():
            self._function(module, args, output)
        elif _grad_enabled():
            self._root.complete = True


class QuickSteps:
    """Measures the steps that are quick, and hands over their figures together."""

    def __init__(self) -> None:
        self._plan: LivePlan | None = None
        self._parameters: list[Tensor] = []
        self._groups: list[dict[str, Any]] = []
        self._open = False  # measured before the step, not yet after it

    @property
    def full(self) -> bool:
        """Whether `frame` must be called before another step is taken."""
        return self._plan is not None and self._plan.full

    @property
    def opened(self) -> bool:
        """Whether the step that is being made is a quick one."""
        return self._open

    def learn(self, modules: Sequence[Tap] | None, parameters: Sequence[ParameterTap]) -> None:
        """See whether a step that was copied could have been a quick one; no step is kept when this is called."""
        if TENSORS is None or modules is None or not _plain(modules, parameters):
            self._plan = None
            return
        tables = [(tap, tap.calls[0].output.array) for tap in modules]
        shapes = [LiveOutput(tap.name, len(table), table.shape[1], tap.activation) for tap, table in tables]
        sizes = [(tap.info.name, tap.before.size) for tap in parameters]
        self._parameters = [tap.parameter for tap in parameters]
        different = {id(tap.group): tap.group or {} for tap in parameters}
        self._groups = list(different.values())
        groups = [list(different).index(id(tap.group)) for tap in parameters]
        if self._plan is None or (shapes, sizes, groups) != (self._plan.outputs, self._plan.parameters, self._plan.groups):
            self._plan = LivePlan(TENSORS, shapes, sizes, groups)

    def before(self, outputs: list[Tensor] | None, *, step: int, detail: bool) -> bool:
        """Measure just before the step, if it is a quick one, with histograms and maps if `detail`."""
        plan = self._plan
        if plan is None or outputs is None or not plan.before(self._parameters, outputs):
            return False
        if detail:
            plan.detail(step)
            for place in plan.mapped:
                tensor = outputs[place].detach().half()  # a copy: a numpy view of it forbids a tensor ever to be resized
                plan.map(place, tensor.reshape(-1, tensor.shape[-1]).numpy())
        self._open = True
        return True

    def after(self) -> None:
        """Measure just after the step."""
        if self._plan is not None:
            self._plan.after(self._parameters)

    def drop(self) -> None:
        """Forget the step that was measured before it was made."""
        self._open = False

    def keep(self, step: int, stats: dict[str, float], *, search: bool) -> None:
        """The step is over. stats: its figures that are not those of modules and parameters, to which the loss may be added yet.
        search: also for units that are copies of each other.
        """
        if self._plan is None:
            return
        duplicate = None
        if search:
            earlier = zip(self._plan.earlier(), self._parameters, strict=True)
            duplicate = [duplicates(values.reshape(tuple(parameter.shape))) for values, parameter in earlier]
        self._plan.keep(step, stats, [group.get("lr", nan) for group in self._groups], duplicate)

    def frame(self) -> Frame | None:
        """The figures of the steps kept so far, None if there are none."""
        return None if self._plan is None else self._plan.frame()


def _plain(modules: Sequence[Tap], parameters: Sequence[ParameterTap]) -> bool:
    """Whether all is small, of float32, on the CPU and was all there."""
    copies = [copy for tap in modules for copy in tap.copies()] + [copy for tap in parameters for copy in tap.copies()]
    whole = all(tap.has_before and tap.has_after and tap.has_gradient for tap in parameters)
    calls = [tap.calls[0] for tap in modules]
    return (
        whole
        and all(type(tap.parameter) in (Tensor, nn.Parameter) for tap in parameters)  # others may have no memory of their own
        and all(call.arrived and call.tap.axis == -1 for call in calls)
        and all(copy.remote is None and copy.size <= CAP and copy.array.dtype == "float32" for copy in copies)
    )
