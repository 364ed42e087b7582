"""The form of a page that plays: its fields, what was typed into them, and the command that trains the same."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any, Final

from lettrine.errors import ConfigError, quote
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
USUAL: Final = {"steps": 20_000, "prior": "none"}
"""What is chosen here unless something else is typed: long enough to play with, and the network alone."""


def typed_options(values: Mapping[str, Any]) -> dict[str, Any]:
    """What was typed, as the options want it. Raises ConfigError for an unknown name, or a value that is none of its kind."""
    known = {option.name: option for option in OPTIONS if option.goes_to != "words"}
    if unknown := next((name for name in values if name not in known), None):
        raise ConfigError(f"the page chose {quote(unknown)}, which there is not; expected one of {', '.join(known)}")
    return {name: _as(known[name].kind, name, value) for name, value in values.items() if value not in ("", None)}


def fields_of(session: Session, typed: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The fields of the form: name, help, choices, what was typed, and what holds."""
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
    """The line that trains the same. source: the words as they are typed, "" for the shipped list."""
    parts = ["lettrine train", source] if source else ["lettrine train"]
    for name, value in {**USUAL, **typed}.items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            parts.append(option if value else f"--no-{option[2:]}")
        else:
            parts.append(f"{option} {shlex.quote(str(value))}")
    return " ".join(parts)


def _as(kind: type, name: str, value: Any) -> Any:
    try:
        if kind is bool:
            return {"true": True, "false": False}[str(value).lower()]
        return kind(value if isinstance(value, str) else repr(value))
    except (ValueError, KeyError, OverflowError):
        raise ConfigError(f"{name} got {quote(value)}; expected {'a number' if kind in (int, float) else 'a word'}") from None
