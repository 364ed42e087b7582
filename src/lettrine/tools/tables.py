"""Tables of any size, read and written in portions: Parquet and CSV by pyarrow, text of one word a line.

Memory is that of one portion, whatever the size of the file. A written file appears under its name when it is complete.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lettrine.errors import ConfigError, LettrineError, MissingExtraError, StorageError, WordListError, quote
from lettrine.text.files import read_blocks, source_name
from lettrine.training.storage import TEMPORARY

ROWS: Final = 1 << 16  # rows of a portion
BLOCK: Final = 1 << 22  # bytes of a CSV read at a time
WORD: Final = "word"  # column of a text of one word a line
PARQUET: Final = (".parquet", ".pq")
SEPARATORS: Final = {".csv": ",", ".tsv": "\t"}
TEXT: Final = ".txt"
SUFFIXES: Final = (*PARQUET, *SEPARATORS, TEXT)


@dataclass(frozen=True)
class WordTable:
    """A table to be read once. column: that of the words. schema: pyarrow's. portions: record batches, in the rows' order."""

    column: str
    schema: Any
    portions: Iterator[Any]


def arrow(name: str = "pyarrow") -> Any:
    """pyarrow, or one of its modules; otherwise an error with the line that installs it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise MissingExtraError("a table of words", "tables") from None


@contextlib.contextmanager
def read_table(path: str | Path, column: str | None = None) -> Iterator[WordTable]:
    """The table in a file, by its suffix; anything but Parquet, CSV and TSV is text of one word a line.

    column: name of the words' column, or its number from 1; None where there is but one of text.
    Raises WordListError for what cannot be read, MissingExtraError without pyarrow.
    """
    pa, suffix, name = arrow(), Path(path).suffix.lower(), source_name(path)
    with contextlib.ExitStack() as opened:
        with _told(name):
            if suffix in PARQUET:
                file = opened.enter_context(arrow("pyarrow.parquet").ParquetFile(path, memory_map=True, pre_buffer=False))
                schema, portions = file.schema_arrow, file.iter_batches(batch_size=ROWS)
            elif suffix in SEPARATORS:
                schema, portions = _read_csv(path, SEPARATORS[suffix], opened)
            else:
                schema = pa.schema([(WORD, pa.string())])
                portions = _read_text(path, schema)
        yield WordTable(_column(schema, column, name), schema, _to_the_end(portions, name))


def _to_the_end(portions: Iterator[Any], source: str) -> Iterator[Any]:
    """The same portions; if one cannot be read, that is no error of whoever writes what is made of them."""
    with _told(source):
        yield from portions


def _read_csv(path: str | Path, separator: str, opened: contextlib.ExitStack) -> tuple[Any, Iterator[Any]]:
    """Every cell as text, so that it is written as it was read."""
    pa, csv = arrow(), arrow("pyarrow.csv")
    options = {"read_options": csv.ReadOptions(block_size=BLOCK), "parse_options": csv.ParseOptions(delimiter=separator)}
    with csv.open_csv(path, **options) as first:
        names = first.schema.names
    convert = csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False)
    reader = opened.enter_context(csv.open_csv(path, convert_options=convert, **options))
    return reader.schema, iter(reader)


def _read_text(path: str | Path, schema: Any) -> Iterator[Any]:
    pa = arrow()
    for _, text in read_blocks(path):
        lines = text.removesuffix("\n").split("\n")
        for start in range(0, len(lines), ROWS):
            yield pa.record_batch([pa.array(lines[start : start + ROWS], pa.string())], schema=schema)


def _column(schema: Any, wanted: str | None, source: str) -> str:
    """Name of the column of the words."""
    types = arrow("pyarrow.types")
    texts = [field.name for field in schema if _is_text(types, field.type)]
    listed = ", ".join(quote(name, limit=30) for name in texts[:20]) or "none"
    if wanted is None and len(texts) == 1:
        return str(texts[0])
    if wanted in texts:
        return str(wanted)
    if wanted is not None and wanted.isdecimal() and 1 <= int(wanted) <= len(schema.names):
        return _column(schema, schema.names[int(wanted) - 1], source)
    given = "no --column" if wanted is None else f"--column {quote(wanted)}"
    raise WordListError(f"{source} got {given}; expected one of its columns of text: {listed}")


def _is_text(types: Any, kind: Any) -> bool:
    inner = kind.value_type if types.is_dictionary(kind) else kind
    return bool(types.is_string(inner) or types.is_large_string(inner) or types.is_string_view(inner))


@contextlib.contextmanager
def write_table(path: str | Path, schema: Any) -> Iterator[Callable[[Any], None]]:
    """An object that takes record batches and writes them, by the suffix of `path`; the file appears when all are written.

    Raises ConfigError for another suffix or what it cannot hold, StorageError if the disk refuses.
    """
    path = Path(path)
    check_suffix(path)
    suffix, partial = path.suffix.lower(), path.with_name(path.name + TEMPORARY)
    try:
        with contextlib.ExitStack() as opened:
            path.parent.mkdir(parents=True, exist_ok=True)
            if suffix in PARQUET:
                writer = opened.enter_context(arrow("pyarrow.parquet").ParquetWriter(partial, schema))
                yield writer.write_batch
            elif suffix in SEPARATORS:
                csv = arrow("pyarrow.csv")
                options = csv.WriteOptions(delimiter=SEPARATORS[suffix], quoting_style="needed")
                yield opened.enter_context(csv.CSVWriter(partial, schema, write_options=options)).write
            else:
                file = opened.enter_context(partial.open("w", encoding="utf-8"))
                yield lambda batch: _write_lines(file, batch)
        partial.replace(path)
    except LettrineError:  # of who reads, or of a cluster
        raise
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}; free some space, or choose another --out") from error
    except arrow().lib.ArrowException as error:
        raise ConfigError(f"cannot write {path}: {_first_line(error)}; choose a --out that ends in {PARQUET[0]}") from None
    finally:
        with contextlib.suppress(OSError):  # the error says why
            partial.unlink(missing_ok=True)


def check_suffix(path: str | Path) -> None:
    """Raise ConfigError for a path whose suffix is not that of a table."""
    if Path(path).suffix.lower() not in SUFFIXES:
        raise ConfigError(f"--out got {quote(path)}; expected a name that ends in {', '.join(SUFFIXES)}")


def _write_lines(file: Any, batch: Any) -> None:
    """The rows with tabs between the columns."""
    columns = [column.to_pylist() for column in batch.columns]
    file.writelines("\t".join("" if cell is None else str(cell) for cell in row) + "\n" for row in zip(*columns, strict=True))


@contextlib.contextmanager
def _told(source: str) -> Iterator[None]:
    """An error of pyarrow as one line of our own."""
    invalid = arrow().lib.ArrowException
    try:
        yield
    except FileNotFoundError:
        raise WordListError(f"there is no file {source}; expected a table of words") from None
    except (invalid, OSError) as error:
        raise WordListError(
            f"{source} is not a table that can be read: {_first_line(error)}; convert it, or give another"
        ) from None


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
