"""From options as they are typed to a network's shape and training settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from lettrine.errors import ConfigError
from lettrine.model.config import parse_hidden
from lettrine.model.parameters import GROUPS
from lettrine.text.corpora import load_corpus
from lettrine.text.labels import read_labelled, read_lists
from lettrine.text.words import WordList, from_words, read_words
from lettrine.training.api import DEFAULT_CORPUS, Shape
from lettrine.training.folder import read_description
from lettrine.training.option_table import OPTIONS
from lettrine.training.settings import Settings

WEIGHTS: Final = ("embedding", "hidden", "output", "direct")  # groups a bare --l2 coefficient is for


@dataclass(frozen=True)
class Choices:
    """The chosen words (see `word_list_of`), shape and settings."""

    words: Mapping[str, Any]
    shape: Shape
    settings: Settings


def choices(options: Mapping[str, Any], like: str | Path | None = None) -> Choices:
    """The choices of the given options, on top of the defaults or of the run `like`.

    options: by the names of `option_table.OPTIONS`; missing ones keep their value.
    Raises ConfigError for an unknown option or a value outside its range, RunDamagedError if `like` is no run.
    """
    shape, settings = Shape(), Settings()
    if like is not None:
        _, _, config, _, settings, _ = read_description(like)
        shape = Shape(**{name: value for name, value in vars(config).items() if name in Shape.__dataclass_fields__})
    changed: dict[str, dict[str, Any]] = {"words": {}, "shape": {}, "settings": {}, "optimiser": {}}
    left = dict(options)
    for option in OPTIONS:
        if option.name in left:
            value = left.pop(option.name)
            changed[option.goes_to][option.target] = PARSERS[option.name](value) if option.name in PARSERS else value
    if left:
        raise ConfigError(f"got the option {next(iter(left))}; expected one of {', '.join(option.name for option in OPTIONS)}")
    for name, followers in FOLLOWERS.items():
        if name in options:
            for goes_to, field in followers:
                changed[goes_to].setdefault(field, None)
    for name in ("steps", "batch", "networks"):  # 0 means: chosen by the words
        if changed["settings"].get(name, 1) < 1:
            raise ConfigError(f"{name} got {changed['settings'][name]}; expected at least 1")
    optimiser = replace(settings.optimiser, **changed["optimiser"])
    settings = replace(settings, optimiser=optimiser, **changed["settings"])
    return Choices(changed["words"], replace(shape, **changed["shape"]), settings)


def word_list_of(options: Mapping[str, Any]) -> WordList:
    """The chosen words: a file, standard input, a corpus, or the shipped list. options: as `Choices.words`.

    Raises ConfigError if both a file and a corpus are named, WordListError if the words cannot be read.
    """
    given, corpus, top = options.get("words"), options.get("corpus"), options.get("top")
    lists = [given] if isinstance(given, str) else list(given or ())
    cleaning = {"lower": bool(options.get("lower")), "unique": bool(options.get("unique"))}
    if lists:
        if corpus is not None or top is not None:
            raise ConfigError(
                f"got both the word list {lists[0]} and {'--corpus' if corpus else '--top'}; expected one or the other"
            )
        column, labels = options.get("column"), options.get("labels")
        if labels is not None:
            if len(lists) > 1 or column is None:
                raise ConfigError(
                    "--labels got no single table; expected one CSV or TSV file as WORDS, and --column for its words"
                )
            return read_labelled(lists[0], column, labels, **cleaning)
        if len(lists) > 1:
            return read_lists(lists, column=column, **cleaning)
        return read_words(lists[0], column=column, **cleaning)
    if name := next((name for name in ("column", "labels") if name in options), None):
        raise ConfigError(f"--{name} got no file; expected a CSV or TSV file as WORDS")
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


PARSERS: Final[Mapping[str, Callable[[str], Any]]] = {"hidden": parse_hidden, "l2": parse_l2, "fractions": parse_fractions}
"""Options with a parser of their own."""

FOLLOWERS: Final = {
    "norm": (("shape", "hidden_bias"),),  # see MLPConfig
    "optimizer": (("settings", "learning_rate"), ("optimiser", "weight_decay")),  # see Settings and Optimiser
}
"""Fields that an option resets, so that they are chosen to fit it, unless they are given too."""
