"""A task from a file: "train.py:make" names a function that returns model, batches, loss function and optimiser."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path
from typing import Any, Final

from lettrine.errors import HealthError, LettrineError, quote
from lettrine.torch.checkup.lines import HERE

PARTS: Final = ("model", "batches", "loss_fn", "optimizer", "step")
NEEDED: Final = 3  # of them
NOT_THEIRS: Final = (HERE, "<frozen", *(sysconfig.get_paths()[each] for each in ("stdlib", "platstdlib", "purelib", "platlib")))


def load_task(name: str) -> dict[str, Any]:
    """Call the function and name the parts of what it returns.

    name: "path/to/file.py:function" or "package.module:function". The function takes no arguments and returns a tuple
    (model, batches, loss_fn, optimizer, step), the last two of which may be left out, or a mapping with these names.
    Raises HealthError if there is no such function, if the file or the function raises or ends the program, or if it returns
    something else.
    """
    return made_by(function_of(name), name)


def function_of(name: str) -> Callable[[], Any]:
    """The function of this name. Raises HealthError if there is none."""
    home, _, function = name.rpartition(":")
    if not home or not function:
        raise HealthError(f"task got {quote(name)}; expected a file and a function in it, such as 'train.py:make'")
    make: Callable[[], Any] | None = getattr(_module(home), function, None)
    if not callable(make):
        raise HealthError(
            f"task got {quote(name)}; {quote(home)} has no function {quote(function)}; expected one that returns the task"
        )
    return make


def made_by(make: Callable[[], Any], name: str) -> dict[str, Any]:
    """The parts of what the function returns. Raises what `load_task` raises."""
    with users_code(f"{quote(name)}, which is called without arguments,"):
        made = make()
    return parts_of(made)


def parts_of(made: Any) -> dict[str, Any]:
    """The parts by name. Raises HealthError for anything but a tuple of three to five, or a mapping with the names."""
    if isinstance(made, tuple | list) and NEEDED <= len(made) <= len(PARTS):
        return {**dict.fromkeys(PARTS), **dict(zip(PARTS, made, strict=False))}
    if isinstance(made, Mapping) and set(PARTS[:NEEDED]) <= set(made) <= set(PARTS):
        return {**dict.fromkeys(PARTS), **made}
    given = f"{len(made)} things" if isinstance(made, tuple | list | Mapping) else f"a {type(made).__name__}"
    raise HealthError(f"the task's function returned {given}; expected (model, batches, loss_fn, optimizer)")


@contextmanager
def users_code(what: str) -> Iterator[None]:
    """Tell an exception of the user's code, and an attempt to end the program, in one line that names its place."""
    try:
        yield
    except (Exception, SystemExit) as error:
        if isinstance(error, LettrineError):
            raise
        kind = "ended the program" if isinstance(error, SystemExit) else f"raised {type(error).__name__}: {_said(error)}"
        raise HealthError(f"{what} {kind}{place_of(error)}; expected it to run through") from error


def _said(error: BaseException) -> str:
    """The message; of a syntax error without the place, which is told apart."""
    return error.msg if isinstance(error, SyntaxError) else str(error)


def place_of(error: BaseException) -> str:
    """The innermost line that is the user's: of a syntax error the line itself, else the last outside of installed packages."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({Path(error.filename).name}, line {error.lineno})"
    frames = [each for each in traceback.extract_tb(error.__traceback__) if not each.filename.startswith(NOT_THEIRS)]
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""


def _module(home: str) -> Any:
    if not home.endswith(".py"):
        try:
            with users_code(quote(home)):
                return importlib.import_module(home)
        except HealthError as error:
            if not isinstance(error.__cause__, ImportError):
                raise
            meant = f" such as {quote(f'{home}.py')}" if Path(f"{home}.py").is_file() else ""
            raise HealthError(
                f"task got the module {quote(home)}, which cannot be imported ({error.__cause__}); expected a file{meant}, or a "
                "module"
            ) from error.__cause__
    path = Path(home)
    if not path.is_file():
        raise HealthError(f"task got the file {quote(home)}, which is not there; expected a file such as train.py")
    name = _free_name(path)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # noqa: S101  for the type checker: a .py file has a loader
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)  # so that it finds its neighbours, as when it is run itself
    sys.modules[name] = module
    try:
        with users_code(quote(home)):
            spec.loader.exec_module(module)
    finally:
        sys.path.remove(folder)
    return module


def _free_name(path: Path) -> str:
    """The file's name; with a number if a module from elsewhere has that name, because the lines of a class are looked up by the
    name of its module.
    """
    names = chain((path.stem,), (f"{path.stem}_{number}" for number in count(2)))
    return next(each for each in names if each not in sys.modules or _is_at(sys.modules[each], path))


def _is_at(module: Any, path: Path) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and Path(file).resolve() == path.resolve()
