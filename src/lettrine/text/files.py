"""Bytes from a file or standard input become lines of text, in blocks of bounded size.

All input is checked: the length of lines and the encoding. Bytes that are not text are refused; the error names the line and
the likely encoding.
"""

from __future__ import annotations

import csv
import re
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Final

from lettrine.errors import WordListError, quote

BLOCK_BYTES: Final = 1 << 22  # large enough that Python's cost per block vanishes, small enough to decode at will
MAX_LINE_BYTES: Final = 1 << 22
CELLS: Final = 1 << 16  # cells of a table returned together

_BINARY = re.compile(rb"[\x00-\x06\x0e-\x1a]")  # bytes that no text in any one-byte encoding holds
_BYTE_ORDER_MARKS: Final = (  # the mark of UTF-32 begins with that of UTF-16, so it is tested first
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_ZERO_WIDTH_MARK: Final = "\ufeff"  # a byte order mark; `cat a.txt b.txt` leaves one in the middle


def source_name(path: str | Path) -> str:
    """The name of a path in messages: "standard input" for "-"."""
    return "standard input" if str(path) == "-" else quote(path, limit=120)


def read_blocks(path: str | Path) -> Iterator[tuple[int, str]]:
    """Yield (number of the first line, text) for consecutive blocks of whole lines.

    UTF-8 with or without byte order mark; CRLF and a lone CR count as line ends and arrive as LF.

    Raises WordListError for a path that cannot be read, a line above MAX_LINE_BYTES, binary data or another encoding.
    """
    source, line = source_name(path), 1
    with _opened(path, source) as handle:
        for raw in _whole_lines(handle, source, ahead=str(path) != "-" and Path(path).is_file()):
            text = _decode(raw, source, line)
            yield line, text
            line += text.count("\n")


def read_column(path: str | Path, column: str | int) -> Iterator[tuple[int, list[str]]]:
    """Yield (number of the first row, cells of one column) of a CSV or TSV, some thousands at a time. See `read_columns`."""
    for first, rows in read_columns(path, (column,)):
        yield first, [cell for (cell,) in rows]


def read_columns(path: str | Path, columns: Sequence[str | int]) -> Iterator[tuple[int, list[tuple[str, ...]]]]:
    """Yield (number of the first row, cells of these columns) of a CSV or TSV, some thousands of rows at a time.

    The separator is the most frequent one of tab, semicolon and comma in the first row. In a file separated by tabs, quotation
    marks are ordinary characters, as its registered media type says. A name must be in the first row, which is then not read
    as words; with a number (from 1) every row is read. A row without that column gives an empty cell.

    Raises WordListError as `read_blocks`, and for a column that is not there or a quote left open.
    """
    source = source_name(path)
    lines = (line + "\n" for _, text in read_blocks(path) for line in text.removesuffix("\n").split("\n"))
    top = next((line for line in lines if line.strip()), None)
    if top is None:
        return
    separator = max("\t;,", key=top.count) if any(sign in top for sign in "\t;,") else ","
    rows = csv.reader(
        chain((top,), lines), delimiter=separator, quoting=csv.QUOTE_NONE if separator == "\t" else csv.QUOTE_MINIMAL
    )
    try:
        header = next(rows)
        places, named = zip(*(_find_column(header, column, source) for column in columns), strict=True)

        def cells_of(row: list[str]) -> tuple[str, ...]:
            return tuple([row[place] if place < len(row) else "" for place in places])

        some, first = ([], 2) if any(named) else ([cells_of(header)], 1)
        for row in rows:
            some.append(cells_of(row))
            if len(some) == CELLS:
                yield first, some
                some, first = [], first + CELLS
        yield first, some
    except csv.Error as error:
        raise WordListError(
            f"{source} is not a readable table near line {rows.line_num}: {error}; look for a quotation mark left open"
        ) from None


def _find_column(header: list[str], column: str | int, source: str) -> tuple[int, bool]:
    """Index of a column, and whether it was found by name."""
    names = [_same_form(name) for name in header]
    if isinstance(column, str):
        if _same_form(column) in names:
            return names.index(_same_form(column)), True
        number = int(column) if column.isascii() and column.isdecimal() and len(column) < 10 else 0
    else:
        number = column
    if 1 <= number <= len(names):
        return number - 1, False
    listed = ", ".join(quote(name, limit=30) for name in names[:20]) + (", …" if len(names) > 20 else "")
    raise WordListError(
        f"{source} has no column {quote(column)}; expected one of {listed}, or a number from 1 to {len(names)} "
        "if the first row is a word like the others"
    )


def _same_form(name: str) -> str:
    return unicodedata.normalize("NFC", name.strip())


@contextmanager
def _opened(path: str | Path, source: str) -> Iterator[BinaryIO]:
    """The bytes of a file or of standard input; an error of the operating system becomes a WordListError."""
    try:
        if str(path) == "-":
            if (stream := getattr(sys.stdin, "buffer", None)) is None:
                raise WordListError("there is no standard input to read; give the path of a word list")
            yield stream
        else:
            with Path(path).open("rb") as handle:
                yield handle
    except FileNotFoundError:
        raise WordListError(
            f"there is no file {source}; expected a text file of one word a line, or - for standard input"
        ) from None
    except IsADirectoryError:
        raise WordListError(f"{source} is a folder; expected a text file of one word a line") from None
    except (OSError, ValueError) as error:
        if isinstance(error, WordListError):
            raise
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise WordListError(f"{source} cannot be read: {reason}; expected a text file of one word a line") from None


def _blocks(handle: BinaryIO, *, ahead: bool) -> Iterator[bytes]:
    """The bytes, BLOCK_BYTES at a time. ahead: a thread reads the next block while one is in work. Not of a pipe: nobody knows
    when it gives more, and Ctrl-C would wait for that.
    """
    block = handle.read(BLOCK_BYTES)
    if not ahead or len(block) < BLOCK_BYTES:
        while block:
            yield block
            block = handle.read(BLOCK_BYTES)
        return
    with ThreadPoolExecutor(1) as pool:
        while block:
            coming = pool.submit(handle.read, BLOCK_BYTES)
            yield block
            block = coming.result()


def _whole_lines(handle: BinaryIO, source: str, *, ahead: bool) -> Iterator[bytes]:
    """Split a stream of bytes after line ends, never between CR and LF."""
    rest = b""
    for block in _blocks(handle, ahead=ahead):
        rest += block
        cut = max(rest.rfind(b"\n"), rest.rfind(b"\r", 0, len(rest) - 1)) + 1
        if cut:
            yield rest[:cut]
            rest = rest[cut:]
        if len(rest) > MAX_LINE_BYTES:
            _refuse_binary(rest, source, "a line")
            raise WordListError(f"{source} has a line of more than {MAX_LINE_BYTES:,} bytes; expected one word a line")
    if rest:
        yield rest


def _decode(raw: bytes, source: str, line: int) -> str:
    if line == 1:
        for mark, encoding in _BYTE_ORDER_MARKS:
            if raw.startswith(mark):
                raise _wrong_encoding(source, 1, encoding)
    if b"\0" in raw:
        _refuse_binary(raw, source, f"line {_line_at(raw, raw.index(0), line)}")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        at = _line_at(raw, error.start, line)
        _refuse_binary(raw, source, f"line {at}")
        try:
            raw.decode("cp1252")
        except UnicodeDecodeError:
            raise _wrong_encoding(source, at, "latin-1") from None
        raise _wrong_encoding(source, at, "cp1252") from None
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.replace(_ZERO_WIDTH_MARK, "")


def _refuse_binary(raw: bytes, source: str, where: str) -> None:
    """Raise WordListError if the bytes are not text in UTF-8 or a one-byte encoding."""
    if not _BINARY.search(raw):
        return
    start = raw[:1000]
    for encoding in ("utf-16-le", "utf-16-be"):
        text = start.decode(encoding, errors="ignore")
        if text.isascii() and len(text) == len(start) // 2 and "".join(text.split()).isprintable():
            raise _wrong_encoding(source, 1, encoding)
    raise WordListError(f"{source} is not a text file ({where} holds binary data); expected UTF-8 text of one word a line")


def _wrong_encoding(source: str, line: int, encoding: str) -> WordListError:
    return WordListError(
        f"{source} is not UTF-8 on line {line}; it may be {encoding}: "
        f"convert it with iconv -f {encoding} -t utf-8, or save it as UTF-8 from an editor"
    )


def _line_at(raw: bytes, position: int, first: int) -> int:
    before = raw[:position]
    return first + before.count(b"\n") + before.count(b"\r") - before.count(b"\r\n")
