"""Which engine does the work: `--engine auto` takes the native one if it is built."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Final

from lettrine.arguments import checked
from lettrine.engine.base import Engine
from lettrine.errors import ConfigError, EngineError, MissingExtraError

ENGINES: Final = ("auto", "reference", "native", "torch")
DEVICES: Final = ("cpu", "cuda")
_TORCH: Final = "lettrine.torch.engine"
"""The module of the torch engine, imported by name when it is asked for: this folder does not import torch."""


@checked
def choose_engine(name: str = "auto", device: str = "cpu") -> Engine:
    """The engine of that name, on this device.

    Raises ConfigError for an unknown name or device, EngineError if "native" is asked for and was not built or the device does
    not exist, MissingExtraError without torch.
    """
    for what, value, choices in (("engine", name, ENGINES), ("device", device, DEVICES)):
        if value not in choices:
            raise ConfigError(f"{what} got {value!r}; expected one of {', '.join(choices)}")
    if device != "cpu" and name != "torch":
        raise ConfigError(f"device got {device!r} and engine {name!r}; expected the engine torch there: --engine torch")
    if name == "torch":
        if importlib.util.find_spec("torch") is None:
            raise MissingExtraError("the engine torch", "torch")
        on_torch: Engine = importlib.import_module(_TORCH).TorchEngine(device)
        return on_torch
    if name == "reference" or (name == "auto" and not native_built()):
        from lettrine.engine.reference import ReferenceEngine  # noqa: PLC0415 - not needed if the native one is built

        return ReferenceEngine()
    if not native_built():
        raise EngineError(
            "the native engine is not built; reinstall lettrine with a C++ compiler present, or take --engine reference"
        )
    from lettrine.engine.native import NativeEngine  # type: ignore[import-not-found,unused-ignore] # noqa: PLC0415

    native: Engine = NativeEngine()
    return native


def native_built() -> bool:
    """Whether the compiled part of lettrine is installed."""
    return importlib.util.find_spec("lettrine._native") is not None


def describe_engines() -> dict[str, str]:
    """What this machine computes with: the engine that "auto" takes, and the instruction sets of the native one."""
    facts = {"auto": choose_engine().name, "reference": "numpy"}
    if not native_built():
        return facts | {"native": "not built; reinstall lettrine with a C++ compiler present"}
    from lettrine.engine.native import describe  # type: ignore[import-not-found,unused-ignore] # noqa: PLC0415

    native: dict[str, str] = describe()
    return facts | native
