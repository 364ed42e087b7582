"""lettrine: character-level neural language models in seconds, and a health check for any network that trains.

    import lettrine

    run = lettrine.train("names.txt", out="my-run")
    print(run.sample(10))

Names are loaded when first used, so that importing lettrine costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lettrine import health
    from lettrine.engine.base import Optimiser
    from lettrine.model.config import MLPConfig
    from lettrine.model.initialisation import Initialisation
    from lettrine.search.api import tune
    from lettrine.tools.bulk import score
    from lettrine.torch import calibrate as init
    from lettrine.training.api import resume, train
    from lettrine.training.folder import load_run as load
    from lettrine.training.run import Run
    from lettrine.training.session import Session
    from lettrine.training.settings import Settings
    from lettrine.training.shape import Shape

__version__ = "0.1.0"

_HOMES = {
    "Initialisation": "lettrine.model.initialisation",
    "MLPConfig": "lettrine.model.config",
    "Optimiser": "lettrine.engine.base",
    "Run": "lettrine.training.run",
    "Session": "lettrine.training.session",
    "Settings": "lettrine.training.settings",
    "Shape": "lettrine.training.shape",
    "health": "lettrine.health",
    "init": "lettrine.torch.calibrate",
    "load": "lettrine.training.folder",
    "resume": "lettrine.training.api",
    "score": "lettrine.tools.bulk",
    "train": "lettrine.training.api",
    "tune": "lettrine.search.api",
}
_RENAMED = {"load": "load_run"}

__all__ = [
    "Initialisation",
    "MLPConfig",
    "Optimiser",
    "Run",
    "Session",
    "Settings",
    "Shape",
    "__version__",
    "health",
    "init",
    "load",
    "resume",
    "score",
    "train",
    "tune",
]


def __getattr__(name: str) -> Any:
    if name in ("health", "init"):  # whole modules; the torch room is imported by name alone, and only when asked for
        return importlib.import_module(_HOMES[name])
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), _RENAMED.get(name, name))
    raise AttributeError(f"module 'lettrine' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
