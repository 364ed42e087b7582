"""Words by the million: judged and drawn from file to file in constant memory, and judged as columns of a data frame."""

from __future__ import annotations

import contextlib
import functools
import importlib
import math
import unicodedata
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Executor, Future
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lettrine.arguments import checked
from lettrine.errors import ConfigError, StorageError, quote
from lettrine.inference.language_model import LanguageModel
from lettrine.tools.tables import ROWS, WORD, arrow, check_suffix, read_table, write_table
from lettrine.training.folder import MODEL, RUN, load_run
from lettrine.training.run import Run

FIGURES: Final = ("log_likelihood", "per_character", "unknown")  # of each word, as in `Scores`
AHEAD: Final = 16  # portions in work at a time with a pool
_FRAMES: Final = ("pandas", "polars", "pyarrow")


@checked
def score(words: Any, run: str | Path | Run, *, figure: str = "log_likelihood", label: str = "", threads: int = 1) -> Any:
    """The likelihood of each word under a run, as a column of the same kind as `words`.

    words: a Series of pandas or Polars, an array of Arrow, or any list. The result has the same kind and length: a Series with
    the same index, an array, or a float64 array of numpy (W,). figure: "log_likelihood" (nats, the end included), "per_character"
    (its mean over characters and end) or "unknown" (how many characters the run never saw).
    label: for a run with labels, under this one alone. Missing and empty words are missing (NaN, null) in the result.

    The same function runs on partitions: `series.map_partitions(lettrine.score, run="my-run", meta=("score", "f8"))`.
    Raises ConfigError for another figure, and what `load_run` raises.
    """
    if figure not in FIGURES:
        raise ConfigError(f"score got the figure {quote(figure)}; expected one of {', '.join(FIGURES)}")
    if isinstance(words, str | bytes) or not hasattr(words, "__iter__"):
        raise ConfigError(f"score got {quote(words)}; expected words: a Series, an array of Arrow or a list")
    model = run.model if isinstance(run, Run) else _opened(Path(run))
    kind = type(words).__module__.partition(".")[0]
    kind = kind if kind in _FRAMES else ""
    listed = words.to_pylist() if kind == "pyarrow" else words.to_list() if kind else list(words)
    values = judged_columns(model, listed, label, threads)[figure]
    if kind == "pandas":
        return importlib.import_module("pandas").Series(values, index=words.index, name=figure)
    if kind == "polars":
        return importlib.import_module("polars").Series(figure, values, nan_to_null=True)
    return arrow().array(values, from_pandas=True) if kind == "pyarrow" else values


def judged_columns(
    model: LanguageModel, words: Sequence[object], label: str = "", threads: int = 1
) -> dict[str, NDArray[np.float64]]:
    """FIGURES of each word, (W,) each; NaN for a missing word: None, NaN or empty."""
    clean = [unicodedata.normalize("NFC", word).strip() if isinstance(word, str) else "" for word in words]
    if wrong := next((word for word in words if not isinstance(word, str) and not _is_missing(word)), None):
        raise ConfigError(f"score got {quote(repr(wrong))}, a {type(wrong).__name__}; expected words")
    places = np.flatnonzero(np.fromiter(map(bool, clean), np.bool_, len(clean)))
    found = {figure: np.full(len(clean), np.nan) for figure in FIGURES}
    start = 0
    for some in model.score_many([clean[place] for place in places.tolist()], label, threads=threads):
        here = places[start : start + len(some.words)]
        start += len(some.words)
        for figure in FIGURES:
            found[figure][here] = getattr(some, figure)
    return found


def _is_missing(word: object) -> bool:
    """None, NaN, and the signs for a missing value of pandas."""
    return word is None or (isinstance(word, float) and math.isnan(word)) or type(word).__name__ in ("NAType", "NaTType")


def _opened(path: Path) -> LanguageModel:
    """The model of a run folder, opened once for many partitions, and again if it was trained again."""
    file = path / MODEL if (path / MODEL).exists() else path / RUN
    return _remembered(path, file.stat().st_mtime_ns if file.exists() else 0)


@functools.lru_cache(maxsize=4)
def _remembered(path: Path, _changed: int) -> LanguageModel:
    return load_run(path).model


