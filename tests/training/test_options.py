"""Options: one table, from which the command line is made, and in which every value has a field to go to."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from dataclasses import MISSING, fields, replace
from pathlib import Path

import pytest

from lettrine.cli import app, train
from lettrine.cli import options as cli_options
from lettrine.engine.base import OPTIMISERS, Optimiser
from lettrine.engine.choice import ENGINES
from lettrine.errors import ConfigError, RunDamagedError
from lettrine.model.config import NORMS
from lettrine.model.initialisation import SCHEMES
from lettrine.training import option_table, options
from lettrine.training.api import Shape
from lettrine.training.folder import read_description
from lettrine.training.option_table import OPTIONS, Option
from lettrine.training.schedule import SCHEDULES
from lettrine.training.settings import Settings

HOMES = {"shape": Shape, "settings": Settings, "optimiser": Optimiser}
# Fields that only Python can set: the published nets need them, no command does.
PYTHON_ONLY = {
    ("shape", "hidden_bias"),
    ("shape", "output_bias"),
    ("shape", "output_norm"),
    ("shape", "norm_momentum"),
    ("settings", "keep"),
    ("settings", "changes"),  # made while a training goes on
    ("settings", "optimiser"),  # its own fields are options
    ("optimiser", "beta1"),
    ("optimiser", "beta2"),
    ("optimiser", "eps"),
}


def test_every_field_is_an_option_or_named_as_none() -> None:
    held = {(home, field.name) for home, kind in HOMES.items() for field in fields(kind)}
    reached = {(option.goes_to, option.target) for option in OPTIONS if option.goes_to != "words"}
    assert reached | PYTHON_ONLY == held
    assert not reached & PYTHON_ONLY
    assert len({option.name for option in OPTIONS}) == len(OPTIONS)


@pytest.mark.parametrize(
    ("name", "known"),
    [("norm", NORMS), ("init", SCHEMES), ("optimizer", OPTIMISERS), ("schedule", SCHEDULES), ("engine", ENGINES)],
)
def test_what_may_be_typed_is_what_the_rooms_know(name: str, known) -> None:
    (option,) = (option for option in OPTIONS if option.name == name)
    assert option.choices == tuple(known)


def spelled(value: object) -> str:
    """A value as --help writes it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):
        return ",".join(map(spelled, value))
    return "none" if value == {} else str(value)


def test_help_tells_the_defaults_that_are_taken() -> None:
    for option in OPTIONS:
        if option.goes_to == "words" or not re.fullmatch(r"[\w.,-]+", option.default):
            continue  # a sentence, about a value that is worked out
        (field,) = (field for field in fields(HOMES[option.goes_to]) if field.name == option.target)
        value = field.default if field.default is not MISSING else field.default_factory()
        assert option.default == spelled(value), option.name


@pytest.fixture
def table() -> Iterator[None]:
    """A table that the test may change; `rebuilt` makes the command line from it."""
    kept = option_table.OPTIONS
    yield
    rebuilt(kept)


def rebuilt(rows: tuple[Option, ...]) -> None:
    option_table.OPTIONS = rows
    for module in (options, cli_options, train):
        importlib.reload(module)


def command(words: Path, out: Path, *typed: str) -> int:
    return app.main(["train", str(words), "--steps", "4", "--hidden", "8", "--no-report", "--out", str(out), *typed])


@pytest.mark.usefixtures("table")
def test_an_option_added_to_the_table_arrives(tmp_path: Path, few_words, capsys) -> None:
    (words := tmp_path / "words.txt").write_text("\n".join(few_words))
    rebuilt((*OPTIONS, Option("norm_momentum", float, "Of the running statistics.", option_table.NETWORK, "shape")))
    assert command(words, tmp_path / "run", "--norm", "batch", "--norm-momentum", "0.25") == 0
    assert json.loads((tmp_path / "run" / "run.json").read_text())["config"]["norm_momentum"] == 0.25
    assert command(words, tmp_path / "other", "--norm-momentum", "5") == 2
    assert "norm momentum got 5" in capsys.readouterr().err


@pytest.mark.usefixtures("table")
def test_an_option_without_a_field_fails(tmp_path: Path, few_words, capsys) -> None:
    (words := tmp_path / "words.txt").write_text("\n".join(few_words))
    rebuilt((*OPTIONS, Option("dummy", float, "Goes nowhere.", option_table.NETWORK, "shape")))
    assert command(words, tmp_path / "run", "--dummy", "5") == 2
    assert "dummy" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("table")
def test_an_option_that_is_not_in_the_table_cannot_be_typed_or_passed(tmp_path: Path, few_words, capsys) -> None:
    (words := tmp_path / "words.txt").write_text("\n".join(few_words))
    assert command(words, tmp_path / "run", "--norm-momentum", "5") == 2
    assert "norm-momentum" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="got the option norm_momentum; expected one of words, corpus"):
        options.choices({"steps": 3, "norm_momentum": 5.0})


@pytest.mark.parametrize(
    ("place", "match"), [(("config",), "dummy"), (("settings",), "dummy"), (("settings", "optimiser"), "dummy"), ((), "dummy")]
)
def test_an_entry_of_run_json_that_nobody_reads_is_an_error(tmp_path: Path, few_words, place, match: str) -> None:
    (words := tmp_path / "words.txt").write_text("\n".join(few_words))
    assert command(words, tmp_path / "run") == 0
    path = tmp_path / "run" / "run.json"
    whole = inner = json.loads(path.read_text())
    for key in place:
        inner = inner[key]
    inner["dummy"] = 1
    path.write_text(json.dumps(whole))
    with pytest.raises(RunDamagedError, match=match):
        read_description(tmp_path / "run")


def test_options_on_top_of_another_run(tmp_path: Path, few_words) -> None:
    (words := tmp_path / "words.txt").write_text("\n".join(few_words))
    assert command(words, tmp_path / "run", "--optimizer", "sgd", "--momentum", "0.5", "--norm", "batch") == 0
    chosen = options.choices({"optimizer": "adamw", "norm": "none", "fractions": "0.7,0.2"}, tmp_path / "run")
    assert chosen.settings.optimiser == replace(Optimiser("adamw"), momentum=0.5)
    assert chosen.settings.peak == 0.01  # follows the optimiser
    assert (chosen.shape.norm, chosen.shape.hidden_bias, chosen.shape.hidden) == ("none", None, (8,))
    assert chosen.settings.fractions == (0.7, 0.2)


def test_a_run_of_an_earlier_version_is_read_though_a_field_has_another_name() -> None:
    written = Settings(precise_norm=True).to_dict()
    written["calibrate"] = written.pop("precise_norm")
    assert Settings.from_dict(written) == Settings(precise_norm=True)
