"""Playing with a training: what the page asks for is done between two steps, logged, and can be kept."""

from __future__ import annotations

import time

import numpy as np
import pytest

from lettrine.errors import LettrineError
from lettrine.live.board import Board
from lettrine.live.faults import FAULTS
from lettrine.live.lessons import LESSONS
from lettrine.live.play import Player
from lettrine.text.corpora import load_corpus
from lettrine.text.words import read_words
from lettrine.training.folder import load_run

SMALL = {"hidden": "20", "embedding": "4", "context": "3", "batch": "32", "steps": "2000", "engine": "native", "threads": "1"}


@pytest.fixture
def player(tmp_path):
    made = Player(load_corpus("first-names"), SMALL, Board(), out=tmp_path)
    yield made
    made.close()


def until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def test_train_pause_and_step(player):
    trainer = player._session.trainer
    until(lambda: trainer.step == 1)
    player.answer("train", {})
    until(lambda: trainer.step > 50)
    player.answer("pause", {})
    step = trainer.step
    time.sleep(0.2)
    assert trainer.step == step
    player.answer("step", {})
    player.answer("step", {"steps": 5})
    assert trainer.step == step + 6


def test_a_change_is_logged_and_kept_bit_for_bit(player, tmp_path):
    player.answer("step", {"steps": 40})
    player.answer("change", {"learning_rate": 0.003, "batch": 16})
    player.answer("step", {"steps": 40})
    folder = player.answer("keep", {"name": "my/../run"})
    assert folder == str(tmp_path / "my----run")
    run = load_run(folder)
    played = player._session.trainer
    assert [change.values for change in run.settings.changes] == [{"learning_rate": 0.003, "batch": 16}]
    assert run.status == "interrupted"
    kept = played.kept()
    for name, value in run.model.parameters.items():
        np.testing.assert_array_equal(value, kept[name])


def test_a_new_start_leaves_a_ghost(player):
    player.answer("step", {"steps": 30})
    player.answer("begin", {**SMALL, "activation": "tanh"})
    trainer = player._session.trainer
    until(lambda: trainer.step == 1)
    assert player._session.config.activation == "tanh"

    def drawn():
        player.answer("temperature", {"value": 1.0})  # each answer offers the painter what there is
        time.sleep(0.1)
        values = player._board.news(0)[1]  # the pictures are painted one after another
        return '"ghosted":true' in values.get("picture embedding", "") and "[3,3]" in values.get("picture loss", "")

    until(drawn)
    _, values = player._board.news(0)
    assert "Kneser-Ney" in values["picture loss"]
    assert "--activation tanh" in values["facts"]


def test_a_fault_is_seen_and_its_remedy_applied(player):
    player.answer("plant", {"fault": "naive start"})
    player.answer("step", {"steps": 60})

    def told():
        player.answer("temperature", {"value": 1.0})  # each answer offers the painter what there is
        time.sleep(0.2)
        return '"cure":"start again' in player._board.news(0)[1].get("findings", "")

    until(told)
    player.answer("apply", {"finding": "initial-loss"})
    assert player._session.settings.init == "kaiming"


@pytest.mark.parametrize(
    ("what", "values", "said"),
    [
        ("fly", {}, "there is not"),
        ("begin", {"hidden": "x"}, "hidden"),
        ("begin", {"words": "/etc/passwd"}, "there is not"),
        ("begin", {"batch": "many"}, "expected a number"),
        ("change", {"learning_rate": -1.0}, "learning rate got"),
        ("change", {"nonsense": 1}, "unexpected"),
        ("plant", {"fault": "x"}, "expected"),
        ("apply", {"finding": "x"}, "no remedy"),
        ("temperature", {"value": 1e9}, "expected 0 to 5"),
        ("words", {"text": ""}, "word"),
        ("train", {"a-b": 1}, "a name that is none"),
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(player, what, values, said):
    until(lambda: player._session.trainer.step == 1)
    session = player._session
    with pytest.raises(LettrineError, match=said):
        player.answer(what, values)
    assert player._session is session
    player.answer("step", {})
    assert session.trainer.step == 2


def test_the_command_trains_the_same(tmp_path):
    path = tmp_path / "my words.txt"
    path.write_text("\n".join(f"{a}{b}o" for a in "bcdfgh" for b in "aeiou"))
    player = Player(read_words(path), SMALL, Board())
    command = player._facts()["command"]
    player.close()
    assert command.startswith(f"lettrine train '{path}' --steps 2000 --prior none")
    assert "--hidden 20" in command


def test_words_of_ones_own(player):
    player.answer("words", {"text": "\n".join(f"{a}{b}o" for a in "bcdfgh" for b in "aeiou"), "name": "mine.txt"})
    assert player._session.vocabulary.size == 12
    assert "mine.txt" in player._facts()["command"]


@pytest.mark.parametrize("name", LESSONS)
def test_every_button_of_a_lesson_does_what_it_says(player, name):
    for part in LESSONS[name].parts:
        if part.button:
            player.answer(part.what, part.values)
            player.answer("step", {"steps": 2})
    assert any(part.button for part in LESSONS[name].parts)


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_of_the_shelf_can_be_planted(player, fault):
    assert player.answer("plant", {"fault": fault}) == FAULTS[fault].says
    player.answer("pause", {})


def test_a_recipe_of_the_shelf_is_played_and_its_command_shown(player):
    lesson = player.answer("recipe", {"name": "deep-gain-3"})
    assert lesson
    assert player._session.config.hidden == (200,) * 5
    player.answer("step", {"steps": 2})
    assert player._facts()["command"] == "lettrine recipe run deep-gain-3"
    with pytest.raises(LettrineError, match="recipe"):
        player.answer("recipe", {"name": "../x"})


def test_the_gain_of_the_start_scales_the_hidden_weights(player):
    player.answer("gain", {"times": 2.0})
    # The player trains on at its own pace, so the weights may have moved since: the change made before the first step is kept.
    changes = [(change.step, change.scaled) for change in player._session.trainer.settings.changes]
    assert changes == [(0, {"layers.0.weight": 2.0})]
    with pytest.raises(LettrineError, match="gain got"):
        player.answer("gain", {"times": 1e9})


def test_a_shipped_list_is_taken(player):
    player.answer("words", {"corpus": "first-names"})
    assert player._session.words.source == "first-names"
    assert "first-names" in player._board.news(0)[1]["chosen"]
