"""Compiled training steps: our hooks stay out of what Dynamo traces, and the watch learns that it cannot hear what is compiled.

Dynamo traces a module's hooks together with the module, once, when the compiled function is first called. A hook of ours that is
traced does nothing, and says so to all watches by a function that Dynamo calls for real while it traces.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch

_TRACED: Final = [0]  # how often a hook of ours has been traced in this process


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]  # torch does not type it
def note_traced() -> int:
    """Dynamo is tracing a hook of ours."""
    _TRACED[0] += 1
    return 0


def times_traced() -> int:
    """How often a hook of ours has been traced in this process; a number that grew says that something watched was compiled."""
    return _TRACED[0]


def untraced(hook: Callable[..., Any]) -> Callable[..., Any]:
    """A hook that does nothing where Dynamo traces it."""

    def called(*args: Any) -> Any:
        if torch.compiler.is_compiling():
            note_traced()
            return None
        return hook(*args)

    return called
