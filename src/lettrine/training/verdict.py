"""The facts about a whole training that the health check gets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from lettrine.inference.language_model import LanguageModel
from lettrine.text.stored import StoredWords
from lettrine.text.windows import Windows
from lettrine.text.words import Split

LOOKED_AT: Final = 20_000  # held-out examples from which the standard error is computed


def repeated_share(parts: Split) -> float:
    """Share of the held-out words that are among the training words too."""
    held_out = [*parts.dev, *parts.test]
    if isinstance(parts.train, StoredWords):
        return float(parts.train.holds(held_out).mean())
    seen = set(parts.train)
    return sum(word in seen for word in held_out) / len(held_out)


def conclusions(model: LanguageModel, loss: Mapping[str, float], dev: Windows) -> dict[str, float]:
    """Figures for `Facts.result` from the losses of a run, see `mixing.losses_of`."""
    some = model.losses(dev.contexts[:LOOKED_AT], dev.targets[:LOOKED_AT])
    error = float(some.std() / np.sqrt(len(dev))) if len(dev) > 1 else float("nan")
    found = {
        "train": loss["train"],
        "held_out": loss.get("network_dev", loss["dev"]),
        "model": loss["dev"],
        "simple": loss.get("counts_dev", float("nan")),
        "error": error,
        "alone": float(model.prior is None),
    }
    return {name: value for name, value in found.items() if np.isfinite(value)}
