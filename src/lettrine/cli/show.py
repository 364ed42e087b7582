"""Printing: one JSON object for scripts, tables for people, and no characters that could control a terminal."""

from __future__ import annotations

import json
import math
import os
import re
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


# Characters that act on a terminal or break a line: controls, halves of surrogate pairs, separators, and marks that change the
# direction of writing. Joiners stay: emoji and several scripts need them.
UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def plain(text: str) -> str:
    """The text on one line, without characters that act on a terminal: a word list must not control it."""
    return UNSAFE.sub(lambda found: " " if found[0] in "\n\r\t" else "", text)


def out_json(value: Any) -> None:
    """Print one JSON object on standard output. NaN and infinities become null."""
    text = json.dumps(_finite(value), ensure_ascii=False, allow_nan=False)
    print(UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text))  # noqa: T201


def nobody_reads() -> None:
    """Drop what standard output still holds. Its reader has gone, and Python would complain at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def console(*, error: bool = False) -> Console:
    """The console for people."""
    from rich.console import Console  # noqa: PLC0415 - start-up pays only for what it uses

    # Square brackets and :names: in words and paths are text, not Rich's markup.
    return Console(stderr=error, highlight=False, soft_wrap=True, markup=False, emoji=False)


def table(*columns: str, title: str = "") -> Table:
    """A plain table at the left margin; without column names, two columns without a header."""
    from rich.table import Table  # noqa: PLC0415

    return Table(*columns, box=None, pad_edge=False, show_header=bool(columns), title=title or None, title_justify="left")


def note(text: str) -> None:
    """A remark on standard error; standard output has only what was asked for."""
    print(f"lettrine: {plain(text)}", file=sys.stderr)  # noqa: T201


def number(value: float, digits: int = 4) -> str:
    """A figure as text; a dash if there is none."""
    return f"{value:,.{digits}f}" if math.isfinite(value) else "-"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
