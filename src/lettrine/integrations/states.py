"""The state of a watch in a file beside a framework's checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from lettrine.health.observers import LOGGER

STATE: Final = "health.safetensors"


def write_state(state: Mapping[str, Any], folder: Path) -> None:
    """Keep the state of a watch beside a framework's checkpoint, if that exists."""
    if folder.is_dir() and "trace" in state:
        arrays = {name: np.asarray(each) for name, each in state["trace"]["arrays"].items()}
        save_file(arrays, folder / STATE, {"step": str(state["step"]), "values": state["trace"]["values"]})


def read_state(folder: Path) -> dict[str, Any] | None:
    """The state kept by `write_state`; None if there is none or it cannot be read."""
    try:
        with safe_open(folder / STATE, "numpy") as file:
            told = file.metadata()
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no mapping
            return {"step": int(told["step"]), "trace": {"arrays": arrays, "values": told["values"]}}
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        LOGGER.info("what was watched before is not in %s: %s", folder, error)
        return None
