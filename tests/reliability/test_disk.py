"""A disk that is full, a folder that may not be written: refused by the system itself, and the last checkpoint stays whole."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from strangers import check_message

import lettrine
from lettrine.engine.base import Optimiser
from lettrine.errors import LettrineError, StorageError
from lettrine.training import storage, trainer
from lettrine.training.api import Shape
from lettrine.training.checkpoint import Checkpoint
from lettrine.training.folder import read_description
from lettrine.training.settings import Settings
from lettrine.training.storage import write_bytes

SHAPE = Shape(context=3, embedding=4, hidden=(12,))
SETTINGS = Settings(steps=30, batch=8, eval_every=7, engine="reference", optimiser=Optimiser("adamw"))
NOBODY = 65534


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that a process without privileges can reach; pytest's own are closed to others."""
    top = Path(tempfile.mkdtemp(prefix="lettrine-disk-"))
    top.chmod(0o777)
    yield top / "run"
    top.chmod(0o755)
    for each in top.rglob("*"):
        if each.is_dir():
            each.chmod(0o755)
    shutil.rmtree(top)


def in_a_child(task: Callable[[], object]) -> str:
    """What a LettrineError said in a child process, "" if nothing was raised; anything else fails."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)

    def run() -> None:
        said = ""
        try:
            task()
        except LettrineError as error:
            said = f"{type(error).__name__}: {error}"
        theirs.send(said)

    child = context.Process(target=run)
    child.start()
    theirs.close()
    with contextlib.closing(ours):
        try:
            said = ours.recv()
        except EOFError:
            pytest.fail(f"the child ended with {child.exitcode} and another exception")
        finally:
            child.join()
    if said:
        check_message(said)
    return said


def powerless() -> None:
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def half(words: list[str], folder: Path) -> None:
    """A run that stopped at a checkpoint somewhere in the middle, and may be gone on with by anybody."""

    def stop(now) -> None:
        if now.step > 10:
            raise KeyboardInterrupt

    trainer.CHECKPOINT_SECONDS = trainer.CHUNK_SECONDS = 0.0
    with contextlib.suppress(KeyboardInterrupt):
        lettrine.train(words, out=folder, shape=SHAPE, settings=SETTINGS, on_progress=stop)


def check_goes_on(folder: Path, words: list[str]) -> None:
    """The checkpoint is whole, and the run ends as if nothing had been."""
    _, _, config, _, settings, _ = read_description(folder)
    assert Checkpoint.read(folder, config, settings).step > 0
    assert not list(folder.glob(f"*{storage.TEMPORARY}"))
    whole, survived = lettrine.train(words, shape=SHAPE, settings=SETTINGS), lettrine.resume(folder)
    for name, value in whole.model.parameters.items():
        np.testing.assert_array_equal(survived.model.parameters[name], value, err_msg=name)


@pytest.fixture
def every_step(monkeypatch) -> None:
    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(trainer, "CHUNK_SECONDS", 0.0)


@pytest.mark.usefixtures("every_step")
@pytest.mark.parametrize("bytes_left", [0, 100, 4096, 8000])
def test_no_room_for_a_checkpoint(folder: Path, few_words, bytes_left: int) -> None:
    half(few_words, folder)
    before = (folder / "trainer.safetensors").read_bytes()
    assert len(before) > 8000

    def go_on() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_left, bytes_left))  # the system cuts the write short, then refuses
        lettrine.resume(folder)

    said = in_a_child(go_on)
    assert said.startswith("StorageError: cannot write")
    assert said.endswith("free some space, or choose another --out")
    assert (folder / "trainer.safetensors").read_bytes() == before
    check_goes_on(folder, few_words)


@pytest.mark.usefixtures("every_step")
def test_no_room_for_a_run(folder: Path, few_words) -> None:
    def begin() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
        lettrine.train(few_words, out=folder, shape=SHAPE, settings=SETTINGS)

    assert in_a_child(begin).startswith("StorageError: cannot write")
    assert lettrine.train(few_words, out=folder, shape=SHAPE, settings=SETTINGS).status == "finished", "nothing is in the way"


@pytest.mark.usefixtures("every_step")
def test_a_run_that_became_read_only(folder: Path, few_words) -> None:
    half(few_words, folder)
    before = {each.name: each.read_bytes() for each in folder.iterdir()}
    for each in folder.iterdir():
        each.chmod(0o444)
    folder.chmod(0o555)

    def go_on() -> None:
        powerless()
        lettrine.resume(folder)

    assert "Permission denied" in in_a_child(go_on)
    assert {each.name: each.read_bytes() for each in folder.iterdir()} == before
    folder.chmod(0o755)
    check_goes_on(folder, few_words)


@pytest.mark.parametrize("mode", [0o555, 0o000], ids=["read-only", "closed"])
@pytest.mark.parametrize("below", [False, True], ids=["the folder", "a folder in it"])
def test_a_folder_that_may_not_be_written(folder: Path, few_words, mode: int, below: bool) -> None:
    folder.mkdir()
    folder.chmod(mode)

    def begin() -> None:
        powerless()
        lettrine.train(few_words, out=folder / "new" if below else folder, shape=SHAPE, settings=SETTINGS)

    assert "Permission denied" in in_a_child(begin)
    folder.chmod(0o755)
    assert not list(folder.iterdir())


def test_a_run_that_may_not_be_read(folder: Path, few_words) -> None:
    lettrine.train(few_words, out=folder, shape=SHAPE, settings=SETTINGS)
    for closed in (folder.parent, folder, folder / "run.json", folder / "model.safetensors"):
        closed.chmod(0o000)

        def look() -> None:
            powerless()
            lettrine.load(folder)

        assert "Permission denied" in in_a_child(look), closed
        closed.chmod(0o755)


def test_a_file_is_flushed_before_it_takes_its_name_and_the_folder_after(tmp_path: Path, monkeypatch) -> None:
    """What a power cut leaves: a name that points at nothing would be worse than the old file."""
    events: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def flush(descriptor: int) -> None:
        events.append("flush " + Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    def rename(self: Path, target: Path) -> Path:
        events.append(f"rename {self.name} {target.name}")
        assert self.read_bytes() == b"new"
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", flush)
    monkeypatch.setattr(Path, "replace", rename)
    (tmp_path / "x").write_bytes(b"old")
    write_bytes(tmp_path / "x", b"new")
    assert events == ["flush x.partial", "rename x.partial x", f"flush {tmp_path.name}"]
    assert (tmp_path / "x").read_bytes() == b"new"


def test_a_refused_write_leaves_nothing_behind(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "x").write_bytes(b"old")

    def refuse(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StorageError, match="Input/output error"):
        write_bytes(tmp_path / "x", b"new")
    assert [each.name for each in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_bytes() == b"old"
