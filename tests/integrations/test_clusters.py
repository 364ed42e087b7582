"""The same function over a table on Ray Data and on Spark: two workers each, one of which is killed in the middle."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lettrine
from lettrine.cli.app import main
from lettrine.errors import RunDamagedError, StorageError
from lettrine.tools import bulk, clusters, tables
from lettrine.tools.clusters import pool_at

pd = pytest.importorskip("pandas")
PARTS = 6


@pytest.fixture
def run(few_words: list[str], tmp_path: Path) -> str:
    settings = lettrine.Settings(steps=20, health=False)
    lettrine.train(few_words, shape=lettrine.Shape(hidden=(16,)), settings=settings, out=tmp_path / "run", page=False)
    return str(tmp_path / "run")


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a short name: Ray's sockets lie in it."""
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def judging(run: str, mark: Path) -> Callable[[Any], Any]:
    """What each worker does; one is killed, the first time that it comes to the last word. Made here, so it travels whole."""

    def judged(frame: Any) -> Any:
        if "zz" in set(frame["word"]) and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return frame.assign(score=lettrine.score(frame["word"], run))

    return judged


@pytest.mark.filterwarnings("ignore")
def test_ray_data(few_words: list[str], run: str, tmp_path: Path) -> None:
    ray = pytest.importorskip("ray")
    data = pytest.importorskip("ray.data")
    words, mark = [*few_words, "zz"], tmp_path / "died"

    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        data.DataContext.get_current().enable_progress_bars = False
        table = data.from_pandas(pd.DataFrame({"place": range(len(words)), "word": words})).repartition(PARTS)
        found = table.map_batches(judging(run, mark), batch_format="pandas").sort("place").to_pandas()
    finally:
        ray.shutdown()
    assert mark.exists()
    assert found["word"].tolist() == words
    np.testing.assert_array_equal(found["score"], lettrine.score(words, run))


