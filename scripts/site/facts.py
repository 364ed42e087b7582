"""What is said of a check or an experiment where it is defined: its docstring, and the limits its code reads.

    Measured: what is looked at.
    Formula: how the figure is made of it.

Names of limits in braces are replaced by their values, as in "{LATE_FROM:.0%} of the run".
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from lettrine import activations
from lettrine.health import limits, limits_ranks, limits_wiring

LIMITS: Final = (limits, limits_wiring, limits_ranks)
PART: Final = r"^{name}: (.*?)(?=^\S|\Z)"


@dataclass(frozen=True)
class Limit:
    """One number that the code reads: said is the comment beside it, with its source."""

    name: str
    value: str
    said: str


@dataclass(frozen=True)
class Facts:
    """What a page begins with. findings: the ids that the code can give."""

    summary: str
    measured: str
    formula: str
    limits: tuple[Limit, ...]
    findings: tuple[str, ...]


def facts(function: Callable[..., Any]) -> Facts:
    """Of a registered function. Raises ValueError where its docstring lacks a part."""
    text = inspect.getdoc(function) or ""
    parts = {name: _part(text, name) for name in ("Measured", "Formula")}
    if missing := [name for name, part in parts.items() if not part]:
        raise ValueError(f"{function.__module__}.{function.__name__} lacks {' and '.join(missing)} in its docstring")
    summary = " ".join(re.split(r"^Measured:", text, flags=re.MULTILINE)[0].split())
    own = importlib.import_module(function.__module__)
    values = {name: value for module in (own, activations, *_homes(function)[::-1]) for name, value in vars(module).items()}
    measured, formula = (parts[name].format(**values) for name in ("Measured", "Formula"))
    return Facts(summary, measured, formula, tuple(_limits(function)), tuple(_findings(function)))


def _homes(function: Callable[..., Any]) -> tuple[ModuleType, ...]:
    """The modules of limits, the one first that the function's module calls `limits`."""
    own = vars(importlib.import_module(function.__module__)).get("limits", limits)
    return own, *(module for module in LIMITS if module is not own)


def _part(text: str, name: str) -> str:
    found = re.search(PART.format(name=name), text, flags=re.MULTILINE | re.DOTALL)
    return " ".join(found[1].split()) if found else ""


def _limits(function: Callable[..., Any]) -> list[Limit]:
    """The limits read by a function and by the functions of its module that it calls, in the order in which they are written."""
    own, *others = _homes(function)
    given = vars(importlib.import_module(function.__module__))
    names = {
        each.attr if isinstance(each, ast.Attribute) else each.id
        for node in _bodies(function)
        for each in ast.walk(node)
        if (isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name) and each.value.id == "limits")
        or (isinstance(each, ast.Name) and each.id in given)
    }
    own_names = [limit for name, limit in _written(own).items() if name in names]
    return own_names + [limit for other in others for name, limit in _written(other).items() if name in names and name in given]


def _findings(function: Callable[..., Any]) -> list[str]:
    """Ids of findings, as they stand in calls of Finding and finding."""
    found = []
    for node in _bodies(function):
        for call in ast.walk(node):
            if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in ("Finding", "finding")):
                continue
            first = next((word.value for word in call.keywords if word.arg == "id"), call.args[0] if call.args else None)
            for one in (first.body, first.orelse) if isinstance(first, ast.IfExp) else (first,):
                if isinstance(one, ast.Constant):
                    found.append(str(one.value))
                elif isinstance(one, ast.Name):
                    found += [value for value in _strings(node, one.id) if re.fullmatch(r"[a-z]+(-[a-z]+)+", value)]
    return list(dict.fromkeys(found))


def _strings(node: ast.AST, name: str) -> Iterator[str]:
    """Texts that are given to a variable, alone or in a pair."""
    for each in ast.walk(node):
        if isinstance(each, ast.Assign) and any(
            isinstance(one, ast.Name) and one.id == name for one in ast.walk(each.targets[0])
        ):
            yield from (str(one.value) for one in ast.walk(each.value) if isinstance(one, ast.Constant))


def _bodies(function: Callable[..., Any]) -> list[ast.FunctionDef]:
    """The function, and what it calls of its own module."""
    known = _functions(importlib.import_module(function.__module__))
    found, waiting = {}, [function.__name__]
    while waiting:
        name = waiting.pop()
        if name in known and name not in found:
            found[name] = known[name]
            waiting += [each.id for each in ast.walk(known[name]) if isinstance(each, ast.Name)]
    return list(found.values())


@cache
def _functions(module: ModuleType) -> dict[str, ast.FunctionDef]:
    tree = ast.parse(inspect.getsource(module))
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


@cache
def _written(module: ModuleType) -> dict[str, Limit]:
    """The numbers of a module of limits by name, with the comments beside or above them."""
    lines = Path(inspect.getfile(module)).read_text(encoding="utf-8").splitlines()
    found = {}
    for node in ast.parse("\n".join(lines)).body:
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
            continue
        value = getattr(module, node.target.id)
        if isinstance(value, str):
            continue  # the name of a source
        inside = [line.partition("# ")[2] for line in lines[node.lineno - 1 : node.end_lineno]]
        above = node.lineno - 1
        while above and lines[above - 1].startswith("# "):
            above -= 1
        before = [line.removeprefix("# ") for line in lines[above : node.lineno - 1]]
        said = " ".join(filter(None, inside)) or " ".join(before)
        found[node.target.id] = Limit(node.target.id, f"{value:,g}" if isinstance(value, int | float) else str(value), said)
    return found
