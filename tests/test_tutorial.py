"""The tutorial is code: its commands run in order and print what it says they print, its Python runs."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import pytest

from lettrine.cli.app import main
from lettrine.recipes.catalogue import RECIPES
from lettrine.tools.faults import FAULTS

TEXT = (Path(__file__).parents[1] / "docs" / "tutorial.md").read_text()
CONSOLE = re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL)
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
BUILT = importlib.util.find_spec("lettrine._native") is not None


def steps() -> list[tuple[str, list[str]]]:
    """Every command with the lines that are shown below it."""
    made: list[tuple[str, list[str]]] = []
    for line in "".join(CONSOLE).splitlines():
        if line.startswith("$ "):
            made.append((line.removeprefix("$ "), []))
        else:
            made[-1][1].append(line)
    return made


def squeezed(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.slow
@pytest.mark.skipif(not BUILT, reason="a minute on the reference engine")
def test_commands_run_in_order_and_print_what_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    assert len(steps()) > 12
    for command, shown in steps():
        words = shlex.split(command)
        assert words[0] == "lettrine"
        assert main(words[1:]) == 0, command
        told = squeezed(capsys.readouterr().out)
        for line in shown:
            assert squeezed(line) in told, f"{command}\n{told}"


@pytest.mark.parametrize("place", range(len(PYTHON)))
def test_python_runs(place: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    exec(compile(PYTHON[place], f"tutorial block {place}", "exec"), {"__name__": "__main__"})  # noqa: S102 - our own text


def test_what_it_counts() -> None:
    assert "twenty-two of them" in TEXT
    assert len(FAULTS) == 22
    assert "Six are mistakes" in TEXT
    assert sum(fault.source == "sources" for fault in FAULTS) == 6
    assert sum(recipe.steps == 200_000 for recipe in RECIPES) == 8


def test_it_is_read_in_about_twenty_minutes() -> None:
    assert 1_000 < len(TEXT.split()) < 4_000
