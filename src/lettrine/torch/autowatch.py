"""`health.autowatch()`: one line at the top of a script watches all models that train in it.

    from lettrine import health
    health.autowatch()                      # until the script ends; the report is printed then

    with health.autowatch() as auto: ...    # or for a part of it
    @health.autowatch()                     # or for a function

A model is found at its first call with gradients, if an optimiser holds some of its parameters. A loss is what `backward` is
called on. To see this, all modules have a hook in the first steps, and a function of ours stands in the place of
`torch.autograd.backward`; it calls the original.
"""

from __future__ import annotations

import atexit
import gc
import sys
from contextlib import ContextDecorator
from types import TracebackType
from typing import Any, Final, Self

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook

from lettrine.arguments import checked
from lettrine.errors import HealthError
from lettrine.health.findings import Report
from lettrine.health.observers import LOGGER, Observers, OnFinding
from lettrine.health.schedule import Schedule
from lettrine.torch.capture.scaling import has_scaled
from lettrine.torch.watch import watch
from lettrine.torch.watching.watch import Watch

_NOBODY: Final = (
    "autowatch saw no model train: was an optimizer made for it? Where weights are changed by hand, use health.watch(model) and "
    "its step(). Of a step that is compiled as a whole it sees nothing: give "
    "that model to health.watch, and hand over the losses"
)
SEARCHED: Final = 64  # after so many optimiser steps no more models are looked for


