"""Files as a stranger might write them: any safetensors header, any value anywhere; for tests and fuzzers alike."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lettrine
from lettrine.engine.base import Optimiser
from lettrine.errors import LettrineError
from lettrine.health.findings import Report
from lettrine.text.corpora import load_corpus
from lettrine.training.api import Shape
from lettrine.training.diagnosis import load_health
from lettrine.training.folder import load_run, load_splits, read_description
from lettrine.training.progress import Progress
from lettrine.training.settings import Settings

ESCAPES = "\x1b]0;owned\x07\x1b[31m\x9b2J\x7f\r\n\u2028\u202e"  # what drives a terminal, breaks a line, turns the writing
ODD_STRINGS = ["", "\x1b[31mred", "\ud800", "a\0b", "[/]", "[red]", ":heart:", "../../etc/passwd", "{x}", "%s%n", "x" * 10_000]
ODD_NUMBERS = [0, -1, 1, 0.5, 2**31, 2**63, -(2**63), 10**400, 1e308, -1e308, float("inf"), float("-inf"), float("nan"), 1e-320]
FEW_ODD_VALUES = [None, True, -1, 10**400, 1e308, float("nan"), "\x1b[31m\ud800", "[/]", [], {}, [None], {"": None}]
ODD_VALUES = [*ODD_NUMBERS, *ODD_STRINGS, None, True, False, [], {}, [[]], [None], {"": None}, [1] * 1000, {"a": {"b": [1]}}]


def safetensors(header: object, body: bytes = b"") -> bytes:
    """A file with that header, right or wrong."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def make_run(folder: Path, engine: str = "reference") -> Path:
    """A run stopped half-way: everything a run folder can hold, a checkpoint to go on from included."""
    shape = Shape(context=2, embedding=3, hidden=(5, 4), norm="batch", direct=True)
    settings = Settings(steps=8, batch=4, eval_every=3, engine=engine, optimiser=Optimiser("adamw"))
    with lettrine.Session(load_corpus("first-names").words[:40], out=folder, shape=shape, settings=settings) as session:
        session.trainer.advance(5)
    return folder


def copy_run(source: Path, target: Path) -> Path:
    """A copy to spoil."""
    shutil.rmtree(target, ignore_errors=True)
    return Path(shutil.copytree(source, target, symlinks=True))


def _show(report: Report) -> None:
    report.to_json()
    str(report)


def _enough(now: Progress) -> None:
    if now.step > 20:
        raise LettrineError("training goes on, which is all that was asked")


def _begun(_: Progress) -> None:
    raise LettrineError("training goes on, which is all that was asked")


def use(folder: Path, *, only: slice = slice(None), to_the_end: bool = False) -> None:
    """Everything one does with a run from elsewhere. Only a LettrineError may come out of it.

    to_the_end: resumes whole, which changes the folder; else only until training has begun.
    """
    tasks: tuple[Callable[[], object], ...] = (
        lambda: read_description(folder),
        lambda: load_run(folder, engine="reference").sample(3, max_length=8, new=True),
        lambda: load_run(folder, engine="reference").model.score(["anna"]),
        lambda: load_splits(load_run(folder, engine="reference")),
        lambda: _show(load_health(folder)),
        lambda: lettrine.resume(folder, on_progress=_enough if to_the_end else _begun),
    )
    for task in tasks[only]:
        try:
            task()
        except LettrineError as error:
            check_message(str(error))


RESUME = slice(-1, None)
HEALTH = slice(-2, None)  # and resuming, which reads the trace too


def check_message(message: str) -> None:
    """One line that a terminal can be shown."""
    assert message
    assert len(message) < 30_000
    assert message.isprintable(), ascii(message)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to every value inside a JSON value, itself included."""
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, (*path, key))


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """The same JSON value with another value at a path."""
    if not path:
        return new
    changed = dict(value) if isinstance(value, dict) else list(value)
    changed[path[0]] = put(changed[path[0]], path[1:], new)
    return changed
