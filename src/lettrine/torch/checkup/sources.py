"""The line where a module was built, read from the source of the class that holds it; and that of what made the whole task."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from torch import nn

from lettrine.health.evidence import SOURCE, Evidence
from lettrine.health.findings import Finding
from lettrine.torch.capture.catalogue import named_modules
from lettrine.torch.checkup.loading import NOT_THEIRS


def made_at(makers: Iterable[Any]) -> Iterator[Evidence]:
    """Evidence of file and line of the whole task: of the first of these functions and classes that is the user's."""
    for each in makers:
        found = _source(each)
        if found is not None and not found[0].startswith(NOT_THEIRS):
            file, first, _ = found
            yield Evidence(SOURCE, (), (0, 0), {"line": float(max(1, first))}, {"file": _short(file)})
            return


def built_at(model: nn.Module, findings: Iterable[Finding]) -> Iterator[Evidence]:
    """Evidence of file and line for every module that the findings name."""
    modules = dict(named_modules(model))
    for name in dict.fromkeys(name for finding in findings for name in finding.where):
        place = _place(model, modules, name)
        if place is not None:
            file, line = place
            yield Evidence(SOURCE, (name,), (0, 0), {"line": float(line)}, {"file": file})


def _place(model: nn.Module, modules: dict[str, nn.Module], name: str) -> tuple[str, int] | None:
    """The line that assigns the attribute in the innermost user class; otherwise the line of that class."""
    parts = re.split(r"[.\[]", name)
    for length in range(len(parts) - 1, -1, -1):
        owner = modules.get(".".join(parts[:length])) if length else model
        if owner is None or type(owner).__module__.startswith("torch."):
            continue
        found = _source(type(owner))
        if found is None:
            continue
        file, first, lines = found
        attribute = re.compile(rf"self\.{re.escape(parts[length])}\b[^=\n]*=(?!=)") if length < len(parts) else None
        for place, text in enumerate(lines):
            if attribute is not None and attribute.search(text):
                return _short(file), first + place
        return _short(file), max(1, first)
    return None


def _source(made: Any) -> tuple[str, int, list[str]] | None:
    """File, first line and lines of a function or class; None if it was made at a prompt, or in C."""
    try:
        lines, first = inspect.getsourcelines(made)
        file = inspect.getsourcefile(made)
    except (OSError, TypeError):
        return None
    return None if file is None else (file, first, lines)


def _short(file: str) -> str:
    """The path relative to the working directory, as code hosts expect it, if the file lies below it."""
    path = Path(file)
    return path.relative_to(Path.cwd()).as_posix() if path.is_relative_to(Path.cwd()) else path.as_posix()
