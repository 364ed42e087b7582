"""The search space: shape and training, around the size that the words choose.

Values given by hand are kept. With counts, a trial is measured with weights fitted on the dev words, so the counts have weight
only if they help; whether they are there at all is a dimension too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from lettrine.text.words import WordList, split
from lettrine.training.settings import PATIENCE, TOTAL_DECAY, Settings
from lettrine.training.shape import Shape
from lettrine.training.sizes import Size, ladder, size_of

WIDTHS: Final = (0.5, 3.0)  # times the words' own choice
EMBEDDINGS: Final = (0.5, 2.0)
RATES: Final = (0.3, 3.0)
PASSES: Final = (0.5, 2.0)
DECAYS: Final = (0.2, 5.0)
LAYERS: Final = 3  # more than these were never better on lists of words (docs/sizes.md)
NARROWER: Final = 0.6  # width of a layer relative to the one before, as in `sizes`
CONTEXTS: Final = (4, 14)
DROPOUT: Final = 0.6

Value = int | float
Values = Mapping[str, Value]


class Suggests(Protocol):
    """The methods of Optuna's trials that are used here."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int: ...  # noqa: D102

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float: ...  # noqa: D102


@dataclass(frozen=True)
class Space:
    """The search space for one word list.

    examples: in training. size: what the words choose. shape, settings: what was given by hand.
    """

    examples: int
    size: Size
    shape: Shape
    settings: Settings

    @classmethod
    def around(cls, words: WordList, shape: Shape, settings: Settings) -> Space:
        """The space around what `lettrine train` would choose for these words."""
        parts = split(words.words, fractions=settings.fractions, seed=settings.split_seed).train
        examples = sum(map(len, parts)) + len(parts)
        return cls(examples, size_of(examples, settings.effort), shape, settings)

    @property
    def default(self) -> dict[str, Value]:
        """The words' own choice, or what was given, as a point of the space."""
        shape, plain = self.shape.sized(self.size), self.settings.resolved(self.examples, self.size)
        point: dict[str, Value] = {
            "hidden": self.size.hidden[0],
            "layers": len(self.size.hidden),
            "embedding": shape.embedding or self.size.embedding,
            "context": shape.context,
            "dropout": shape.dropout or 0.0,
            "lr": plain.peak,
            "decay": TOTAL_DECAY,
            "passes": self.size.passes,
            "counts": 1,
        }
        return {name: point[name] for name in self.ranges}

    @property
    def networks(self) -> int:
        """The number of networks that `lettrine train` would average."""
        return self.settings.resolved(self.examples, self.size, chosen=self.shape.hidden is not None).networks

    @property
    def first(self) -> list[dict[str, Value]]:
        """The first points of the search: the words' own choice, then other sizes that are known to be good for this number of
        examples.
        """
        points = [self.default]
        for size in ladder(self.examples)[1:]:
            known = {"hidden": size.hidden[0], "layers": len(size.hidden), "dropout": size.dropout, "lr": size.learning_rate}
            point = {**self.default, **{name: value for name, value in known.items() if name in self.ranges}}
            if "hidden" in point and point not in points and self._holds(point):
                points.append(point)
        return points

    @property
    def ranges(self) -> dict[str, tuple[Value, Value]]:
        """The least and the greatest value of every open choice."""
        shape, settings, size = self.shape, self.settings, self.size
        rate = settings.resolved(self.examples, size).peak
        width, embedding = size.hidden[0], size.embedding
        found: dict[str, tuple[Value, Value]] = {}
        if shape.hidden is None:
            found["hidden"] = (max(1, round(WIDTHS[0] * width)), round(WIDTHS[1] * width))
            found["layers"] = (1, LAYERS)
        if shape.embedding is None:
            found["embedding"] = (max(1, round(EMBEDDINGS[0] * embedding)), round(EMBEDDINGS[1] * embedding))
        if shape.context == Shape().context:
            found["context"] = CONTEXTS
        if shape.dropout is None and shape.norm != "batch":
            found["dropout"] = (0.0, DROPOUT)
        if settings.learning_rate is None:
            found["lr"] = (RATES[0] * rate, RATES[1] * rate)
        if settings.optimiser.weight_decay is None and settings.optimiser.kind == "adamw":
            found["decay"] = (DECAYS[0] * TOTAL_DECAY, DECAYS[1] * TOTAL_DECAY)
        if not settings.steps:
            found["passes"] = (PASSES[0] * size.passes, PASSES[1] * size.passes)
        if settings.prior == "counts":
            found["counts"] = (0, 1)  # without them, or with
        return found

    def suggest(self, trial: Suggests) -> dict[str, Value]:
        """A point that Optuna chooses."""
        point: dict[str, Value] = {}
        for name, (low, high) in self.ranges.items():
            if isinstance(low, int) and isinstance(high, int):
                point[name] = trial.suggest_int(name, low, high, log=name in ("hidden", "embedding"))
            else:
                point[name] = trial.suggest_float(name, low, high, log=name != "dropout")
        return point

    def chosen(self, point: Values) -> tuple[Shape, Settings]:
        """Shape and settings of a point, for a training of one network."""
        shape = self.shape.sized(self.size)
        if "hidden" in point:
            width, layers = int(point["hidden"]), int(point["layers"])
            shape = replace(shape, hidden=tuple(max(1, round(width * NARROWER**i)) for i in range(layers)))
        own: dict[str, Any] = {name: point[name] for name in ("embedding", "context", "dropout") if name in point}
        given = self.settings
        size = replace(self.size, passes=float(point.get("passes", self.size.passes)))
        settings = replace(
            given,
            networks=1,
            prior="counts" if point.get("counts", given.prior == "counts") else "none",
            learning_rate=float(point["lr"]) if "lr" in point else given.learning_rate,
            patience=given.patience if given.patience is not None or given.steps else PATIENCE,
        ).resolved(self.examples, size, chosen=True)
        if "decay" in point:
            decay = float(point["decay"]) / (settings.peak * settings.steps)
            settings = replace(settings, optimiser=replace(settings.optimiser, weight_decay=decay))
        return replace(shape, **own), settings

    def written(self) -> str:
        """Everything that decides the result of a trial, as text: it must be equal for all workers of a study."""
        plain = {"shape": vars(self.shape), "settings": self.settings.to_dict(), "ranges": self.ranges}
        return json.dumps(plain, sort_keys=True)

    def _holds(self, point: Values) -> bool:
        return all(low <= point[name] <= high for name, (low, high) in self.ranges.items())
