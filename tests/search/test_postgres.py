"""Two workers on a study in a real PostgreSQL, one of them killed in the middle of a trial."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from tests.conftest import skip_unless_ci

from lettrine.search import storage as storages
from lettrine.search.workers import WORKER, name_of
from lettrine.training.folder import load_run

TRIALS = 5
WORK = """
import sys, lettrine
from lettrine.search import searching, storage
storage.HEARTBEAT, storage.GRACE, searching.LOOK = 1, 2, 0.1
words, out, url = sys.argv[1:]
lettrine.tune(words, out=out, trials={trials}, jobs=1, storage=url, page=False,
              shape=lettrine.Shape(hidden=(16,)), settings=lettrine.Settings(steps=3000, batch=32))
"""


def binaries() -> Path | None:
    """Where initdb and postgres are; Debian keeps them off the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or [Path(p) for p in filter(None, [shutil.which("initdb")])]
    return found[-1].parent if found else None


@pytest.fixture
def postgres() -> Iterator[str]:
    """URL of a server of our own, in a temporary folder, that nobody else can reach."""
    programs = binaries()
    if programs is None:
        skip_unless_ci("needs PostgreSQL")
        return
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))  # the path of a socket is short
    root = Path.home().owner() == "root" and sys.platform != "win32"
    user = {"user": "nobody", "extra_groups": []} if root else {}  # PostgreSQL does not run as root
    if root:
        shutil.chown(folder, "nobody")
    data = folder / "data"
    subprocess.run(
        [programs / "initdb", "-D", data, "-A", "trust", "-U", "lettrine", "-N", "--no-instructions"],
        check=True, capture_output=True, cwd=folder, **user,
    )  # fmt: skip
    options = ["-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=40", "-k", folder]
    server = subprocess.Popen([programs / "postgres", "-D", data, *options], cwd=folder, stderr=subprocess.DEVNULL, **user)
    try:
        until = time.monotonic() + 60
        while not (folder / ".s.PGSQL.5432").exists() and time.monotonic() < until:
            assert server.poll() is None
            time.sleep(0.05)
        yield f"postgresql://lettrine@/postgres?host={folder}"
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


def test_a_worker_is_killed_and_no_trial_is_lost_or_counted_twice(few_words: list[str], tmp_path: Path, postgres: str) -> None:
    words, out = tmp_path / "words.txt", tmp_path / "t"
    words.write_text("\n".join(few_words[:200]))
    command = [sys.executable, "-c", WORK.format(trials=TRIALS), words, out, postgres]
    workers = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(2)]
    try:
        first = out / "trials" / "0000"
        until = time.monotonic() + 120
        while not (first / "trainer.safetensors").exists() and time.monotonic() < until:
            assert all(worker.poll() is None for worker in workers), [worker.stderr.read() for worker in workers]
            time.sleep(0.01)
        for worker in workers:
            worker.send_signal(signal.SIGSTOP)
        storage = storages.open_storage(postgres, 1, lambda *_: None)
        [summary] = optuna.get_all_study_summaries(storage)
        study = optuna.load_study(study_name=summary.study_name, storage=storage)
        whose = str(study.get_trials()[0].user_attrs[WORKER])
        [victim] = [worker for worker in workers if f"-{worker.pid}-" in whose]
        [other] = [worker for worker in workers if worker is not victim]
        victim.kill()
        assert victim.wait(60) == -signal.SIGKILL
        assert study.get_trials()[0].state.name == "RUNNING"  # in the middle of it
        other.send_signal(signal.SIGCONT)
        _, errors = other.communicate(timeout=200)
        assert other.returncode == 0, errors
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
    trials = study.get_trials()
    storages.close(storage)
    done = [trial for trial in trials if trial.state.name in ("COMPLETE", "PRUNED")]
    assert len({name_of(trial) for trial in done}) == len(done) == TRIALS
    cut_off = [trial for trial in trials if trial.state.name == "FAIL" and name_of(trial) == "0000"]
    [again] = [trial for trial in done if name_of(trial) == "0000"]
    assert [trial.number for trial in cut_off] == [0]
    assert again.params == cut_off[0].params
    assert str(again.user_attrs[WORKER]) != whose
    assert again.intermediate_values.items() >= cut_off[0].intermediate_values.items()  # it went on, and did not begin anew
    assert again.value == load_run(first).results.loss["dev"]
    assert load_run(out / "best").status == "finished"
