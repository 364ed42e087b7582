"""A table judged by a Dask cluster of two processes, one of them killed in the middle."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

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
