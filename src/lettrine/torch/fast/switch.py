"""The one switch of the fast path: `watch(fast=...)`, else the environment variable LETTRINE_FAST, else on."""

from __future__ import annotations

import os
from typing import Any, Final

from torch import Tensor

from lettrine.errors import HealthError
from lettrine.health.live import reader

VARIABLE: Final = "LETTRINE_FAST"
TENSORS: Final = reader(Tensor)
"""What reads torch's tensors in place; None where the compiled part is not built, or this torch does not offer it."""


def tensors(asked: bool | None = None) -> Any:
    """The reader of tensors in place; None if the fast path is off. asked: what the user said, None for nothing.

    Raises HealthError for a value of the environment variable that is neither 0 nor 1.
    """
    said = os.environ.get(VARIABLE) or "1"
    if said not in ("0", "1"):
        raise HealthError(f"the environment variable {VARIABLE} got {said!r}; expected 0 (off) or 1 (on, as without it)")
    return TENSORS if (said == "1" if asked is None else asked) else None
