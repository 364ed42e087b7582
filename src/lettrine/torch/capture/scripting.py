"""`torch.jit.script` compiles a module together with its hooks. Ours are no TorchScript, so they step aside meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from torch import nn

from lettrine.health.moments import native
from lettrine.torch.capture.outputs import Hook
from lettrine.torch.private import replace_scripting

_OURS: tuple[type, ...] = (Hook,) if native is None else (Hook, native.OutputHook, native.CallHook)
_aside = [False]  # whether scripting takes our hooks off, as it does from the first watch on


def step_aside() -> None:
    """From now on, scripted modules do not get our hooks."""
    if not _aside[0]:
        _aside[0] = True
        replace_scripting(_hookless)


def _hookless(make: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(make)
    def made(module: Any, *args: Any, **kwargs: Any) -> Any:
        with _without_hooks(module):
            return make(module, *args, **kwargs)

    return made


@contextmanager
def _without_hooks(model: Any) -> Iterator[None]:
    """In its block, the modules of the model have no hooks of ours. Afterwards all hooks are there in their order."""
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    places = [getattr(each, name) for each in modules for name in ("_forward_hooks", "_forward_pre_hooks")]
    held = [(hooks, dict(hooks)) for hooks in places if any(isinstance(hook, _OURS) for hook in hooks.values())]
    for hooks, before in held:
        for key, hook in before.items():
            if isinstance(hook, _OURS):
                del hooks[key]
    try:
        yield
    finally:
        for hooks, before in held:
            hooks.clear()
            hooks.update(before)
