"""Which engine does the work: `--engine auto` takes the native one where it is built."""

from __future__ import annotations

import importlib.util
from typing import Final

from lettrine.arguments import checked
from lettrine.engine.base import Engine
from lettrine.errors import ConfigError, EngineError

ENGINES: Final = ("auto", "reference", "native")


@checked
def choose_engine(name: str = "auto") -> Engine:
    """The engine of that name.

    Raises ConfigError for an unknown name, EngineError if "native" is asked for and was not built.
    """
    if name not in ENGINES:
        raise ConfigError(f"engine got {name!r}; expected one of {', '.join(ENGINES)}")
    if name == "reference" or (name == "auto" and not native_built()):
        from lettrine.engine.reference import ReferenceEngine  # noqa: PLC0415 - not needed where the native one is built

        return ReferenceEngine()
    if not native_built():
        raise EngineError(
            "the native engine is not built; reinstall lettrine with a C++ compiler present, or take --engine reference"
        )
    from lettrine.engine.native import NativeEngine  # type: ignore[import-not-found,unused-ignore] # noqa: PLC0415

    native: Engine = NativeEngine()
    return native


def native_built() -> bool:
    """Whether the compiled part of lettrine is there."""
    return importlib.util.find_spec("lettrine._native") is not None


def describe_engines() -> dict[str, str]:
    """What this machine computes with: the engine "auto" takes, and the native one's instruction sets."""
    facts = {"auto": choose_engine().name, "reference": "numpy"}
    if not native_built():
        return facts | {"native": "not built; reinstall lettrine with a C++ compiler present"}
    from lettrine.engine.native import describe  # type: ignore[import-not-found,unused-ignore] # noqa: PLC0415

    native: dict[str, str] = describe()
    return facts | native
