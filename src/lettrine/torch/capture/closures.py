"""An optimiser that is given a closure calls the model itself. So its step begins before the backward pass of this step."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any, TypeAlias

Given: TypeAlias = tuple[tuple[Any, ...], dict[str, Any]]


def after_closure(before: Callable[..., None], aside: Callable[[], AbstractContextManager[None]]) -> Callable[..., Given | None]:
    """The hook of an optimiser before its step. It calls `before` when the gradients of this step are known: at once, or, if the
    step is given a closure, after the first call of the closure.

    aside: in its block, the calls after the first are made. LBFGS makes them at weights that it tries.
    """

    def hook(optimiser: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Given | None:
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)  # args[0] is the optimiser
        if not callable(closure):
            before(optimiser, args, kwargs)
            return None
        waiting = [True]

        @wraps(closure)
        def called(*given: Any, **named: Any) -> Any:
            if not waiting:
                with aside():
                    return closure(*given, **named)
            result = closure(*given, **named)
            waiting.clear()
            before(optimiser, args, kwargs)
            return result

        return (args, {**kwargs, "closure": called}) if "closure" in kwargs else ((args[0], called, *args[2:]), kwargs)

    return hook
