"""A task from a file: "train.py:make" names a function that returns model, batches, loss function and optimiser."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from lettrine.errors import HealthError, quote

PARTS: Final = ("model", "batches", "loss_fn", "optimizer")


def load_task(name: str) -> dict[str, Any]:
    """Call the function and name the parts of what it returns.

    name: "path/to/file.py:function" or "package.module:function". The function takes no arguments and returns a tuple
    (model, batches, loss_fn, optimizer), the last of which may be left out, or a mapping with these names.
    Raises HealthError if there is no such function or it returns something else; what it raises itself passes through.
    """
    home, _, function = name.rpartition(":")
    if not home or not function:
        raise HealthError(f"task got {quote(name)}; expected a file and a function in it, such as 'train.py:make'")
    make = getattr(_module(home), function, None)
    if not callable(make):
        raise HealthError(
            f"task got {quote(name)}; {quote(home)} has no function {quote(function)}; expected one that returns the task"
        )
    return parts_of(make())


def parts_of(made: Any) -> dict[str, Any]:
    """The parts by name. Raises HealthError for anything but a tuple of three or four, or a mapping with the names."""
    if isinstance(made, tuple | list) and len(made) in (3, 4):
        return dict(zip(PARTS, (*made, None)[:4], strict=True))
    if isinstance(made, Mapping) and set(PARTS[:3]) <= set(made) <= set(PARTS):
        return {"optimizer": None, **made}
    given = f"{len(made)} things" if isinstance(made, tuple | list | Mapping) else f"a {type(made).__name__}"
    raise HealthError(f"the task's function returned {given}; expected (model, batches, loss_fn, optimizer)")


def _module(home: str) -> Any:
    if not home.endswith(".py"):
        try:
            return importlib.import_module(home)
        except ImportError as error:
            raise HealthError(
                f"task got the module {quote(home)}, which cannot be imported ({error}); expected a file or a module"
            ) from error
    path = Path(home)
    if not path.is_file():
        raise HealthError(f"task got the file {quote(home)}, which is not there; expected a file such as train.py")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None  # noqa: S101  for the type checker: a .py file has a loader
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)  # so that it finds its neighbours, as when it is run itself
    sys.modules.setdefault(path.stem, module)
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(folder)
    return module
