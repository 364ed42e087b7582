"""SIGKILL at random instants, checkpoint writes included: the run folder always opens, resumes, and ends with the same bits."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

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

KILLS = 100  # for each engine
STEPS = 60
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
        lettrine.resume(folder)
    else:
        lettrine.train(words, out=folder, shape=SHAPE, settings=settings_of(engine, seed))


def check_whole(folder: Path) -> None:
    """After a kill: what is there is whole."""
    if not (folder / RUN).exists():
        return
    config = read_description(folder)[2]
    checkpoint = Checkpoint.read(folder, config)
    assert checkpoint is None or len(checkpoint.losses) == checkpoint.step
    if (folder / "model.safetensors").exists():
        lettrine.load(folder).sample(3)
    else:
        with pytest.raises(RunDamagedError, match="resume it"):
            lettrine.load(folder)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_a_run_survives_being_killed(tmp_path: Path, few_words, engine: str) -> None:
    rng = random.Random(0)  # noqa: S311 - instants, not secrets
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lettrine.training.api", "lettrine.engine.native"])
    kills = runs = 0
    while kills < KILLS:
        folder, runs = tmp_path / f"run-{runs}", runs + 1
        whole = lettrine.train(few_words, shape=SHAPE, settings=settings_of(engine, runs))
        finished = False
        while not finished:
            child = context.Process(target=train_or_resume, args=(few_words, str(folder), engine, runs))
            child.start()
            # From before the folder is made to after the last file is written.
            child.join(0.0 if kills >= KILLS else rng.uniform(0.0, 0.5) ** 1.5 + 0.01)
            if child.is_alive() and kills < KILLS:
                os.kill(child.pid, signal.SIGKILL)
                kills += 1
            child.join()
            check_whole(folder)
            finished = (folder / RUN).exists() and read_description(folder)[1]["status"] == "finished"
        survived = lettrine.load(folder)
        for name, value in whole.model.parameters.items():
            np.testing.assert_array_equal(survived.model.parameters[name], value, err_msg=f"{name} after {kills} kills")
        assert survived.results.loss == whole.results.loss
        assert len(read_arrays(folder / "history.safetensors")[0]["loss"]) == STEPS
        assert not list(folder.glob(f"*{TEMPORARY}"))


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
            lettrine.resume(folder)
    finally:
        child.kill()
        child.join()
