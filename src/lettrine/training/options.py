"""From options as they are typed to a network's shape and training settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from lettrine.errors import ConfigError
from lettrine.model.config import parse_hidden
from lettrine.model.parameters import GROUPS
from lettrine.text.corpora import load_corpus
from lettrine.text.words import WordList, from_words, read_words
from lettrine.training.api import DEFAULT_CORPUS, Shape
from lettrine.training.folder import read_description
from lettrine.training.settings import Settings

WEIGHTS: Final = ("embedding", "hidden", "output", "direct")  # groups a bare --l2 coefficient is for
SHAPE_OPTIONS: Final = ("context", "embedding", "activation", "norm", "direct")
SETTINGS_OPTIONS: Final = {
    "steps": "steps",
    "batch": "batch",
    "lr": "learning_rate",
    "schedule": "schedule",
    "init": "init",
    "seed": "seed",
    "split_seed": "split_seed",
    "eval_every": "eval_every",
    "calibrate": "calibrate",
    "threads": "threads",
    "engine": "engine",
    "health": "health",
}


@dataclass(frozen=True)
class Choices:
    """A shape and settings."""

    shape: Shape
    settings: Settings


def choices(options: Mapping[str, Any], like: str | Path | None = None) -> Choices:
    """What the given options ask for, on top of the defaults or of the run `like`.

    Options that are not in the mapping are left as they are.

    Raises ConfigError for a value outside its range, RunDamagedError if `like` is no run.
    """
    shape, settings = Shape(), Settings()
    if like is not None:
        _, _, config, _, settings, _ = read_description(like)
        values = {name: value for name, value in vars(config).items() if name in Shape.__dataclass_fields__}
        shape = Shape(**values)
    if changed := {name: options[name] for name in SHAPE_OPTIONS if name in options}:
        if "norm" in changed:
            changed["hidden_bias"] = None  # follows the norm, see MLPConfig
        shape = replace(shape, **changed)
    if "hidden" in options:
        shape = replace(shape, hidden=parse_hidden(options["hidden"]))
    return Choices(shape, replace(settings, **_settings_changes(options, settings)))


def _settings_changes(options: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    changed = {field: options[name] for name, field in SETTINGS_OPTIONS.items() if name in options}
    if changed.get("steps", 1) < 1:
        raise ConfigError(f"steps got {changed['steps']}; expected at least 1")
    if "optimizer" in options and "lr" not in options:
        changed["learning_rate"] = None  # follows the optimiser, see Settings
    if "fractions" in options:
        changed["fractions"] = parse_fractions(options["fractions"])
    names = {"optimizer": "kind", "momentum": "momentum", "weight_decay": "weight_decay"}
    optimiser = {field: options[name] for name, field in names.items() if name in options}
    if "optimizer" in options:
        optimiser.setdefault("weight_decay", None)  # follows the kind, see Optimiser
    if "l2" in options:
        optimiser["l2"] = parse_l2(options["l2"])
    if optimiser:
        changed["optimiser"] = replace(settings.optimiser, **optimiser)
    return changed


def word_list_of(options: Mapping[str, Any]) -> WordList:
    """The words that were asked for: a file, standard input, a corpus, or the shipped list.

    Raises ConfigError if both a file and a corpus are named, WordListError if the words cannot be read.
    """
    words, corpus, top = options.get("words"), options.get("corpus"), options.get("top")
    cleaning = {"lower": bool(options.get("lower")), "unique": bool(options.get("unique"))}
    if words is not None:
        if corpus is not None or top is not None:
            raise ConfigError(
                f"got both the word list {words} and {'--corpus' if corpus else '--top'}; expected one or the other"
            )
        return read_words(words, column=options.get("column"), **cleaning)
    if "column" in options:
        raise ConfigError("--column got no file; expected a CSV or TSV file as WORDS")
    loaded = load_corpus(corpus or DEFAULT_CORPUS, top=top)
    return from_words(loaded.words, source=loaded.source, **cleaning) if any(cleaning.values()) else loaded


def parse_l2(text: str) -> dict[str, float]:
    """L2 coefficients by parameter group from their written form: "1e-4", or "hidden=1e-4,output=1e-5".

    Raises ConfigError for anything else.
    """
    result: dict[str, float] = {}
    for part in text.split(","):
        group, equals, value = part.strip().rpartition("=")
        try:
            coefficient = float(value)
        except ValueError:
            raise ConfigError(
                f"l2 got {text!r}; expected a number such as 1e-4, or group=number with groups {', '.join(GROUPS)}"
            ) from None
        result |= dict.fromkeys([group] if equals else WEIGHTS, coefficient)
    return result


def parse_fractions(text: str) -> tuple[float, float]:
    """Shares of train and dev from their written form, such as "0.8,0.1". Raises ConfigError for anything else."""
    try:
        train, dev = (float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"fractions got {text!r}; expected two numbers such as 0.8,0.1; the rest is test") from None
    return train, dev
