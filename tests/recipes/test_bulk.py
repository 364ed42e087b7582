"""Words by the million: tables from file to file, columns of data frames, all as `score` has it word by word."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

import lettrine
from lettrine.cli.app import main
from lettrine.errors import ConfigError, MissingExtraError, RunDamagedError, StorageError, WordListError
from lettrine.tools import bulk, tables
from lettrine.tools.tables import write_table

GIVEN = ["emma", " noé ", None, "", "xi\u0301", "emma"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bulk") / "run"
    words = list(lettrine.Session().words[:300])
    lettrine.train(words, shape=lettrine.Shape(hidden=(8,)), settings=lettrine.Settings(steps=20), out=path, page=False)
    return path


@pytest.fixture(scope="module")
def expected(folder: Path) -> list[float]:
    """Word by word, cleaned as word lists are."""
    model = lettrine.load(folder).model
    likely = {word: model.score([word])[0].log_likelihood for word in ("emma", "noé", "xí")}
    return [likely["emma"], likely["noé"], np.nan, np.nan, likely["xí"], likely["emma"]]


def test_columns_come_back_as_they_were_given(folder: Path, expected: list[float]) -> None:
    index = pd.Index(list("abcdef"))
    series = lettrine.score(pd.Series(GIVEN, index=index), folder)
    pd.testing.assert_series_equal(series, pd.Series(expected, index=index, name="log_likelihood"))
    column = lettrine.score(pl.Series(GIVEN), folder)
    assert (column.dtype, column.null_count()) == (pl.Float64, 2)
    np.testing.assert_allclose(column.to_numpy(), expected)
    array = lettrine.score(pa.chunked_array([GIVEN[:2], GIVEN[2:]]), str(folder))
    assert array.null_count == 2
    np.testing.assert_allclose(lettrine.score(GIVEN, lettrine.load(folder)), expected)
    mean = lettrine.score(["emma"], folder, figure="per_character")
    assert mean[0] == pytest.approx(expected[0] / 5)
    assert lettrine.score(["e1m2"], folder, figure="unknown").tolist() == [2.0]
    assert lettrine.score([], folder).shape == (0,)
    with pytest.raises(ConfigError, match="got the figure 'loss'"):
        lettrine.score(["emma"], folder, figure="loss")
    with pytest.raises(ConfigError, match="got '7', a int; expected words"):
        lettrine.score(["emma", 7], folder)


def test_a_run_trained_anew_is_opened_anew(few_words: list[str], tmp_path: Path) -> None:
    found = []
    for steps in (1, 30):
        settings = lettrine.Settings(steps=steps, health=False)
        lettrine.train(few_words, shape=lettrine.Shape(hidden=(4,)), settings=settings, out=tmp_path / f"{steps}", page=False)
        (tmp_path / f"{steps}").replace(tmp_path / "run")
        found.append(lettrine.score(["emma"], tmp_path / "run")[0])
        (tmp_path / "run").rename(tmp_path / f"was-{steps}")
    assert found[0] != found[1]


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".tsv", ".txt"])
def test_a_table_is_written_with_scores_beside(
    suffix: str, folder: Path, expected: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "ROWS", 2)  # several portions
    given = pa.table({"id": pa.array(["1", "NA", "3", "4", "5", "6"]), "name": pa.array(GIVEN).dictionary_encode()})
    source, out = tmp_path / f"in{'.csv' if suffix == '.txt' else suffix}", tmp_path / f"out{suffix}"
    if source.suffix == ".parquet":
        pa.parquet.write_table(given, source)
    else:
        with write_table(source, given.schema) as write:
            for batch in given.to_batches():
                write(batch)
    assert main(["score", str(folder), str(source), "--out", str(out), "--column", "name", "--threads", "2"]) == 0
    if suffix == ".txt":
        read = pa.table({"log_likelihood": [float(x.split("\t")[2] or "nan") for x in out.read_text().splitlines()]})
    elif suffix == ".parquet":
        read = pa.parquet.read_table(out)
        assert read.schema.field("name").type == given.schema.field("name").type  # as it was
        assert read["id"].to_pylist() == given["id"].to_pylist()
    else:
        parse = pa.csv.ParseOptions(delimiter="," if suffix == ".csv" else "\t")
        read = pa.csv.read_csv(out, parse_options=parse, convert_options=pa.csv.ConvertOptions(column_types={"id": pa.string()}))
        assert read["id"].to_pylist() == ["1", "NA", "3", "4", "5", "6"]
    np.testing.assert_allclose(np.array(read["log_likelihood"].to_pylist(), float), expected)


def test_lines_of_text_and_words_that_are_drawn(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawn, plain, out = tmp_path / "drawn.parquet", tmp_path / "drawn.txt", tmp_path / "scored.parquet"
    assert main(["sample", str(folder), "-n", "300", "--out", str(drawn), "--scores"]) == 0
    assert main(["sample", str(folder), "-n", "300", "--out", str(plain)]) == 0
    table = pa.parquet.read_table(drawn)
    words = lettrine.load(folder).sample(300)
    assert table["word"].to_pylist() == plain.read_text().splitlines() == words
    assert main(["score", str(folder), "--file", str(plain), "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"out": str(out), "rows": 300, "unknown": 0}
    np.testing.assert_array_equal(pa.parquet.read_table(out)["log_likelihood"], table["log_likelihood"])


def test_a_portion_is_written_before_the_next_is_read(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    class Logged(pa.parquet.ParquetFile):
        def iter_batches(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
            for batch in super().iter_batches(*args, **kwargs):
                order.append("read")
                yield batch

    class Writer(pa.parquet.ParquetWriter):
        def write_batch(self, batch: Any, *args: Any) -> None:
            order.append(f"write {batch.num_rows}")
            super().write_batch(batch, *args)

    pa.parquet.write_table(pa.table({"word": ["anna"] * 25}), tmp_path / "t.parquet")
    monkeypatch.setattr(tables, "ROWS", 10)
    monkeypatch.setattr(pa.parquet, "ParquetFile", Logged)
    monkeypatch.setattr(pa.parquet, "ParquetWriter", Writer)
    bulk.score_file(lettrine.load(folder), tmp_path / "t.parquet", tmp_path / "o.parquet")
    assert order == ["read", "write 10", "read", "write 10", "read", "write 5"]


def test_workers_in_other_processes_write_the_same(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "ROWS", 3)
    monkeypatch.setattr(bulk, "AHEAD", 2)
    words = lettrine.load(folder).sample(20)
    pa.parquet.write_table(pa.table({"word": words}), tmp_path / "t.parquet")
    bulk.score_file(folder, tmp_path / "t.parquet", tmp_path / "here.parquet")
    with ThreadPoolExecutor(3) as pool:
        bulk.score_file(folder, tmp_path / "t.parquet", tmp_path / "there.parquet", pool=pool)
        with pytest.raises(ConfigError, match="got a run in memory and a pool"):
            bulk.score_file(lettrine.load(folder), tmp_path / "t.parquet", tmp_path / "o.parquet", pool=pool)
    here, there = (pa.parquet.read_table(tmp_path / f"{name}.parquet") for name in ("here", "there"))
    assert there.equals(here)
    assert there["word"].to_pylist() == words


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (RunDamagedError("no run there"), RunDamagedError, "^no run there$"),
        (ValueError("a defect"), ValueError, "a defect"),
        (ConnectionError("gone\nand more"), StorageError, r"^the cluster was lost \(gone\); see that it runs"),
        (CancelledError(), StorageError, r"^the cluster was lost \(CancelledError\)"),
    ],
)
def test_what_goes_wrong_on_a_cluster(
    folder: Path, tmp_path: Path, error: Exception, kind: type[Exception], message: str
) -> None:
    class Pool(Executor):
        def submit(self, *_: Any) -> Future[Any]:  # type: ignore[override]
            done = Future[Any]()
            done.set_exception(error)
            return done

    (tmp_path / "t.txt").write_text("anna")
    with pytest.raises(kind, match=message):
        bulk.score_file(folder, tmp_path / "t.txt", tmp_path / "o.csv", pool=Pool())
    assert [each.name for each in tmp_path.iterdir()] == ["t.txt"]


def test_what_cannot_be(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = folder
    pa.parquet.write_table(pa.table({"a": ["x"], "b": ["y"], "n": [1]}), tmp_path / "t.parquet")
    for path, column, message in (
        ("t.parquet", None, r"got no --column; expected one of its columns of text: 'a', 'b'"),
        ("t.parquet", "n", r"got --column 'n'; expected one of its columns of text: 'a', 'b'"),
        ("nowhere.parquet", None, "there is no file"),
    ):
        with pytest.raises(WordListError, match=message):
            bulk.score_file(model, tmp_path / path, tmp_path / "o.parquet", column=column)
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(WordListError, match="is not a table that can be read"):
        bulk.score_file(model, tmp_path / "bad.parquet", tmp_path / "o.parquet")
    pa.parquet.write_table(pa.table({"word": [f"anna{place}" for place in range(1000)]}), tmp_path / "worn.parquet")
    with (tmp_path / "worn.parquet").open("r+b") as file:
        file.seek(1000)
        file.write(b"\xff" * 2000)
    with pytest.raises(WordListError, match=r"worn.parquet' is not a table that can be read: Corrupt"):
        bulk.score_file(model, tmp_path / "worn.parquet", tmp_path / "o.parquet")
    (tmp_path / "worn.parquet").unlink()
    pa.parquet.write_table(pa.table({"a": ["x"], "l": [[1]]}), tmp_path / "lists.parquet")
    with pytest.raises(ConfigError, match=r"cannot write .*o\.csv: Unsupported Type:list.*ends in \.parquet"):
        bulk.score_file(model, tmp_path / "lists.parquet", tmp_path / "o.csv")
    (tmp_path / "lists.parquet").unlink()
    (tmp_path / "ragged.csv").write_text("word,n\nanna,1\nbob\n")
    with pytest.raises(WordListError, match="is not a table that can be read"):
        bulk.score_file(model, tmp_path / "ragged.csv", tmp_path / "o.csv", column="word")
    with pytest.raises(ConfigError, match=r"--out got .*expected a name that ends in \.parquet"):
        bulk.score_file(model, tmp_path / "t.parquet", tmp_path / "o.xlsx")
    bulk.score_file(model, tmp_path / "t.parquet", tmp_path / "o.parquet", column="2")
    with pytest.raises(ConfigError, match="has a column log_likelihood already"):
        bulk.score_file(model, tmp_path / "o.parquet", tmp_path / "p.parquet", column="a")
    (tmp_path / "full").symlink_to("/dev/full")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "with_name", lambda path, _: path.parent / "full")
        with pytest.raises(StorageError, match="free some space"):
            bulk.score_file(model, tmp_path / "t.parquet", tmp_path / "o.csv", column="a")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["bad.parquet", "o.parquet", "ragged.csv", "t.parquet"]
    assert main(["score", str(folder), "anna", "bob", "--out", str(tmp_path / "o.csv")]) == 2
    assert main(["score", str(folder), "anna", "--on", "dask://"]) == 2
    assert main(["score", str(folder), str(tmp_path / "o.parquet"), "--out", str(tmp_path / "o.csv"), "--on", "spark://x"]) == 2
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"a table of words needs .*\[tables\]"):
        bulk.score_file(model, tmp_path / "t.parquet", tmp_path / "o.parquet")
