"""Every command of the guide to words is one that the command line knows."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from lettrine.cli.app import main

GUIDE = (Path(__file__).parents[1] / "docs" / "words.md").read_text(encoding="utf-8")
COMMANDS = sorted(
    {
        line.split("#")[0].split("|")[0].strip() if "'" not in line else line
        for line in re.findall(r"^\$? ?(lettrine .*)$", GUIDE, re.MULTILINE)
    }
)
OPTIONS = sorted(set(re.findall(r"--[a-z][a-z-]+", GUIDE)))


@pytest.mark.parametrize("command", [each for each in COMMANDS if not each.startswith("lettrine:")])
def test_commands_are_known(command: str, capsys) -> None:
    words = shlex.split(command)[1:]
    assert main([words[0], "--help"]) == 0
    shown = capsys.readouterr().out
    for word in words[1:]:
        if word.startswith("--"):
            assert word in shown, f"{command}: {word}"


def test_every_option_it_names_exists(capsys) -> None:
    for command in ("train", "sample", "score"):
        assert main([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert not [option for option in OPTIONS if option not in shown]
