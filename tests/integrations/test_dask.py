"""A table judged by a Dask cluster of two processes, one of them killed in the middle."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lettrine
from lettrine.cli.app import main
from lettrine.errors import StorageError
from lettrine.tools import bulk, tables
from lettrine.tools.clusters import pool_at

distributed = pytest.importorskip("distributed")
pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


class Killing:
    """A pool of whose workers one is killed when the twentieth portion is handed in: some are judged, some are under way."""

    def __init__(self, pool: Any, pid: int) -> None:
        self._pool, self._pid, self._count = pool, pid, 0

    def submit(self, *work: Any) -> Any:
        self._count += 1
        if self._count == 20:
            os.kill(self._pid, signal.SIGKILL)
        return self._pool.submit(*work)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_a_killed_worker_changes_nothing(few_words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "ROWS", 200)
    run = tmp_path / "run"
    settings = lettrine.Settings(steps=20, health=False)
    lettrine.train(few_words, shape=lettrine.Shape(hidden=(64,)), settings=settings, out=run, page=False)
    parquet.write_table(pa.table({"word": few_words * 20}), tmp_path / "t.parquet")
    bulk.score_file(run, tmp_path / "t.parquet", tmp_path / "here.parquet")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50) as cluster:
        with distributed.Client(cluster) as client:
            pid = next(iter(client.run(os.getpid).values()))
        with pool_at(f"dask://{cluster.scheduler_address.removeprefix('tcp://')}") as pool:
            rows, _ = bulk.score_file(run, tmp_path / "t.parquet", tmp_path / "there.parquet", pool=Killing(pool, pid))
    assert rows == 20 * len(few_words)
    assert parquet.read_table(tmp_path / "there.parquet").equals(parquet.read_table(tmp_path / "here.parquet"))


@pytest.mark.filterwarnings("ignore")
def test_the_same_function_over_a_frame(few_words: list[str], tmp_path: Path) -> None:
    """Two workers, one of which is killed in the middle."""
    pd, frames = pytest.importorskip("pandas"), pytest.importorskip("dask.dataframe")
    run, mark = str(tmp_path / "run"), tmp_path / "died"
    settings = lettrine.Settings(steps=20, health=False)
    lettrine.train(few_words, shape=lettrine.Shape(hidden=(16,)), settings=settings, out=run, page=False)
    words = [*few_words, "zz"]

    def judged(some: Any) -> Any:  # made here, so it travels whole
        if "zz" in set(some) and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return lettrine.score(some, run=run)

    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50) as cluster,
        distributed.Client(cluster),
    ):
        column = frames.from_pandas(pd.DataFrame({"name": words}), npartitions=6)["name"]
        plain = column.map_partitions(lettrine.score, run=run, meta=("score", "f8")).compute()
        found = column.map_partitions(judged, meta=("score", "f8")).compute()
    assert mark.exists()
    for each in (plain, found):
        np.testing.assert_array_equal(each, lettrine.score(words, run))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_a_lost_scheduler_is_told_in_one_line(
    few_words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tables, "ROWS", 200)
    run = tmp_path / "run"
    settings = lettrine.Settings(steps=20, health=False)
    lettrine.train(few_words, shape=lettrine.Shape(hidden=(64,)), settings=settings, out=run, page=False)
    (tmp_path / "t.txt").write_text("\n".join(few_words * 20))
    port = _free_port()
    cluster = [sys.executable, "-c", CLUSTER, str(port)]
    with subprocess.Popen(cluster, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as running:
        running.stdout.readline()
        monkeypatch.setattr(bulk, "_in_order", partial(_losing, running, bulk._in_order))
        given = ["score", str(run), str(tmp_path / "t.txt"), "--out", str(tmp_path / "o.csv"), "--on", f"dask://127.0.0.1:{port}"]
        assert main(given) == 2
    [line] = capfd.readouterr().err.splitlines()
    assert re.match(r"lettrine: the cluster was lost \(.*\); see that it runs, then type the same command again", line)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["run", "t.txt"]


CLUSTER = """
import sys, time, distributed
if __name__ == "__main__":
    with distributed.LocalCluster(n_workers=1, processes=False, scheduler_port=int(sys.argv[1]), dashboard_address=":0"):
        print("ready", flush=True)
        time.sleep(600)
"""


def _losing(running: subprocess.Popen[bytes], in_order: Any, *what: Any) -> Any:
    """The scheduler dies after the first portion."""
    for place, each in enumerate(in_order(*what)):
        if place == 0:
            running.kill()
        yield each


def test_a_scheduler_without_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lettrine.tools.clusters.SECONDS", 2)
    with (
        distributed.LocalCluster(n_workers=0, dashboard_address=":0", silence_logs=50) as cluster,
        pytest.raises(StorageError, match="has no workers; run some with: dask worker"),
        pool_at(f"dask://{cluster.scheduler_address.removeprefix('tcp://')}"),
    ):
        pass


def test_workers_here_keep_their_memory_and_are_as_many_as_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given back at every chance, a portion takes a third more time."""
    monkeypatch.setattr("lettrine.tools.clusters.processors", lambda: 1)
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)  # a cluster in this process leaves it behind
    with pool_at("dask://") as pool:
        assert pool.submit(os.getenv, "MALLOC_TRIM_THRESHOLD_").result() is None
        assert len({future.result() for future in [pool.submit(os.getpid) for _ in range(8)]}) == 1


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lettrine.tools.clusters.SECONDS", 0.2)
    with (
        pytest.raises(StorageError, match=r"no Dask scheduler answers at 'dask://127\.0\.0\.1:1'"),
        pool_at("dask://127.0.0.1:1"),
    ):
        pass


def test_one_command(few_words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    lettrine.train(few_words, shape=lettrine.Shape(hidden=(4,)), settings=lettrine.Settings(steps=5, health=False), out=run)
    (tmp_path / "t.txt").write_text("anna\nbob\n")
    monkeypatch.setattr("lettrine.tools.clusters.processors", lambda: 1)
    assert main(["score", str(run), str(tmp_path / "t.txt"), "--out", str(tmp_path / "o.csv"), "--on", "dask://"]) == 0
    assert len((tmp_path / "o.csv").read_text().splitlines()) == 3
