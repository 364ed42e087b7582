"""A word list and a run for the commands to work on."""

from __future__ import annotations

from pathlib import Path

import pytest

from lettrine.cli.app import main

# options of a training that takes no time
QUICK = ["--context", "3", "--embedding", "4", "--hidden", "16", "--steps", "60", "--batch", "16"]


@pytest.fixture(scope="module")
def words(tmp_path_factory, few_words) -> Path:
    path = tmp_path_factory.mktemp("words") / "few.txt"
    path.write_text("\n".join(few_words))
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory, words) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert main(["train", str(words), "--out", str(folder), *QUICK, "--steps", "600"]) == 0
    return folder
