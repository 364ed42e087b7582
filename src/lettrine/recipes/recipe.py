"""What a recipe is: one published run as data, with the figures that were printed for it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

from lettrine.engine.base import Optimiser
from lettrine.model.config import MLPConfig
from lettrine.model.initialisation import Initialisation
from lettrine.training.api import Shape
from lettrine.training.settings import Settings

BATCH: Final = 32  # of every published run

SOURCES: Final = {
    "A": "Course notebook 5, multi-layer perceptron",
    "B": "Course notebook 8, activation statistics",
    "N": "Study notebook: activations, gradients, batch norm",
    "L": "makemore part 3, lecture notebook",
    "P": "Course page: activations and initialisations",
}
"""Where figures were published, by the letter that stands beside them."""


@dataclass(frozen=True)
class WordSource:
    """The word list a figure was published for. digest: of `WordList.digest`, "" where the list is not to be had."""

    name: str
    words: int
    vocabulary: int
    digest: str = ""


NAMES: Final = WordSource("names.txt", 32_033, 27, "0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d")
CIVIL_CODE: Final = WordSource(
    "the French civil code", 7_223, 41, "dfd990e6f4bfd01040d302bf8817a14199bd005b07e96f962b1430c1609bea69"
)
PRENOMS: Final = WordSource("30,000 French given names", 30_000, 46)


@dataclass(frozen=True)
class Quantity:
    """One kind of figure a recipe is compared by.

    text: what it is, in a few words. unit: "nats", "share" (0 to 1) or "". tolerance: how far ours may be from the
    published; relative: whether as a share of the published figure. layered: one figure for each layer or matrix.
    beaten: ours is to lie below the published figure, by however much.
    """

    text: str
    unit: str
    tolerance: float
    relative: bool = False
    layered: bool = False
    beaten: bool = False


QUANTITIES: Final = {
    "parameters": Quantity("parameters", "", 0.0),
    "initial": Quantity("loss at step 0", "nats", 0.02),
    "train": Quantity("final loss on train", "nats", 0.02),
    "dev": Quantity("final loss on dev", "nats", 0.02),
    "test": Quantity("final loss on test", "nats", 0.02),
    "challenge": Quantity("final loss on test, to be beaten", "nats", 0.0, beaten=True),
    "train-batch": Quantity("train, batch statistics", "nats", 0.02),
    "dev-batch": Quantity("dev, batch statistics", "nats", 0.02),
    "train-precise": Quantity("train, precise statistics", "nats", 0.02),
    "dev-precise": Quantity("dev, precise statistics", "nats", 0.02),
    "std": Quantity("std of the activations", "", 0.10, relative=True, layered=True),
    "saturated": Quantity("saturated activations", "share", 0.03, layered=True),
    "gradient-std": Quantity("std of the gradients", "", 0.10, relative=True, layered=True),
    "gradient-data": Quantity("gradient:data", "", 0.10, relative=True, layered=True),
    "update-data": Quantity("update:data", "", 0.0, layered=True),
}
"""What recipes are compared by, in the order of the tables."""


@dataclass(frozen=True)
class Published:
    """A printed figure.

    key: which of QUANTITIES. source: a letter of SOURCES. values: one, or one for each layer from the input; empty where only
    `text` was said, such as "far below 1e-3". noise: standard deviation that the figure has from choices which nobody can repeat.
    """

    key: str
    source: str
    words: WordSource
    values: tuple[float, ...] = ()
    text: str = ""
    noise: float = math.nan


@dataclass(frozen=True)
class Recipe:
    """One published run under a name.

    lesson: what it is there to show. rate: learning rate; with `drops`, a tenth of it from half-way on. steps: as published.
    published: what was printed for it. drawn: how many such nets had been initialised, and how many steps taken, on the same
    stream of random numbers before: one notebook ran its experiments one after the other without seeding anew.
    rates: other learning rates, by the words of the publications that took them.
    ours: where a published figure is to be beaten, how we train instead; `steps` and `rate` are then ours too.
    """

    name: str
    lesson: str
    shape: Shape
    init: Initialisation
    rate: float
    steps: int
    published: tuple[Published, ...]
    drops: bool = True
    drawn: tuple[int, int] = (0, 0)
    rates: tuple[tuple[WordSource, float], ...] = ()
    ours: Settings | None = None

    def on(self, digest: str) -> Recipe:
        """The recipe as it was published for the words of that digest."""
        return replace(self, rate=next((rate for words, rate in self.rates if words.digest == digest), self.rate))

    def config(self, vocabulary_size: int) -> MLPConfig:
        """The whole shape for a vocabulary of that size."""
        return self.shape.config(vocabulary_size)

    def settings(self, *, steps: int = 0, engine: str = "auto", threads: int = 1, seed: int = 0) -> Settings:
        """How it is trained; fewer steps on request."""
        if self.ours is not None:
            steps = steps or self.steps
            return replace(self.ours, steps=steps, learning_rate=self.rate, engine=engine, threads=threads, seed=seed)
        return Settings(
            steps=steps or self.steps,
            batch=BATCH,
            learning_rate=self.rate,
            schedule="step" if self.drops else "constant",
            optimiser=Optimiser("sgd", momentum=0.0, weight_decay=0.0),
            init=self.init,
            split_seed=42,
            fractions=(0.8, 0.1),
            prior="none",
            networks=1,
            draw="replacement",
            patience=0,
            keep="last",
            engine=engine,
            threads=threads,
            seed=seed,
        )
