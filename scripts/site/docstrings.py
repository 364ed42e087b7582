"""Docstrings as the reference shows them: what is said of each argument on a line of its own."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object


class Arguments(Extension):
    """Turns "name: what it is" at the beginning of a line into an item of a list."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Of every function, class and module."""
        if obj.docstring is not None:
            obj.docstring.value = itemised(obj.docstring.value)


def itemised(text: str) -> str:
    """Markdown with a list where lines begin with a name and a colon, and where " name: " follows a full stop."""
    done, listed = [], False
    for line in re.sub(r"(?<=\.) (?=(?:\w+, )*[a-z_]+: )", "\n", text).splitlines():
        found = re.match(r"((?:\w+, )*[a-z_]\w*(?: \([^)]*\))?): +(.*)", line)
        if found:
            done += [] if listed else [""]
            done.append(f"- {', '.join(f'`{name}`' for name in found[1].split(', '))}: {found[2]}")
        elif listed and line.strip():
            done.append(f"    {line.strip()}")
        else:
            done.append(line)
        listed = bool(found) or (listed and bool(line.strip()))
    return "\n".join(done)