class AutoWatch(ContextDecorator):
    """Watches all models that train until it ends. options: those of `health.watch`. show: print the reports at the end; of
    several processes, rank 0 does.

    watches: one for each model that was found, in order.
    """

    def __init__(self, *, show: bool = True, **options: Any) -> None:
        self._options, self._show = options, show
        self._handles: list[Any] = []
        self._backward: Any = None  # torch's own function, while ours is in its place
        self._scalers: list[GradScaler] = []  # all that existed when a model was found, those of earlier trainings too
        self._steps = 0  # of all optimisers together, counted while models are still looked for
        self._calls: dict[int, int] = {}  # of modules that no optimiser held yet
        self._next: dict[int, int] = {}  # the number of the call at which each of them is looked at again
        self.watches: list[Watch] = []

    def start(self) -> Self:
        """Begin. The end is `__exit__`, or the end of the process."""
        if self._backward is None:
            self._steps, self._calls, self._next = 0, {}, {}
            self._handles = [register_module_forward_pre_hook(self._called), register_optimizer_step_post_hook(self._stepped)]
            self._backward, torch.autograd.backward = torch.autograd.backward, self._before_backward
            atexit.register(self.close)
        return self

    def __call__(self, function: Any) -> Any:
        """Decorate a function. Watching begins when it is called."""
        self._end()
        return super().__call__(function)

    def close(self) -> None:
        """End: remove everything and show the reports."""
        if self._backward is None:
            return
        self._end()
        if self._show and not any(each.rank for each in self.watches):
            text = "\n\n".join(map(str, self.reports)) or _NOBODY
            sys.stdout.write(f"{text}\n")

    def _end(self) -> None:
        torch.autograd.backward, self._backward = self._backward, None
        atexit.unregister(self.close)
        self._forget_hooks()
        for each in self.watches:
            each.close()

    @property
    def reports(self) -> tuple[Report, ...]:
        """The reports of the models that were trained: those with at least one step."""
        return tuple(each.report() for each in self.watches if each.steps)

    def __enter__(self) -> Self:
        self.watches = []  # as a decorator it is entered again and again
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _forget_hooks(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _called(self, module: nn.Module, args: Any) -> None:
        """A module is called: is it a model in training that is not watched yet?"""
        if not torch.is_grad_enabled() or torch.compiler.is_compiling() or self._known(module):
            return
        own = {id(parameter) for parameter in module.parameters() if parameter.requires_grad}
        if not own or not self._due(module) or self._part(own):
            return
        everything = gc.get_objects()  # `isinstance` would read an attribute of each object, and some of them warn at that
        holding = [each for each in everything if issubclass(type(each), Optimizer) and _holds(each, own)]
        if not holding:
            self._put_off(module)
            return
        self._scalers = [each for each in everything if issubclass(type(each), GradScaler) and each.is_enabled()]
        hooks, with_kwargs = module._forward_pre_hooks, module._forward_pre_hooks_with_kwargs  # noqa: SLF001
        before = set(hooks)
        try:
            self.watches.append(watch(module, holding, **self._options).start())
        except HealthError as error:
            LOGGER.warning("%s", error)
        # torch looked up the hooks of this call before ours were there
        for name, hook in [(name, hook) for name, hook in hooks.items() if name not in before]:
            called: Any = hook
            called(module, args, {}) if name in with_kwargs else called(module, args)

    def _due(self, module: nn.Module) -> bool:
        """Whether to look for its optimiser now: at its calls 1, 2, 4, 8 and so on, since a look goes through all objects.

        A target network, or an agent that fills its memory first, is called thousands of times before any optimiser steps.
        """
        calls = self._calls[id(module)] = self._calls.get(id(module), 0) + 1
        return calls >= self._next.get(id(module), 1)

    def _put_off(self, module: nn.Module) -> None:
        """No optimiser holds it, and so none holds its parts: they wait until it has been looked at again."""
        calls = self._calls[id(module)]
        self._next.update((id(each), self._calls.get(id(each), 0) + 2 * calls) for each in module.modules())
        self._next[id(module)] = 2 * calls

    def _known(self, module: nn.Module) -> bool:
        module = getattr(module, "_orig_mod", module)  # of a compiled one, what it was made from is watched
        return any(module is each for found in self.watches for each in found.model.modules())

    def _part(self, own: set[int]) -> bool:
        """Whether a watched model holds all these parameters: a container that is built anew in each forward pass does."""
        return any(own <= {id(each) for each in found.model.parameters()} for found in self.watches)

    def _stepped(self, *_: Any) -> None:
        """An optimiser has stepped. The hooks must stay now, while torch goes through them."""
        self._steps += 1

    def _before_backward(self, tensors: Any, *args: Any, **options: Any) -> Any:
        """Stands in the place of `torch.autograd.backward`, which `Tensor.backward` calls. It hands the loss over first."""
        if self._steps >= SEARCHED and self._handles:
            self._forget_hooks()  # by now all models are known
        if isinstance(tensors, Tensor) and tensors.numel() == 1:
            scale = next((each.get_scale() for each in self._scalers if has_scaled(each, tensors)), 1.0)
            for each in self.watches:
                if len(self.watches) == 1 or each.concerned_by(tensors):
                    each.loss(tensors if scale == 1.0 else tensors / scale)
        return self._backward(tensors, *args, **options)


def _holds(optimiser: Optimizer, own: set[int]) -> bool:
    return any(id(parameter) in own for group in getattr(optimiser, "param_groups", ()) for parameter in group["params"])


_running: list[AutoWatch] = []


@checked
def autowatch(
    *,
    every: int | None = None,
    classes: int = 0,
    on_finding: OnFinding | None = None,
    stop_on: str | None = None,
    live: bool = False,
    show: bool = True,
) -> AutoWatch:
    """Watch all models that train from now on, until the process ends. The report is printed then.

    It is also a context manager and a decorator; these end sooner. A second call, as in a notebook cell that is run again, ends
    the first one.

    every, classes, on_finding, stop_on, live: as in `health.watch`; each of its `watches` has its own `should_stop`.
    show: print the reports at the end. Raises HealthError for values out of range.
    """
    Schedule(every or 0)
    Observers().tell(on_finding, stop_on)
    for each in _running:
        each.close()
    _running[:] = [AutoWatch(show=show, every=every, classes=classes, on_finding=on_finding, stop_on=stop_on, live=live)]
    return _running[0].start()
