"""Every command of the guide to words is one that the command line knows."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from lettrine.cli.app import main
from lettrine.text.corpora import load_corpus

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


def test_the_table_of_new_words_holds_new_words_without_odd_capitals() -> None:
    rows = re.findall(r"^\| ([\w-]+) \| ([\d,]+) \| ([\d.]+ %|-) \| (\d+) % \| (.+) \|$", GUIDE, re.MULTILINE)
    assert len(rows) == 10
    for name, _, capitals, _, words in rows:
        shown = words.split(", ")
        assert len(set(shown)) == 10, name
        assert all(shown), name
        assert capitals == "-" or float(capitals.removesuffix(" %")) <= 2.0
        if capitals != "-":
            assert not [word for word in shown if any(a.islower() and b.isupper() for a, b in pairwise(word))], name
    shipped = next(words for name, *_, words in rows if name == "first-names")
    assert not set(shipped.split(", ")) & set(load_corpus("first-names").words)


def test_the_command_that_makes_it_makes_a_row_of_any_list() -> None:
    folder = Path(__file__).parents[1] / "benchmarks"
    made = subprocess.run(
        [sys.executable, "-c", "import new_words; print(new_words.row('few', ['anna', 'bert', 'clara', 'dora', 'emil'] * 4))"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert re.fullmatch(r"\| few \| 20 \| 0\.0 % \| \d+ % \| \w+(, \w+)* \|\n", made)
