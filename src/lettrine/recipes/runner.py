"""Runs a recipe: the published network, its random numbers, its steps, on any words and either engine."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from lettrine.engine.base import Doubles, Engine, Integers
from lettrine.engine.reference import Observation, observe
from lettrine.errors import ConfigError, DivergedError
from lettrine.health.findings import Report
from lettrine.inference.evaluation import mean_loss, precise_norms
from lettrine.inference.language_model import LanguageModel
from lettrine.model.config import MLPConfig
from lettrine.model.parameters import Array, Parameters
from lettrine.recipes.figures import ComparedFigure, FiguresByKey, compare, figures_of_trace, noise_of_trace
from lettrine.recipes.generator import SEED, GeneratorBatches, TorchGenerator, draw_parameters
from lettrine.recipes.recipe import Recipe
from lettrine.text.stored_windows import Examples
from lettrine.text.vocabulary import Vocabulary
from lettrine.text.windows import Windows
from lettrine.text.words import WordList
from lettrine.training.batches import Rows
from lettrine.training.batches import batches as drawn
from lettrine.training.interrupt import deferred_signals
from lettrine.training.mixing import COUNTED
from lettrine.training.run import Run
from lettrine.training.session import OnProgress, Session, Splits
from lettrine.training.settings import Settings
from lettrine.training.trainer import Trainer

SHORT: Final = 2_000  # steps; shorter runs are sampled evenly, so that their last batches tell how much figures differ
SAMPLES: Final = 100


@dataclass(frozen=True)
class WeightGradient:
    """The gradient of one weight matrix, its mean and std, and how large it is beside it: ratio = std(gradient) / std(weight)."""

    values: Array
    mean: float
    std: float
    ratio: float


@dataclass(frozen=True)
class RecipeRun:
    """What came out of a recipe.

    run: the training itself, not kept on disk. losses: of every step. figures: ours by the keys of QUANTITIES. comparisons:
    published figures beside ours. gradients: by steps taken and name of the weight, on the first batch.
    """

    recipe: Recipe
    words: WordList
    run: Run = field(repr=False)
    losses: Doubles = field(repr=False)
    figures: FiguresByKey
    comparisons: tuple[ComparedFigure, ...]
    gradients: Mapping[int, Mapping[str, WeightGradient]] = field(default_factory=dict, repr=False)

    @property
    def model(self) -> LanguageModel:
        """The trained network."""
        return self.run.model

    @property
    def settings(self) -> Settings:
        """How it was trained."""
        return self.run.settings

    @property
    def health(self) -> Report:
        """What the health check says of it."""
        return self.run.judged

    @property
    def status(self) -> str:
        """How it ended: "finished", "interrupted" or "diverged"."""
        return self.run.status

    @property
    def signal(self) -> int:
        """Number of the signal that interrupted it, else 0."""
        return self.run.signal

    @property
    def steps(self) -> int:
        """Steps taken."""
        return len(self.losses)

    @property
    def seconds(self) -> float:
        """Wall time of the training."""
        return math.nan if self.run.results is None else self.run.results.seconds

    def sample(self, count: int = 10, **how: Any) -> list[str]:
        """New words; see `Run.sample`."""
        return self.run.sample(count, **how)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        rows = [
            {
                "figure": row.key,
                "layer": row.layer,
                "source": row.source,
                "words": row.words,
                "published": row.text if math.isnan(row.published) else row.published,
                "ours": row.ours,
                "difference": row.difference,
                "judged": row.judged or None,
            }
            for row in self.comparisons
        ]
        return {
            "recipe": self.recipe.name,
            "words": {"source": self.words.source, "count": len(self.words), "digest": self.words.digest},
            "engine": self.model.engine.name,
            "seed": self.settings.seed,
            "steps": self.steps,
            "status": self.status,
            "seconds": self.seconds,
            "figures": {key: list(values) if len(values) > 1 else values[0] for key, values in self.figures.items()},
            "comparisons": rows,
            "health": self.health.to_dict(),
        }


def run_recipe(
    recipe: Recipe,
    words: WordList,
    *,
    steps: int = 0,
    seed: int = SEED,
    engine: str = "auto",
    threads: int = 1,
    on_progress: OnProgress = lambda _: None,
) -> RecipeRun:
    """Train a recipe's network on some words and set our figures beside the published ones.

    steps: fewer than published for a quick look, in which final figures are not judged; 0 takes all. seed: of the published
    random numbers; another one draws other weights and batches. Ctrl-C stops between two steps.
    Raises ConfigError, WordListError, EngineError.
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
        raise ConfigError(f"steps got {steps!r}; expected a whole number, or 0 for the {recipe.steps:,} of the published run")
    recipe = recipe.on(words.digest)
    return train_recipe(
        recipe, words, recipe.settings(steps=steps, engine=engine, threads=threads, seed=seed), on_progress=on_progress
    )


