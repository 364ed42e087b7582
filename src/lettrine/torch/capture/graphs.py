"""CUDA graphs: what is replayed runs no Python, so nothing in it is seen. A watch says so and measures nothing meanwhile."""

from __future__ import annotations

from typing import Final

import torch

from lettrine.health.observers import LOGGER

ADVICE: Final = (
    "a CUDA graph was captured: its replays run without Python, and nothing in them is seen. Watch some hundred steps without "
    "torch.cuda.graph or make_graphed_callables, and without mode='reduce-overhead'"
)
_CAPTURED: Final = [0]  # how many tensors met a capture in this process


def being_captured() -> bool:
    """Whether the present stream is being captured. The first time, the log says what that means."""
    if not torch.cuda.is_current_stream_capturing():
        return False
    if not _CAPTURED[0]:
        LOGGER.warning("%s", ADVICE)
    _CAPTURED[0] += 1
    return True


def times_captured() -> int:
    """How many tensors met a capture in this process. If it grows, something that is watched was captured."""
    return _CAPTURED[0]
