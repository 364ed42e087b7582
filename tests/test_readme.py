"""What the README shows runs as it stands there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from lettrine.cli.app import main

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = sorted({line.split("#")[0].strip() for line in re.findall(r"^\$? ?(lettrine .*)$", README, re.MULTILINE)})


def test_there_is_something_to_run() -> None:
    assert BLOCKS
    assert COMMANDS


@pytest.mark.parametrize("place", range(len(BLOCKS)))
def test_python_blocks_run(place: int, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(BLOCKS[place], f"README block {place}", "exec"), {"__name__": "__main__"})  # noqa: S102 - our own text


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_known(command: str, capsys) -> None:
    """Every option the README names exists: with --help appended the command line is parsed up to it."""
    words = shlex.split(command)[1:]
    assert main([words[0], "--help"]) == 0
    shown = capsys.readouterr().out
    for word in words[1:]:
        if word.startswith("-"):
            assert word in shown, f"{command}: {word}"
