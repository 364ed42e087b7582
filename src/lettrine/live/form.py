"""The form of an interactive page: its fields, the typed values, and the command for the same training."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from math import isfinite, log, nan
from typing import Any, Final

import numpy as np

from lettrine.errors import ConfigError, quote
from lettrine.live.faults import FAULTS
from lettrine.recipes.catalogue import RECIPES
from lettrine.text.corpora import list_corpora
from lettrine.text.words import WordList
from lettrine.training.option_table import NETWORK, OPTIONS, TRAINING
from lettrine.training.session import Session

HIDDEN: Final = (
    "model",
    "effort",
    "seconds",
    "networks",
    "patience",
    "health",
    "engine",
    "threads",
    "eval_every",
    "precise_norm",
)
"""Options that make no sense for a training that is watched while it runs."""
RECENT: Final = 50  # steps whose mean loss is shown
USUAL: Final = {"steps": 20_000, "prior": "none"}
"""Defaults of the page: a training that is long enough to play with, and the network alone."""


def typed_options(values: Mapping[str, Any]) -> dict[str, Any]:
    """The typed values as options. Raises ConfigError for an unknown name, or a value of the wrong kind."""
    known = {option.name: option for option in OPTIONS if option.goes_to != "words"}
    if unknown := next((name for name in values if name not in known), None):
        raise ConfigError(f"the page chose {quote(unknown)}, which there is not; expected one of {', '.join(known)}")
    return {name: _as(known[name].kind, name, value) for name, value in values.items() if value not in ("", None)}


def fields_of(session: Session, typed: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The fields of the form: name, help, choices, typed value, and value in force."""
    now = {**vars(session.config), **vars(session.settings), **vars(session.settings.optimiser)}
    fields = []
    for option in OPTIONS:
        if option.panel not in (NETWORK, TRAINING) or option.name in HIDDEN:
            continue
        holds = now.get(option.target, "")
        holds = ",".join(map(str, holds)) if isinstance(holds, tuple) else "" if holds in (None, {}) else holds
        fields.append(
            {
                "name": option.name,
                "panel": option.panel,
                "help": option.text,
                "choices": list(option.choices),
                "switch": option.kind is bool,
                "typed": typed.get(option.name, ""),
                "holds": f"{holds:.4g}" if isinstance(holds, float) else str(holds),
            }
        )
    return fields


def command_of(source: str, typed: Mapping[str, Any]) -> str:
    """The command for the same training. source: the words as typed, "" for the shipped list."""
    parts = ["lettrine train", source] if source else ["lettrine train"]
    for name, value in {**USUAL, **typed}.items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            parts.append(option if value else f"--no-{option[2:]}")
        else:
            parts.append(f"{option} {shlex.quote(str(value))}")
    return " ".join(parts)


def recipe_command(name: str, source: str) -> str:
    """The command that runs a recipe on these words."""
    return " ".join(filter(None, ["lettrine recipe run", name, source]))


def shelves() -> dict[str, Any]:
    """The faults, recipes and word lists that the page offers, each by name with a description."""
    return {
        "faults": {name: fault.says for name, fault in FAULTS.items()},
        "recipes": {each.name: each.lesson for each in RECIPES if each.ours is None},
        "corpora": {each.name: each.description for each in list_corpora() if each.available},
    }


def facts_of(session: Session, words: WordList, temperature: float) -> dict[str, Any]:
    """The numbers that the page shows."""
    trainer = session.trainer
    now, losses = trainer.now, trainer.losses[-RECENT:]
    mean = float(np.mean(losses)) if len(losses) else nan
    return {
        "ended": trainer.ended,
        "diverged": trainer.diverged,
        "step": trainer.step,
        "steps": now.steps,
        "loss": mean if isfinite(mean) else None,
        "guess": log(session.config.vocabulary_size),
        "rate": now.peak,
        "batch": now.batch,
        "temperature": temperature,
        "parameters": session.config.parameter_count(),
        "words": len(words),
        "source": words.source,
        "changes": [f"step {change.step}: {_said(change.values)}" for change in trainer.settings.changes],
    }


def _said(values: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in values.items()
    )


def _as(kind: type, name: str, value: Any) -> Any:
    try:
        if kind is bool:
            return {"true": True, "false": False}[str(value).lower()]
        return kind(value if isinstance(value, str) else repr(value))
    except (ValueError, KeyError, OverflowError):
        raise ConfigError(f"{name} got {quote(value)}; expected {'a number' if kind in (int, float) else 'a word'}") from None