def train_recipe(
    recipe: Recipe,
    words: WordList,
    settings: Settings,
    *,
    splits: Splits | None = None,
    engine: Engine | None = None,
    prepare: Callable[[Parameters], None] = lambda _: None,
    batches: Rows | None = None,
    on_progress: OnProgress = lambda _: None,
) -> RecipeRun:
    """`run_recipe` with settings that may differ from the recipe's.

    splits, engine, batches: in place of those of the words, those that the settings name and those that the seed gives. prepare:
    changes the weights it starts from.
    """
    begun = _Beginning(recipe, prepare, batches)
    every = max(1, settings.steps // SAMPLES) if settings.steps <= SHORT else 0
    config = recipe.config(Vocabulary.from_words(words.words).size)  # the whole shape: nothing of it is left to the words
    how: dict[str, Any] = {"shape": config, "settings": settings, "splits": splits, "engine": engine}
    with (
        deferred_signals() as requests,
        Session(words, **how, every=every, start=begun.start, on_progress=on_progress) as session,
    ):
        gradients = {0: begun.gradients(session.config, session.trainer.state.parameters)}
        outcome = session.trainer.run(requests)
        if not outcome.checkpoint.step:
            if outcome.signal:
                signal.raise_signal(outcome.signal)  # nothing to show yet, so it ends us as it would have without us
            raise DivergedError(f"the first loss of recipe {recipe.name} is not finite; try another --seed, or other words")
        run = session.finish(outcome)
    gradients[outcome.checkpoint.step] = begun.gradients(session.config, run.model.parameters)
    figures = _figures(session, run)
    trace = run.judged.trace
    rows = compare(
        recipe,
        figures,
        trace,
        words.digest,
        vocabulary=session.config.vocabulary_size,
        whole=outcome.checkpoint.step == recipe.steps and settings.seed == SEED,
        noise={"initial": (begun.noise,), **noise_of_trace(trace)},
    )
    return RecipeRun(recipe, words, run, outcome.checkpoint.losses, figures, tuple(rows), gradients)


class _Beginning:
    """Where a recipe starts: its weights and batches from the published random numbers, and its first batch."""

    def __init__(self, recipe: Recipe, prepare: Callable[[Parameters], None], batches: Rows | None) -> None:
        self._recipe, self._prepare, self._batches = recipe, prepare, batches
        self.noise = math.nan  # standard error of the first loss

    def start(self, config: MLPConfig, settings: Settings, train: Examples) -> tuple[Parameters, Rows]:
        """What `Session` begins with."""
        generator = TorchGenerator(settings.seed)
        generator.skip_nets(config, *self._recipe.drawn, settings.batch)
        parameters = draw_parameters(config, settings.initialisation, generator)
        self._prepare(parameters)
        batches = self._batches or (
            GeneratorBatches(generator, len(train), settings.batch)
            if settings.draw == "replacement"
            else drawn(settings.draw, settings.seed, len(train), settings.batch)
        )
        first = batches.rows(0, 1)[0]
        contexts, targets, rows = train.batch(first)
        self._contexts, self._targets = contexts[rows], targets[rows]
        return parameters, batches

    def gradients(self, config: MLPConfig, parameters: Mapping[str, Array]) -> Mapping[str, WeightGradient]:
        """Of every weight on the first batch."""
        with np.errstate(all="ignore"):  # of weights that diverged
            seen = observe(config, parameters, self._contexts, self._targets)
            if math.isnan(self.noise):
                self.noise = _standard_error(config, seen, self._targets)
        return _weight_gradients(seen, parameters)


def _figures(session: Session, run: Run) -> dict[str, tuple[float, ...]]:
    """Ours, by the keys of QUANTITIES."""
    loss = {} if run.results is None else run.results.loss
    return {
        "parameters": (float(session.config.parameter_count()),),
        **{key: (loss[key],) for key in ("initial", "train", "dev", "test")},
        **({} if session.settings.prior == "none" else {"challenge": (loss["test"],)}),
        **_norm_figures(session.trainer, run.model.parameters, session.splits),
        **figures_of_trace(run.judged.trace),
    }


def _weight_gradients(seen: Observation, parameters: Mapping[str, Array]) -> dict[str, WeightGradient]:
    """Of every matrix, the embedding included."""
    found = {}
    with np.errstate(all="ignore"):
        for name, gradient in seen.gradients.items():
            if gradient.ndim > 1:
                mean, std = float(gradient.mean(dtype=np.float64)), float(gradient.std(dtype=np.float64))
                found[name] = WeightGradient(gradient, mean, std, float(std / parameters[name].std(dtype=np.float64)))
    return found


def _standard_error(config: MLPConfig, seen: Observation, targets: Integers) -> float:
    """Of a batch's mean loss: the spread of its examples' losses / sqrt(B)."""
    logits = seen.outputs["output_norm" if config.output_norm else "output"].astype(np.float64)  # (B, V)
    shifted = logits - logits.max(axis=1, keepdims=True)
    losses = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(targets)), targets]  # (B,)
    return float(losses.std(ddof=1) / math.sqrt(len(targets)))


def _norm_figures(trainer: Trainer, kept: Mapping[str, Array], splits: Splits) -> dict[str, tuple[float, ...]]:
    """Losses with the statistics of each split itself, and with those of the whole training set (makemore part 3).

    Only for a net with a single batch norm: with several, one pass over the data for each is minutes of work.
    """
    if sum(name.endswith("running_mean") for name in kept) != 1:
        return {}
    train, dev = splits[0].head(COUNTED), splits[1]
    config, engine, threads = trainer.config, trainer.engine, trainer.settings.threads
    precise = precise_norms(config, kept, train.contexts)
    of_dev = precise_norms(config, kept, dev.contexts)

    def loss(parameters: Mapping[str, Array], part: Windows) -> tuple[float, ...]:
        return (mean_loss(engine, config, parameters, part, threads),)

    return {
        "train-batch": loss(precise, train),
        "dev-batch": loss(of_dev, dev),
        "train-precise": loss(precise, train),
        "dev-precise": loss(precise, dev),
    }
