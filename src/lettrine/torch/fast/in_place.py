"""Sampled steps of a known network: compiled hooks measure tensors where they lie in memory.

If everything is float32 and on the CPU, the compiled hooks of `lettrine.health.live` measure an output when it is made, its
gradient when it arrives, and parameters around the step. Only the parameters before the step are copied. No array is made, and no
tensor is kept alive. A step that is not like the one before (another batch size, a module called twice) is copied, as in an
unknown network. If this shows only after some outputs were measured in place, the step has no figures of these. After a few such
steps, all steps of the network are copied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from math import nan
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lettrine.health.duplicates import duplicates
from lettrine.health.live import STEPS, LiveOutput, LivePlan
from lettrine.health.moments import native
from lettrine.health.parts import CAP, Picked
from lettrine.health.recorder import Recorder
from lettrine.torch.capture.copies import rows
from lettrine.torch.capture.guard import Guard
from lettrine.torch.capture.outputs import OutputCapture
from lettrine.torch.capture.parameters import ParameterCapture
from lettrine.torch.capture.settings import setting
from lettrine.torch.fast.counting import StepCounter
from lettrine.torch.fast.hooks import OutputHooks
from lettrine.torch.private import graph_task, transform_level

_MISSED: Final = 3  # after so many unexpected steps in a row the network counts as unknown
_SPOILED: Final = 3  # after so many steps that lost figures all steps are copied
MOST: Final = 4_096  # a network of more tensors is copied: each takes memory in the tables of figures
_grad_enabled = torch.is_grad_enabled


class StepsInPlace:
    """Measures steps in place, and hands over the figures of several steps together.

    tensors: reads tensors in place; None if the fast path is off. counter: the step counter of the watch. before: called before
    each step of the optimiser, except in a run of steps without Python (see `go_on`). paused: called when such a run is over.

    hooks: of the optimiser, before and after its step. opened: whether parameters were measured before the present step, and not
    yet after it.
    """

    def __init__(
        self, tensors: Any, counter: StepCounter, guard: Guard, before: Callable[..., None], paused: Callable[[], None]
    ) -> None:
        self._tensors, self._guard = tensors, guard
        self._run: Any = None
        self.hooks: tuple[Callable[..., None], Callable[..., None]] = before, counter.stepped
        if tensors is not None:
            self._run = native.Run(counter, before, paused, _grad_enabled, graph_task, transform_level)
            self.hooks = self._run.before, self._run.stepped
        self._plan: LivePlan | None = None
        self._captures: Sequence[OutputCapture] = []
        self._parameters: list[Tensor] = []
        self._groups: list[dict[str, Any]] = []
        self._maps: list[tuple[int, NDArray[np.float16]]] = []  # of the step being made
        self._stats: dict[str, float] = {}  # of every step of a run
        self._counted: OutputCapture | None = None  # whose gradient was copied in the present step
        self._detail = False
        self._missed = 0  # steps in a row that should have been measured in place and could not be
        self._spoiled = 0  # all such steps in which some outputs have no figures
        self._listening = False  # to the step that is being made
        self._output_hooks: OutputHooks | None = None
        self.opened = False

    @property
    def full(self) -> bool:
        """Whether they must be handed over before another step is taken."""
        return self._plan is not None and self._plan.full

    def learn(
        self, modules: Sequence[OutputCapture] | None, parameters: Sequence[ParameterCapture], groups: list[dict[str, Any]]
    ) -> None:
        """A step was copied. If the network is not known yet, find out whether steps like it can be measured in place.

        Call it when no step is kept. groups: of the optimiser.
        """
        if self._output_hooks is not None:
            return
        if self._run is None or modules is None or self._spoiled >= _SPOILED or not _plain(modules, parameters):
            self._plan = None
            return
        shapes = [
            LiveOutput(capture.name, Picked.of_output(capture.calls[0].output.shape), capture.activation) for capture in modules
        ]
        sizes = [(capture.info.name, Picked.of_parameter(capture.parameter.shape)) for capture in parameters]
        self._captures, self._parameters = modules, [capture.parameter for capture in parameters]
        self._groups = list(groups)
        places = {id(group): place for place, group in enumerate(groups)}
        held = [
            places.get(id(capture.group), len(groups)) for capture in parameters
        ]  # one that no group holds has no learning rate
        if self._plan is None or (shapes, sizes, held) != (self._plan.outputs, self._plan.parameters, self._plan.groups):
            self._plan = LivePlan(self._tensors, shapes, sizes, held, partial(self._guard, self._look))
        self._output_hooks, self._missed = OutputHooks(self._plan.live, modules, self._run), 0

    def listen(self, *, copied: bool, detail: bool, counted: str = "") -> OutputHooks | None:
        """A step begins. Returns the hooks that measure it in place, None if it is copied. copied: whether it has to be.

        detail: with histograms and maps. counted: the module whose output gradient is copied all the same.
        """
        self._listening = not copied and self._output_hooks is not None
        if self._plan is None or not self._listening:
            return None
        self._detail, self._maps, self._counted = detail, [], None
        looked = self._plan.mapped if detail else []
        self._plan.listen(
            detail=detail,
            looked=looked
            + [len(self._captures) + place for place, capture in enumerate(self._captures) if capture.name == counted],
        )
        return self._output_hooks

    def _look(self, place: int, tensor: Tensor) -> None:
        """Called with each output or gradient that `listen` asked for."""
        if place < len(self._captures):
            # A copy, since a tensor with a numpy view cannot be resized.
            table = rows(tensor.detach(), -1) if tensor.numel() > CAP else tensor.detach()
            self._maps.append((place, table.half().reshape(-1, table.shape[-1]).numpy()))
        else:
            capture = self._captures[place - len(self._captures)]
            capture.calls[0].gradient.take(tensor, capture.gradient_axis)
            capture.used, capture.calls[0].arrived = 1, True
            self._counted = capture

    def before(self) -> bool:
        """Measure parameters just before the step, if the step is as expected."""
        plan = self._plan
        if plan is None or not self._listening:
            return False
        self.opened = plan.before(self._parameters)
        if self.opened:
            self._missed = 0
        return self.opened

    def miss(self) -> None:
        """The step that begins is not as expected. All that was not measured in place is copied."""
        if self._output_hooks is None or not self._listening:
            return
        live = self._output_hooks.live
        if live.expected:
            for place in live.unanswered():
                self._captures[place].lost = True  # it was changed in place; torch then loses our hook on it
        live.expected, self._missed = False, self._missed + 1
        self._spoiled += live.heard > 0
        if self._counted is not None:
            self._counted.used = 0  # of its output there is no copy
        if live.heard or self._output_hooks.outdated or self._missed >= _MISSED:
            self._output_hooks = None

    @property
    def running(self) -> bool:
        """Whether steps are made without Python."""
        return self._run is not None and bool(self._run.running)

    def go_on(self, modules: Iterable[nn.Module], until: int, stats: dict[str, float]) -> bool:
        """Measure the steps up to `until` without Python, as long as each is like the one before. `ran` gives their figures.

        Returns whether that is possible. If a GradScaler begins to scale in between, this is seen only when the run is over.
        stats: figures that all these steps have.
        """
        if self._plan is None or not self._listening or self._detail or self._plan.full:
            return False
        self._stats = stats
        self._run.begin(self._plan.live, self._parameters, self._groups, list(modules), until, STEPS, CAP)
        return True

    def stop(self) -> None:
        """Let Python handle the next calls."""
        if self._run is not None:
            self._run.running = False

    def ran(self, next_step: int) -> list[tuple[int, dict[str, float]]]:
        """The steps without Python since the last call, up to `next_step`: number and figures of each.

        The figures are those given to `go_on`, and the learning rate. The caller may add more until `hand_over`.
        """
        count, rates = (0, []) if self._run is None else self._run.ran()
        if self._plan is None or not count:
            return []
        found = []
        for step, row in enumerate(np.reshape(rates, (count, len(self._groups))).tolist(), next_step - count):
            found.append((step, {**self._stats, "learning_rate": row[0]}))
            self._plan.kept(*found[-1], [*row, nan])
        return found

    def after(self) -> None:
        """Measure parameters just after the step."""
        if self._plan is not None:
            self._plan.after(self._parameters)

    def drop(self) -> None:
        """Forget the step whose parameters were measured before it."""
        self.opened = False

    def keep(self, step: int, stats: dict[str, float], *, search: bool) -> None:
        """The step is over. stats: its figures, except those of modules and parameters; the loss may be added later.

        search: also look for units that are copies of each other.
        """
        if self._plan is None:
            return
        duplicate = None
        if search:
            earlier = zip(self._plan.earlier(), self._parameters, strict=True)
            duplicate = [
                duplicates(values.reshape(tuple(parameter.shape))) if len(values) == parameter.numel() else nan
                for values, parameter in earlier
            ]
        rates = [setting(group, "lr") for group in self._groups]
        self._plan.keep(step, stats, [*rates, nan], duplicate, detail=self._detail)
        for place, table in self._maps:
            self._plan.map(place, table)

    def hand_over(self, recorder: Recorder) -> None:
        """Record the steps kept so far."""
        if self._plan is not None and (frame := self._plan.frame()) is not None:
            recorder.record_frame(frame)
            self._plan.restart()


def _plain(modules: Sequence[OutputCapture], parameters: Sequence[ParameterCapture]) -> bool:
    """Whether all tensors are float32, contiguous and on the CPU, and none is missing."""
    copies = [copy for capture in modules for copy in capture.copies()] + [
        copy for capture in parameters for copy in capture.copies()
    ]
    whole = all(capture.has_before and capture.has_after and capture.has_gradient for capture in parameters)
    calls = [capture.calls[0] for capture in modules]
    return (
        whole
        and len(copies) <= MOST
        and all(capture.parameter.is_contiguous() for capture in parameters)
        and all(
            type(capture.parameter) in (Tensor, nn.Parameter) for capture in parameters
        )  # subclasses may have no memory of their own
        and all(call.arrived and call.capture.axis == -1 for call in calls)
        and all(copy.remote is None and copy.array.size <= CAP and copy.array.dtype == "float32" for copy in copies)
    )
