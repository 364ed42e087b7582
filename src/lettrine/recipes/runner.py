"""Runs a recipe: the published network, its random numbers, its steps, on any words and either engine."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from lettrine.engine.base import Engine, Integers, Losses
from lettrine.engine.choice import choose_engine
from lettrine.engine.reference import Observation, observe
from lettrine.errors import ConfigError, DivergedError
from lettrine.health.findings import Report
from lettrine.inference.evaluation import calibrate_norms, mean_loss
from lettrine.inference.language_model import LanguageModel
from lettrine.inference.sampling import MAX_LENGTH
from lettrine.model.config import MLPConfig
from lettrine.model.parameters import Array, Parameters
from lettrine.recipes.dice import SEED, Dice, DiceBatches, draw_parameters
from lettrine.recipes.figures import Comparison, Figures, compare, figures_of_trace, noise_of_trace
from lettrine.recipes.recipe import Recipe
from lettrine.text.vocabulary import Vocabulary
from lettrine.text.windows import Windows, windows
from lettrine.text.words import WordList, split
from lettrine.training.batches import Rows
from lettrine.training.interrupt import deferred_signals
from lettrine.training.settings import Settings
from lettrine.training.trainer import Progress, Trainer, check_memory
from lettrine.training.watch import EngineWatch, facts_of

SHORT: Final = 2_000  # steps; shorter runs are sampled evenly, so that their last batches tell how much figures differ
SAMPLES: Final = 100

Splits = tuple[Windows, Windows, Windows]
Listener = Callable[[Progress], None]


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

    status: "finished", "interrupted" or "diverged". figures: ours by the keys of QUANTITIES. comparisons: published figures
    beside ours. health: what the health check says of it. gradients: by steps taken and name of the weight, on the first batch.
    """

    recipe: Recipe
    words: WordList
    settings: Settings
    model: LanguageModel = field(repr=False)
    losses: Losses = field(repr=False)
    figures: Figures
    comparisons: tuple[Comparison, ...]
    health: Report = field(repr=False)
    status: str
    steps: int
    seconds: float
    signal: int = 0
    gradients: Mapping[int, Mapping[str, WeightGradient]] = field(default_factory=dict, repr=False)

    def sample(self, count: int = 10, **how: Any) -> list[str]:
        """New words; see `LanguageModel.sample`."""
        return self.model.sample(count, **{"max_length": min(2 * max(map(len, self.words)), MAX_LENGTH), **how})

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
    report: Listener = lambda _: None,
) -> RecipeRun:
    """Train a recipe's network on some words and set our figures beside the published ones.

    steps: fewer than published for a quick look, in which final figures are not judged; 0 takes all. seed: of the published
    random numbers; another one draws other weights and batches. Ctrl-C stops between two steps.
    Raises ConfigError, WordListError, EngineError.
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
        raise ConfigError(f"steps got {steps!r}; expected a whole number, or 0 for the {recipe.steps:,} of the published run")
    vocabulary = Vocabulary.from_words(words.words)
    parts = split(words.words)
    splits = tuple(windows(part, vocabulary, recipe.shape.context) for part in parts)
    settings = recipe.settings(steps=steps, engine=engine, threads=threads, seed=seed).resolved(len(splits[0]))
    return train_recipe(recipe, words, vocabulary, (splits[0], splits[1], splits[2]), settings, report=report)


def train_recipe(
    recipe: Recipe,
    words: WordList,
    vocabulary: Vocabulary,
    splits: Splits,
    settings: Settings,
    *,
    engine: Engine | None = None,
    prepare: Callable[[Parameters], None] = lambda _: None,
    batches: Rows | None = None,
    report: Listener = lambda _: None,
) -> RecipeRun:
    """`run_recipe` on examples that are already made, with settings that may differ from the recipe's.

    engine, batches: in place of those that the settings name and the seed gives. prepare: changes the weights it starts from.
    """
    config, chosen = recipe.config(vocabulary.size), engine or choose_engine(settings.engine)
    check_memory(config, settings)
    train, dev, _ = splits
    dice = Dice(settings.seed)
    dice.skip_nets(config, *recipe.drawn, settings.batch)
    parameters = draw_parameters(config, settings.initialisation, dice)
    prepare(parameters)
    batches = batches or DiceBatches(dice, len(train), settings.batch)
    first = batches.rows(0, 1)[0]
    seen = observe(config, parameters, train.contexts[first], train.targets[first])
    noise, gradients = _standard_error(config, seen, train.targets[first]), {0: _weight_gradients(seen, parameters)}
    facts = facts_of(config, settings.optimiser, chosen, settings.batch, train.targets)
    every = max(1, settings.steps // SAMPLES) if settings.steps <= SHORT else 0
    watch = EngineWatch(config, settings.optimiser, facts, every=every, last=settings.steps - 1)
    trainer = Trainer(
        config,
        settings,
        chosen,
        train,
        dev,
        parameters=parameters,
        batches=batches,
        watch=watch,
        report=report,
    )
    with deferred_signals() as requests:
        outcome = trainer.run(requests)
    checkpoint, kept = outcome.checkpoint, trainer.kept()
    if not checkpoint.step:
        if outcome.signal:
            signal.raise_signal(outcome.signal)  # nothing to show yet, so it ends us as it would have without us
        raise DivergedError(f"the first loss of recipe {recipe.name} is not finite; try another --seed, or other words")
    figures: dict[str, tuple[float, ...]] = {
        "parameters": (float(config.parameter_count()),),
        "initial": (float(checkpoint.losses[0]),),
        **{key: (trainer.loss_of(part, kept),) for key, part in zip(("train", "dev", "test"), splits, strict=True)},
        **_norm_figures(trainer, kept, splits),
        **figures_of_trace(watch.trace()),
    }
    with np.errstate(all="ignore"):  # of weights that diverged
        seen = observe(config, kept, train.contexts[first], train.targets[first])
    gradients[checkpoint.step] = _weight_gradients(seen, kept)
    whole = checkpoint.step == recipe.steps and settings.seed == SEED
    spread = {"initial": (noise,), **noise_of_trace(watch.trace())}
    rows = compare(recipe, figures, watch.trace(), words.digest, whole=whole, noise=spread)
    model = LanguageModel(config, vocabulary, kept, chosen, frozenset(words))
    return RecipeRun(
        recipe,
        words,
        settings,
        model,
        checkpoint.losses,
        figures,
        tuple(rows),
        watch.examine(),
        outcome.status,
        checkpoint.step,
        checkpoint.seconds[1],
        outcome.signal,
        gradients,
    )


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


def _norm_figures(trainer: Trainer, kept: Parameters, splits: Splits) -> dict[str, tuple[float, ...]]:
    """Losses with the statistics of each split itself, and with those of the whole training set (makemore part 3).

    Only for a net with a single batch norm: with several, one pass over the data for each is minutes of work.
    """
    if sum(name.endswith("running_mean") for name in kept) != 1:
        return {}
    train, dev, _ = splits
    config, engine, threads = trainer.config, trainer.engine, trainer.settings.threads
    calibrated = calibrate_norms(config, kept, train.contexts)
    of_dev = calibrate_norms(config, kept, dev.contexts)

    def loss(parameters: Parameters, part: Windows) -> tuple[float, ...]:
        return (mean_loss(engine, config, parameters, part.contexts, part.targets, threads),)

    return {
        "train-batch": loss(calibrated, train),
        "dev-batch": loss(of_dev, dev),
        "train-calibrated": loss(calibrated, train),
        "dev-calibrated": loss(calibrated, dev),
    }
