"""The line of the user's code that is running."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, Final

import torch

OUTSIDE: Final = (Path(torch.__file__).parent.as_posix(), Path(__file__).parents[2].as_posix())  # torch and lettrine themselves


def user_line() -> str:
    """The innermost line that is neither torch's nor lettrine's, as "net.py:12"; "" if there is none."""
    frame: Any = inspect.currentframe()
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith((*OUTSIDE, "<frozen")):
            return f"{Path(file).name}:{frame.f_lineno}"
        frame = frame.f_back
    return ""
