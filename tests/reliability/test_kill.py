"""SIGKILL at random instants, checkpoint writes included: the run folder always opens, resumes, and ends with the same bits."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Self

import numpy as np
import pytest

import lettrine
from lettrine.engine.base import Optimiser
from lettrine.engine.choice import native_built
from lettrine.errors import RunBusyError, RunDamagedError
from lettrine.training import trainer
from lettrine.training.api import Shape
from lettrine.training.checkpoint import Checkpoint
from lettrine.training.folder import RUN, read_description
from lettrine.training.settings import Settings
from lettrine.training.storage import TEMPORARY, read_arrays

KILLS = 40  # for each engine, each while the run was under way
STEPS = 30
SHAPE = Shape(context=3, embedding=4, hidden=(12,), norm="batch")
ENGINES = [
    "reference",
    pytest.param("native", marks=pytest.mark.skipif(not native_built(), reason="no compiler built the native engine here")),
]


def settings_of(engine: str, seed: int) -> Settings:
    return Settings(steps=STEPS, batch=8, eval_every=7, seed=seed, engine=engine, optimiser=Optimiser("adamw"))


def train_or_resume(words: list[str], folder: str, engine: str, seed: int) -> None:
    """In the child: one step a chunk and a checkpoint after each, so that most instants fall into a write."""
    trainer.CHECKPOINT_SECONDS = trainer.CHUNK_SECONDS = 0.0
    if (Path(folder) / RUN).exists():
        lettrine.resume(folder, page=False)
    else:
        lettrine.train(words, out=folder, shape=SHAPE, settings=settings_of(engine, seed), page=False)  # drawn after the training


class TornFile:
    """A file whose n-th write of the process is cut in half by a kill."""

    written = 0
    fatal = 0

    def __init__(self, file) -> None:
        self.file = file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self.file.close()

    def __getattr__(self, name: str):
        return getattr(self.file, name)

    def write(self, content: bytes) -> None:
        TornFile.written += 1
        if TornFile.written == TornFile.fatal:
            self.file.write(content[: len(content) // 2])
            self.file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        self.file.write(content)


def train_or_resume_until_a_torn_write(words: list[str], folder: str, fatal: int) -> None:
    original = Path.open
    TornFile.fatal = fatal
    Path.open = lambda self, mode="r", *a, **k: TornFile(original(self, mode)) if mode == "xb" else original(self, mode, *a, **k)
    train_or_resume(words, folder, "reference", 1)


def check_whole(folder: Path) -> None:
    """After a kill: what is there is whole."""
    if not (folder / RUN).exists():
        return
    _, _, config, _, settings, _ = read_description(folder)
    checkpoint = Checkpoint.read(folder, config, settings)
    assert checkpoint is None or len(checkpoint.losses) == checkpoint.step
    if (folder / "model.safetensors").exists():
        lettrine.load(folder).sample(3)
    else:
        with pytest.raises(RunDamagedError, match="resume it"):
            lettrine.load(folder)


def under_way(folder: Path) -> bool:
    """Whether there is a checkpoint to go on from: a kill before the first one, or after the end, would prove nothing."""
    return (folder / "trainer.safetensors").exists() and read_description(folder)[1]["status"] != "finished"


def kill(child: multiprocessing.process.BaseProcess) -> bool:
    """Kill a training. Returns whether it had not ended by itself just before."""
    try:
        os.kill(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_a_run_survives_being_killed(tmp_path: Path, few_words, engine: str) -> None:
    rng = random.Random(0)  # noqa: S311 - instants, not secrets
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lettrine.training.api", "lettrine.engine.native"])

    def child_of(folder: Path, seed: int) -> multiprocessing.process.BaseProcess:
        child = context.Process(target=train_or_resume, args=(few_words, str(folder), engine, seed))
        child.start()
        return child

    child_of(tmp_path / "first", 0).join()  # starts the server of forks
    began = time.monotonic()
    child_of(tmp_path / "second", 0).join()
    life = time.monotonic() - began  # how long a training takes here and now, so that kills fall into it on any machine
    kills = tries = runs = 0
    while kills < KILLS:
        folder, runs = tmp_path / f"run-{runs}", runs + 1
        whole = lettrine.train(few_words, shape=SHAPE, settings=settings_of(engine, runs))
        finished = False
        while not finished:
            tries += 1
            assert tries < 10 * KILLS
            child = child_of(folder, runs)
            child.join(rng.uniform(0.0, life) if kills < KILLS else None)
            killed = child.is_alive() and kill(child)
            child.join()
            check_whole(folder)
            kills += killed and under_way(folder)
            finished = (folder / RUN).exists() and read_description(folder)[1]["status"] == "finished"
        survived = lettrine.load(folder)
        for name, value in whole.model.parameters.items():
            np.testing.assert_array_equal(survived.model.parameters[name], value, err_msg=f"{name} after {kills} kills")
        assert survived.results.loss == whole.results.loss
        assert len(read_arrays(folder / "history.safetensors")[0]["loss"]) == STEPS
        assert not list(folder.glob(f"*{TEMPORARY}"))


def test_a_run_survives_a_kill_in_the_middle_of_every_write(tmp_path: Path, few_words, monkeypatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "STEPS", 8)
    context = multiprocessing.get_context("fork")  # so that the child has the same number of steps; one thread trains here
    whole = lettrine.train(few_words, shape=SHAPE, settings=settings_of("reference", 1))
    writes = 0
    while True:
        folder, writes = tmp_path / f"run-{writes}", writes + 1
        child = context.Process(target=train_or_resume_until_a_torn_write, args=(few_words, str(folder), writes))
        child.start()
        child.join()
        check_whole(folder)
        if child.exitcode == 0:
            break
        assert child.exitcode == -signal.SIGKILL
        if (folder / RUN).exists() and read_description(folder)[1]["status"] != "finished":
            survived = lettrine.resume(folder)
            for name, value in whole.model.parameters.items():
                np.testing.assert_array_equal(survived.model.parameters[name], value, err_msg=f"{name}, write {writes}")
            assert survived.results.loss == whole.results.loss
    assert writes > 10  # words, description, a checkpoint a step, weights, history, description


def test_two_processes_do_not_share_a_run(tmp_path: Path, few_words) -> None:
    context = multiprocessing.get_context("forkserver")
    folder = tmp_path / "run"
    settings = Settings(steps=10**7, batch=8, engine="reference", health=False)
    child = context.Process(
        target=lettrine.train, args=(few_words,), kwargs={"out": folder, "shape": SHAPE, "settings": settings}
    )
    child.start()
    try:
        deadline = time.monotonic() + 60
        while not (folder / RUN).exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        with pytest.raises(RunBusyError, match="another process is training"):
            lettrine.resume(folder, page=False)
    finally:
        child.kill()
        child.join()
