"""A training taken step by step: stepped, paused and changed by hand, and repeated bit for bit from what it wrote down."""

from __future__ import annotations

import json
import re
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import lettrine
from lettrine.cli.app import main
from lettrine.engine.base import Optimiser
from lettrine.errors import ConfigError, HealthError, RunBusyError, RunDamagedError, StorageError
from lettrine.training import trainer
from lettrine.training.changes import Change
from lettrine.training.folder import read_description
from lettrine.training.interrupt import Requests
from lettrine.training.session import Session
from lettrine.training.settings import Settings
from lettrine.training.shape import Shape

SMALL = Shape(context=3, embedding=4, hidden=(16,))
QUICK = Settings(steps=120, batch=8, eval_every=30, engine="reference")
SGD = replace(QUICK, optimiser=Optimiser("sgd"), learning_rate=0.1)


def same(ours: lettrine.Run, theirs: lettrine.Run) -> None:
    assert ours.model.parameters.keys() == theirs.model.parameters.keys()
    for name, value in theirs.model.parameters.items():
        np.testing.assert_array_equal(ours.model.parameters[name], value, err_msg=name)
    assert ours.results.loss == theirs.results.loss


def test_steps_by_hand_end_as_a_whole_training(few_words) -> None:
    whole = lettrine.train(few_words, shape=SMALL, settings=QUICK)
    with Session(few_words, shape=SMALL, settings=QUICK) as session:
        assert session.trainer.advance().step == 1
        assert session.trainer.advance(46).step == 47
        progress = session.trainer.advance(1_000)
        assert (progress.step, progress.steps, session.trainer.ended) == (120, 120, True)
        with pytest.raises(ConfigError, match="has ended: all 120 steps are taken"):
            session.trainer.advance()
    assert session.result.status == "finished"
    same(session.result, whole)


def test_a_session_left_early_is_a_run_that_goes_on(tmp_path: Path, few_words) -> None:
    with Session(few_words, out=tmp_path / "run", shape=SMALL, settings=QUICK) as session:
        session.trainer.advance(40)
        with pytest.raises(RunBusyError):
            lettrine.resume(tmp_path / "run")
    assert (session.result.status, session.result.results.steps) == ("interrupted", 40)
    same(lettrine.resume(tmp_path / "run", page=False), lettrine.train(few_words, shape=SMALL, settings=QUICK))


CHANGES = (
    (10, {"learning_rate": 0.05, "schedule": "cosine"}),
    (30, {"batch": 16, "momentum": 0.9, "eval_every": 20}),
    (47, {"scale": {"layers.0.weight": 0.5, "output.bias": 2.0}, "l2": {"hidden": 1e-3}}),
    (90, {"steps": 150, "weight_decay": 0.01}),
)


def changed(words, out: Path | None = None, settings: Settings = SGD) -> lettrine.Run:
    with Session(words, out=out, shape=SMALL, settings=settings) as session:
        for step, values in CHANGES:
            session.trainer.advance(step - session.trainer.step)
            session.trainer.change(**values)
        session.trainer.advance(150)
    return session.result


def test_changes_are_made_and_a_run_with_the_same_settings_is_the_same(few_words) -> None:
    plain, run = lettrine.train(few_words, shape=SMALL, settings=SGD), changed(few_words)
    assert (run.results.steps, run.status) == (150, "finished")
    assert [(each.step, each.values) for each in run.settings.changes] == list(CHANGES)
    assert any((run.model.parameters[name] != value).any() for name, value in plain.model.parameters.items())
    same(lettrine.train(few_words, shape=SMALL, settings=run.settings), run)


def test_a_changed_run_resumes_bit_for_bit_from_before_and_after_a_change(tmp_path: Path, few_words, monkeypatch) -> None:
    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", 0.0)
    run = changed(few_words)
    with Session(few_words, out=tmp_path / "run", shape=SMALL, settings=SGD) as session:
        kept = {}
        for step, values in CHANGES:
            session.trainer.advance(step - session.trainer.step)
            kept[step] = (tmp_path / "run" / "trainer.safetensors").read_bytes()  # not yet with the change
            session.trainer.change(**values)
            session.trainer.advance(1)
            kept[step + 1] = (tmp_path / "run" / "trainer.safetensors").read_bytes()
        shutil.copytree(tmp_path / "run", tmp_path / "killed")  # as a kill would leave it
    for step, checkpoint in kept.items():
        shutil.copytree(tmp_path / "killed", tmp_path / str(step))
        (tmp_path / str(step) / "trainer.safetensors").write_bytes(checkpoint)
        same(lettrine.resume(tmp_path / str(step), page=False), run)


