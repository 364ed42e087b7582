"""Rows of output, as plain lines, CSV, or one JSON object per line. Each is written at once."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Annotated, Any, Final

import typer

from lettrine.cli.show import UNSAFE, nobody_reads, plain

FORMATS: Final = ("text", "csv", "jsonl")
Format = Annotated[str, typer.Option("--format", help="text (tabs between columns), csv or jsonl (one JSON object per line).")]


def checked_format(chosen: str) -> None:
    """Raise ConfigError for an unknown format."""
    from lettrine.errors import ConfigError  # noqa: PLC0415 - start-up pays only for what it uses

    if chosen not in FORMATS:
        raise ConfigError(f"format got {chosen!r}; expected one of {', '.join(FORMATS)}")


class Writer:
    """Writes rows with the same columns to standard output, under a header; plain words have no header."""

    def __init__(self, chosen: str) -> None:
        self._format, self._begun = chosen, False

    def words(self, words: Sequence[str]) -> None:
        """Rows of words alone."""
        if self._format == "text":
            safe = words if UNSAFE.search("".join(words)) is None else list(map(plain, words))
            self._put("\n".join(safe) + "\n")
        else:
            self.rows([{"word": word} for word in words])

    def rows(self, rows: Sequence[dict[str, Any]]) -> None:
        """Rows of several columns."""
        if not rows:
            return
        if self._format == "jsonl":
            lines = "\n".join([json.dumps(row, ensure_ascii=False) for row in rows])
            self._put(UNSAFE.sub(lambda found: found[0] if found[0] == "\n" else f"\\u{ord(found[0]):04x}", lines) + "\n")
            return
        import csv  # noqa: PLC0415 - start-up pays only for what it uses
        import io  # noqa: PLC0415

        text = io.StringIO()
        table = csv.writer(text, csv.excel if self._format == "csv" else csv.excel_tab, lineterminator="\n")
        if not self._begun:
            table.writerow(rows[0])
        self._begun = True
        table.writerows([[plain(cell) if isinstance(cell, str) else cell for cell in row.values()] for row in rows])
        self._put(text.getvalue())

    def _put(self, text: str) -> None:
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except BrokenPipeError:  # the reader has enough; the library that parses the command line would make it an error
            nobody_reads()
            raise typer.Exit from None
