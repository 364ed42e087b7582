"""Named checks: each a pure function of the trace. `examine` runs them all.

Each room holds the checks of one subject, which the first line of its docstring names. A new file in a room is found.
"""

import importlib
import pkgutil
from pathlib import Path
from typing import Final

from lettrine.health.checks.registry import CHECKS, Check, Skip, check
from lettrine.health.checks.verdict import examine

__all__ = ["CHECKS", "ROOMS", "Check", "Skip", "check", "examine"]

ROOMS: Final = ("layers", "steps", "losses", "data", "wiring", "rivals", "held_out", "ranks", "words")
"""The packages of checks, in the order in which they are told of."""

for _room in ROOMS:
    for _file in pkgutil.iter_modules([str(Path(__file__).parent / _room)]):
        importlib.import_module(f"{__name__}.{_room}.{_file.name}")