def test_a_change_is_written_before_it_is_made(tmp_path: Path, few_words, monkeypatch) -> None:
    with Session(few_words, out=tmp_path / "run", shape=SMALL, settings=SGD) as session:
        session.trainer.advance(5)
        session.trainer.change(learning_rate=0.02)
        assert read_description(tmp_path / "run")[4].changes == (Change(5, {"learning_rate": 0.02}),)

        def full(*_args: object, **_more: object) -> None:
            raise StorageError("no space left")

        monkeypatch.setattr("lettrine.training.session.describe", full)
        with pytest.raises(StorageError):
            session.trainer.change(learning_rate=0.5)
        monkeypatch.undo()
        assert session.trainer.now.peak == 0.02
        assert len(session.trainer.settings.changes) == 1


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"learning_rate": -1.0}, "learning rate got -1"),
        ({"batch": 0}, "batch got 0"),
        ({"steps": 5}, "steps got 5 at step 5; expected more"),
        ({"momentum": 1.5}, "momentum got 1.5"),
        ({"scale": {"layers.9.weight": 2.0}}, "scale got 'layers.9.weight'; expected among embedding.weight"),
        ({"scale": {"output.bias": float("nan")}}, "scale of output.bias got nan"),
    ],
    ids=str,
)
def test_what_cannot_be_changed_changes_nothing(few_words, values, match: str) -> None:
    with Session(few_words, shape=SMALL, settings=SGD) as session:
        session.trainer.advance(5)
        before = session.trainer.now
        with pytest.raises(ConfigError, match=match):
            session.trainer.change(**values)
        assert session.trainer.now == before
        assert session.trainer.settings == session.settings


def test_python_writes_the_page_that_the_command_writes(tmp_path: Path, few_words) -> None:
    pytest.importorskip("vl_convert")
    (words := tmp_path / "words.txt").write_text("\n".join(few_words))
    typed = ["--steps", "20", "--batch", "8", "--hidden", "16", "--engine", "reference", "--out", str(tmp_path / "typed" / "run")]
    assert main(["train", str(words), *typed]) == 0
    settings = Settings(steps=20, batch=8, engine="reference")
    run = lettrine.train(words, out=tmp_path / "called" / "run", shape=Shape(hidden=(16,)), settings=settings)
    pages = [tmp_path / "typed" / "run" / "report.html", run.path / "report.html", run.save_page(tmp_path / "again.html")]
    assert len({re.sub(r"clip\d+", "clip", page.read_text()) for page in pages}) == 1  # the drawing library counts its clips
    with pytest.raises(ConfigError, match="this run has no folder"):
        lettrine.train(few_words, shape=SMALL, settings=replace(QUICK, steps=3)).save_page()
    with pytest.raises(HealthError, match="was not watched"):
        lettrine.train(few_words, shape=SMALL, settings=replace(QUICK, steps=3, health=False)).save_page(tmp_path / "x.html")
    plain = lettrine.train(few_words, out=tmp_path / "plain", shape=SMALL, settings=replace(QUICK, steps=3), page=False)
    assert not (plain.path / "report.html").exists()


def test_another_thread_pauses_changes_and_goes_on(few_words) -> None:
    requests = Requests(paused=True)
    ended = []
    with Session(few_words, shape=SMALL, settings=SGD) as session:
        thread = threading.Thread(target=lambda: ended.append(session.trainer.run(requests)))
        thread.start()
        requests.change(learning_rate=0.02).result(timeout=60)  # answered while paused
        with pytest.raises(ConfigError, match="batch got 0"):
            requests.change(batch=0).result(timeout=60)
        assert (session.trainer.step, session.trainer.now.peak) == (0, 0.02)
        requests.paused = False
        thread.join(timeout=60)
        run = session.finish(ended[0])
    same(run, lettrine.train(few_words, shape=SMALL, settings=replace(SGD, learning_rate=0.02)))


def test_changes_in_a_damaged_run_are_refused(tmp_path: Path, few_words) -> None:
    with Session(few_words, out=tmp_path / "run", shape=SMALL, settings=SGD) as session:
        session.trainer.advance(2)
    path = tmp_path / "run" / "run.json"
    whole = json.loads(path.read_text())
    for wrong in (
        [{"step": 1}],
        [{"step": 9, "values": {}}, {"step": 1, "values": {}}],
        [{"step": 1, "values": {"x": 1}}],
        7,
        [7],
    ):
        whole["settings"]["changes"] = wrong
        path.write_text(json.dumps(whole))
        with pytest.raises(RunDamagedError):
            read_description(tmp_path / "run")