def score_file(
    run: str | Path | Run,
    path: str | Path,
    out: str | Path,
    *,
    column: str | None = None,
    label: str = "",
    threads: int = 1,
    pool: Executor | None = None,
) -> tuple[int, int]:
    """Judge every word of a table and write the table with FIGURES added. Returns the number of rows, and of those with
    unknown characters. pool: its workers judge the portions, in processes or on machines that see the run's folder under the
    same path; each worker has a few portions at a time. The written file is the same.
    Raises WordListError, ConfigError, StorageError, MissingExtraError.
    """
    check_suffix(out)
    model = run.model if isinstance(run, Run) else _opened(Path(run))
    if pool is not None and isinstance(run, Run):
        raise ConfigError("score_file got a run in memory and a pool; expected the path of a run that its workers can open")
    rows = strange = 0
    with read_table(path, column) as table:
        pa, column, schema = arrow(), table.column, table.schema
        if taken := [figure for figure in FIGURES if figure in schema.names]:
            raise ConfigError(f"{quote(path)} has a column {taken[0]} already; rename it")
        for figure in FIGURES:
            schema = schema.append(pa.field(figure, pa.float64()))
        words = ((batch, batch.column(column)) for batch in table.portions)
        judged: Iterator[tuple[Any, dict[str, NDArray[np.float64]]]]
        if pool is None or isinstance(run, Run):
            judged = ((batch, judged_columns(model, some.to_pylist(), label, threads)) for batch, some in words)
        else:
            judge = functools.partial(_judged_there, str(Path(run).resolve()), label, threads)
            judged = _in_order(pool, words, judge)
        with write_table(out, schema) as write:
            for batch, found in judged:
                arrays = [pa.array(found[figure], from_pandas=True) for figure in FIGURES]
                write(pa.record_batch([*batch.columns, *arrays], schema=schema))
                rows += batch.num_rows
                strange += int((found["unknown"] > 0).sum())
    return rows, strange


def _judged_there(run: str, label: str, threads: int, words: Any) -> dict[str, NDArray[np.float64]]:
    """Runs on a worker, with the run that it opens once.

    words: an array of Arrow, not a list: Dask looks into each item of a list for work that is still to be done.
    """
    return judged_columns(_opened(Path(run)), words.to_pylist(), label, threads)


def _in_order(
    pool: Executor, portions: Iterator[tuple[Any, Any]], judge: Callable[[Any], dict[str, NDArray[np.float64]]]
) -> Iterator[tuple[Any, dict[str, NDArray[np.float64]]]]:
    """The results of the workers in the order of the portions, with AHEAD of them in work, so that memory is limited."""
    under_way: deque[tuple[Any, Future[dict[str, NDArray[np.float64]]]]] = deque()
    for batch, words in portions:
        with _told_if_lost():
            under_way.append((batch, pool.submit(judge, words)))
        if len(under_way) >= AHEAD:
            yield _answered(*under_way.popleft())
    while under_way:
        yield _answered(*under_way.popleft())


def _answered(batch: Any, future: Future[Any]) -> tuple[Any, dict[str, NDArray[np.float64]]]:
    with _told_if_lost():
        return batch, future.result()


@contextlib.contextmanager
def _told_if_lost() -> Iterator[None]:
    """An error of the cluster as one line of our own; one of ours as it was in the worker."""
    try:
        yield
    except Exception as error:
        theirs = type(error).__module__.startswith("distributed.")
        if not theirs and not isinstance(error, CancelledError | OSError):
            raise
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise StorageError(f"the cluster was lost ({reason}); see that it runs, then type the same command again") from None


def write_words(portions: Iterable[Sequence[str]], out: str | Path, model: LanguageModel | None = None) -> int:
    """Write words as they are drawn, with FIGURES if a model is given. Returns their number. Raises as `score_file`."""
    check_suffix(out)
    pa, count = arrow(), 0
    names = FIGURES if model is not None else ()
    schema = pa.schema([(WORD, pa.string()), *((figure, pa.float64()) for figure in names)])
    with write_table(out, schema) as write:
        for some in _regrouped(portions):
            found: Mapping[str, Any] = {} if model is None else judged_columns(model, some)
            write(pa.record_batch([pa.array(some, pa.string()), *(pa.array(found[figure]) for figure in names)], schema=schema))
            count += len(some)
    return count


def _regrouped(portions: Iterable[Sequence[str]]) -> Iterator[list[str]]:
    """In portions of ROWS: a row group of Parquet for each."""
    words = (word for some in portions for word in some)
    while some := list(islice(words, ROWS)):
        yield some
