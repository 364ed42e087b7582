"""The line of the user's code that is running."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, Final

import torch

TORCH: Final = (Path(torch.__file__).parent.as_posix(), "<frozen")
HERE: Final = Path(__file__).parents[2].as_posix()


def user_line() -> str:
    """The innermost running line of user code, as "net.py:12"; "" if only torch's own code runs."""
    frame: Any = inspect.currentframe()
    while frame is not None and frame.f_code.co_filename.startswith(HERE):
        frame = frame.f_back
    while frame is not None and frame.f_code.co_filename.startswith(TORCH):
        frame = frame.f_back
    if frame is None or frame.f_code.co_filename.startswith(HERE):
        return ""
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