@pytest.mark.filterwarnings("ignore")
def test_spark(few_words: list[str], run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sql = pytest.importorskip("pyspark.sql")
    words, mark = [*few_words, "zz"], tmp_path / "died"
    judged = judging(run, mark)

    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    builder = sql.SparkSession.builder.master("local-cluster[2,1,512]").config("spark.ui.enabled", "false")
    spark = builder.config("spark.executor.memory", "512m").config("spark.log.level", "OFF").getOrCreate()
    try:
        table = spark.createDataFrame(pd.DataFrame({"place": range(len(words)), "word": words})).repartition(PARTS)
        found = (
            table.mapInPandas(lambda frames: map(judged, frames), "place long, word string, score double")
            .toPandas()
            .sort_values("place")
        )
    finally:
        spark.stop()
    assert mark.exists()
    assert found["word"].tolist() == words
    np.testing.assert_array_equal(found["score"], lettrine.score(words, run))


@pytest.mark.filterwarnings("ignore")
def test_one_command_on_ray(few_words: list[str], run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(tables, "ROWS", 200)
    monkeypatch.setattr("lettrine.tools.clusters.processors", lambda: 2)
    pd.DataFrame({"word": few_words}).to_parquet(tmp_path / "t.parquet")
    bulk.score_file(run, tmp_path / "t.parquet", tmp_path / "here.parquet")
    mark, judge = tmp_path / "died", bulk._judged_there

    def dying(*what: Any) -> Any:
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return judge(*what)

    monkeypatch.setattr(bulk, "_judged_there", dying)
    assert main(["score", run, str(tmp_path / "t.parquet"), "--out", str(tmp_path / "there.parquet"), "--on", "ray://"]) == 0
    assert mark.exists()
    assert parquet.read_table(tmp_path / "there.parquet").equals(parquet.read_table(tmp_path / "here.parquet"))


@pytest.mark.timeout(900)  # five processes have to start, on a machine that may be busy
def test_a_ray_cluster_of_its_own(
    few_words: list[str], run: str, tmp_path: Path, short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A head that listens to clients, as on another machine."""
    pytest.importorskip("ray")
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setattr(tables, "ROWS", 200)
    pd.DataFrame({"word": few_words}).to_parquet(tmp_path / "t.parquet")
    bulk.score_file(run, tmp_path / "t.parquet", tmp_path / "here.parquet")
    with _ray_head(short) as where:
        assert main(["score", run, str(tmp_path / "t.parquet"), "--out", str(tmp_path / "there.parquet"), "--on", where]) == 0
    assert parquet.read_table(tmp_path / "there.parquet").equals(parquet.read_table(tmp_path / "here.parquet"))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("killed", [("raylet",), ()], ids=["the node here", "the head elsewhere"])
def test_a_lost_ray_is_told_in_one_line(
    killed: tuple[str, ...],
    few_words: list[str],
    run: str,
    tmp_path: Path,
    short: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Ray alone ends the process when its node on this machine dies, and leaves a file that is half written."""
    pytest.importorskip("ray")
    psutil = pytest.importorskip("psutil")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setattr(tables, "ROWS", 200)
    monkeypatch.setattr("lettrine.tools.clusters.processors", lambda: 2)
    (tmp_path / "t.txt").write_text("\n".join(few_words * 20))
    judged, judge = bulk._in_order, bulk._judged_there
    before, heads = {*psutil.Process().children(recursive=True)}, list[Any]()

    def slowly(*what: Any) -> Any:  # or all is done before the loss is seen
        time.sleep(0.5)
        return judge(*what)

    def losing(*what: Any) -> Any:
        for place, each in enumerate(judged(*what)):
            if place == 0:
                for one in psutil.Process().children(recursive=True):
                    with contextlib.suppress(psutil.Error):
                        if one.name() in killed or one in heads:
                            one.kill()
            yield each

    monkeypatch.setattr(bulk, "_judged_there", slowly)
    monkeypatch.setattr(bulk, "_in_order", losing)
    with contextlib.ExitStack() as opened:
        where = opened.enter_context(_ray_head(short)) if not killed else "ray://"
        heads.extend({*psutil.Process().children(recursive=True)} - before)
        said = main(["score", run, str(tmp_path / "t.txt"), "--out", str(tmp_path / "o.csv"), "--on", where])
    assert said == 2
    out, err = capfd.readouterr()
    assert out == ""
    [line] = err.splitlines()
    assert re.match(
        r"lettrine: the cluster (at 'ray://' )?was lost.*; (see that it runs, then )?type the same command again", line
    )
    assert sorted(each.name for each in tmp_path.iterdir()) == ["run", "t.txt"]


@contextlib.contextmanager
def _ray_head(folder: Path) -> Iterator[str]:
    """A head that is up, at the URL for its clients. A busy machine can make Ray give up on its head, after 30 seconds."""
    said = folder / "said.txt"
    apart = os.environ | {
        "RAY_TMPDIR": str(folder),  # tests beside this one are not to find its cluster
        "RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S": "120",  # for the server that it starts for each client; without it 30
        "RAY_CLIENT_RECONNECT_GRACE_PERIOD": "3",  # seconds for a client to come back; without it 30
    }
    ray = [Path(sys.executable).with_name("ray"), "start", "--head", "--block", "--num-cpus=2"]
    ray += ["--include-dashboard=false", "--no-monitor", "--disable-usage-stats"]
    for _ in range(5):
        head, client = _free_ports(2)
        ports = [f"--port={head}", f"--ray-client-server-port={client}"]
        with said.open("wb") as out, subprocess.Popen([*ray, *ports], env=apart, stdout=out, stderr=subprocess.STDOUT) as running:
            try:
                while running.poll() is None and not ("Ray runtime started." in said.read_text() and _listens(client)):
                    time.sleep(0.2)
                if running.poll() is None:
                    yield f"ray://127.0.0.1:{client}"
                    return
            finally:
                running.terminate()
    raise AssertionError(said.read_text())


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def _free_ports(count: int) -> list[int]:
    """Ports that nobody is given while Ray starts: not of those that the system hands out (from 32768 on), nor of those that
    Ray takes for its workers (10002 to 19999) and for each client (23000 to 23999).
    """
    free: list[int] = []
    for port in random.SystemRandom().sample(range(24_000, 32_000), 100):
        with contextlib.suppress(OSError), socket.socket() as one:
            one.bind(("", port))
            free.append(port)
        if len(free) == count:
            return free
    raise OSError("no free ports")


def test_no_ray_cluster_answers() -> None:
    pytest.importorskip("ray")
    with pytest.raises(StorageError, match=r"no Ray cluster answers at 'ray://127\.0\.0\.1:1'"), pool_at("ray://127.0.0.1:1"):
        pass


REFUSED = """Initialization failure from server:
Traceback (most recent call last):
  File "proxier.py", line 780, in Datapath
    raise RuntimeError(
RuntimeError: Proxy failed to Connect to backend! Check `ray_client_server.err`.
"""  # what Ray 2.60 says where the server of a client does not start in its time


@pytest.mark.parametrize("failures", [0, 3, 1_000])
def test_a_busy_head_is_asked_again(failures: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers, but its server for this client is not there in time: asked again, three times."""
    ray = pytest.importorskip("ray")
    asked: list[str] = []

    def init(where: str, **_: Any) -> None:
        asked.append(where)
        if len(asked) <= failures:
            raise ConnectionAbortedError(REFUSED)

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(clusters, "time", types.SimpleNamespace(sleep=lambda _: None))
    if failures < 10:
        clusters.begin_ray("ray://head:10001", 2)
        assert len(asked) == failures + 1
    else:
        answers = (
            r"the Ray cluster at 'ray://head:10001' answers, but starts nothing for us \(RuntimeError: Proxy failed to Connect"
        )
        with pytest.raises(StorageError, match=answers):
            clusters.begin_ray("ray://head:10001", 2)
        assert len(asked) == 4


@pytest.mark.parametrize("kind", [ConnectionError, Exception])
def test_where_nobody_listens_ray_is_not_asked_again(kind: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    asked: list[str] = []

    def init(where: str, **_: Any) -> None:
        asked.append(where)
        raise kind("ray client connection timeout\nmore")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(StorageError, match=r"no Ray cluster answers at 'ray://head:1' \(ray client connection timeout\); run"):
        clusters.begin_ray("ray://head:1", 2)
    assert asked == ["ray://head:1"]


def test_an_error_in_a_worker_of_ray_is_the_error_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray wraps it, with a traceback of many lines."""
    pytest.importorskip("ray")
    monkeypatch.setattr("lettrine.tools.clusters.processors", lambda: 1)
    with pool_at("ray://") as pool:
        assert pool.submit(abs, -2).result() == 2
        with pytest.raises(RunDamagedError):
            pool.submit(lettrine.load, tmp_path / "nothing").result()
        with pytest.raises(ZeroDivisionError):
            pool.submit(divmod, 1, 0).result()
