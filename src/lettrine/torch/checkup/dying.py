"""Units that die at a rate: which ReLUs give 0 for every example, before some steps and after them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from math import isfinite, nan
from statistics import median
from typing import Any, Final, Self

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from lettrine.health.limits import CHECKUP_DIED, CHECKUP_FELL, CHECKUP_STUCK, TRIAL_STEPS, UPDATE_TIMID
from lettrine.torch.capture.catalogue import named_modules
from lettrine.torch.checkup.call import NotCalled
from lettrine.torch.checkup.task import Task
from lettrine.torch.checkup.trials import mean_loss
from lettrine.torch.devices import double

LOOKED_AT: Final = 4  # batches
EACH: Final = 10  # steps from one measurement of the pace to the next


@dataclass(frozen=True)
class Course:
    """Some steps at one rate. losses: of each step. first, last: their mean at the beginning and at the end. begun: the mean of
    the first batches before any step. dead: by the name of a module with a ReLU, the share of its units that are dead before and
    after. pace: how far the longest of some steps moves the weights, update:data, the median of all matrices.
    """

    losses: list[float]
    first: float
    last: float
    dead: dict[str, tuple[float, float]]
    pace: float = nan
    begun: float = nan

    @property
    def worst(self) -> tuple[str, float, float]:
        """The module in which most units died: its name, the share before and after; "" and zeros without a ReLU."""
        name = max(self.dead, key=lambda each: self.dead[each][1] - self.dead[each][0], default="")
        return (name, *self.dead.get(name, (0.0, 0.0)))

    def died(self, reference: float) -> bool:
        """Whether most units of a module died, and the loss is no better than that of the best constant answer."""
        _, before, after = self.worst
        return after - before > CHECKUP_DIED and self.last > CHECKUP_STUCK * reference

    @property
    def figures(self) -> dict[str, float]:
        """The pace, and by how much the share of dead units grew where most died."""
        died = {"died": self.worst[2] - self.worst[1]} if self.dead else {}
        return {"pace": self.pace, **died} if isfinite(self.pace) else died

    @property
    def crawls(self) -> bool:
        """Whether steps hardly move the weights, and the loss has not fallen."""
        return 0 < self.pace < UPDATE_TIMID and self.last > self.first - (1 - CHECKUP_FELL) * abs(self.first)


def course(task: Task, rate: Callable[[Task], AbstractContextManager[object]] | None = None) -> Course | None:
    """As many training steps as a trial takes, at the task's own rate or at another; None if there is no time for them."""
    if task.left() < TRIAL_STEPS * task.seconds:
        return None
    some = max(1, min(len(task.batches), TRIAL_STEPS // 4))
    with task.boxed(), rate(task) if rate else nullcontext():
        task.model.train()
        begun = mean_loss(task, range(some))
        before = dead_units(task)
        losses, paces = [], []
        for number in range(TRIAL_STEPS):
            weights = _matrices(task.model) if number % EACH == 0 else {}
            losses.append(task.step(number))
            paces += [_moved(task.model, weights)] if weights else []
        after = dead_units(task)
    first, last = sum(losses[:some]) / some, sum(losses[-some:]) / some
    dead = {name: (share, after.get(name, 0.0)) for name, share in before.items()}
    return Course(losses, first, last, dead, max(paces, default=nan), begun)


def _matrices(model: nn.Module) -> dict[str, Tensor]:
    return {name: each.detach().clone() for name, each in model.named_parameters() if each.ndim > 1 and each.requires_grad}


def _moved(model: nn.Module, before: dict[str, Tensor]) -> float:
    """Median of std(after - before) / std(before); NaN if no matrix has a spread."""
    now = dict(model.named_parameters())
    pairs = [(float(double(now[name].detach() - each).std()), float(double(each).std())) for name, each in before.items()]
    return median([moved / size for moved, size in pairs if size > 0] or [nan])


def dead_units(task: Task) -> dict[str, float]:
    """The share of the units of each ReLU that give 0 for every example of a few batches."""
    alive: dict[tuple[str, int], Tensor] = {}
    for number in range(min(LOOKED_AT, len(task.batches))):
        try:
            call = task.inputs(task.batch(number))
        except NotCalled:
            return {}
        with task.boxed(), torch.no_grad(), _Relus(task.model) as relus:
            task.outputs(call)
        for key, seen in relus.alive.items():
            alive[key] = alive[key] | seen if key in alive and alive[key].shape == seen.shape else seen
    shares: dict[str, float] = {}
    for (name, _), seen in alive.items():
        shares[name] = max(shares.get(name, 0.0), 1.0 - float(double(seen).mean()))
    return shares


class _Relus(TorchFunctionMode):
    """Notes which units of each ReLU are above 0 for an example, by the innermost module and the number of the call."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.alive: dict[tuple[str, int], Tensor] = {}
        self._model = model
        self._running: list[str] = []
        self._handles: list[Any] = []

    def __enter__(self) -> Self:
        for name, module in named_modules(self._model):
            self._handles.append(module.register_forward_pre_hook(lambda *_, name=name: self._running.append(name)))
            self._handles.append(module.register_forward_hook(self._ended, always_call=True))
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *given: object) -> None:
        super().__exit__(*given)  # type: ignore[no-untyped-call]
        for handle in self._handles:
            handle.remove()

    def _ended(self, *_: Any) -> None:  # what a hook returns would take the place of the output
        self._running.pop()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "") in ("relu", "relu_") and isinstance(output, Tensor) and output.ndim > 1:
            units = output.ndim - 1 if output.ndim == 3 else 1  # (B, T, C), or channels second
            name = self._running[-1] if self._running else ""
            place = sum(own == name for own, _ in self.alive)
            self.alive[name, place] = (output > 0).transpose(0, units).flatten(1).any(1)
        return output
