"""Every error that lettrine raises on purpose.

    LettrineError
    ├── WordListError        a word list that cannot be read or is too small
    │   └── VocabularyError  a character outside the vocabulary, or a vocabulary of one
    ├── ConfigError          an option or configuration value outside its range
    │   └── ArgumentError    a call from Python with an argument of the wrong type, a missing or an unknown one
    ├── EngineError          arrays that do not fit the network, or an engine that is not built
    ├── RunError             a run folder that cannot be used
    │   ├── RunExistsError   the output folder already holds a run
    │   ├── RunDamagedError  files missing, cut short, or of a newer version
    │   └── RunBusyError     another process is training in it
    ├── StorageError         the disk refused (full, read-only, no permission)
    ├── DivergedError        the loss stopped being finite; the last good weights are kept
    ├── HealthError          the health check was asked for something it cannot answer
    └── MissingExtraError    an optional dependency is absent; the message holds the pip line

A message says what was given, what was expected and what to do. It is one line without control characters and of
bounded length, whatever stood in the files and names it speaks of. The command line prints it and exits with `exit_code`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

LONGEST: Final = 2_000  # characters of a message


class LettrineError(Exception):
    """Base of every error lettrine raises on purpose."""

    exit_code = 2

    def __init__(self, message: object = "") -> None:
        super().__init__(_within(_printable(_within(str(message)))))


class WordListError(LettrineError, ValueError):
    """A word list that cannot be read, or holds too few words."""


class VocabularyError(WordListError):
    """A character outside the vocabulary, or a vocabulary too small to learn from."""


class ConfigError(LettrineError, ValueError):
    """An option or configuration value outside its range."""


class ArgumentError(ConfigError, TypeError):
    """A call from Python with an argument of the wrong type, without one that is needed, or with one that is not known."""


class EngineError(LettrineError, ValueError):
    """Arrays that do not fit the network, or an engine that is not available."""


class RunError(LettrineError):
    """A run folder that cannot be used."""


class RunExistsError(RunError):
    """The output folder already holds a run."""


class RunDamagedError(RunError):
    """A run folder with files missing, cut short, inconsistent, or from a newer version."""


class RunBusyError(RunError):
    """Another process is training in this run folder."""


class StorageError(LettrineError, OSError):
    """The disk refused: full, read-only, or no permission."""


class DivergedError(LettrineError):
    """The loss stopped being finite; the last good weights were kept."""

    exit_code = 3


class HealthError(LettrineError, RuntimeError):
    """The health check was asked for something it cannot answer, such as a report of nothing."""


class MissingExtraError(LettrineError, ImportError):
    """An optional dependency is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional dependency; install it with: {install_line(extra)}")
        self.extra = extra


def install_line(extra: str) -> str:
    """What to type to get an optional dependency: from the checkout this code lies in, if it lies in one, else from the index."""
    root = Path(__file__).parents[2]
    return f"pip install -e '{root}[{extra}]'" if (root / "pyproject.toml").is_file() else f"pip install 'lettrine[{extra}]'"


def quote(text: object, limit: int = 60) -> str:
    r"""Text from outside (a word, a path) as it may stand in a message: one line, in quotes, no control characters.

    Unprintable characters become escapes such as \x1b, and what is longer than `limit` characters is cut.
    """
    try:
        given = str(text)
    except ValueError:  # a whole number of thousands of digits
        given = f"a {type(text).__name__}"
    shown = _printable(given[: limit + 1])
    return f"'{shown if len(shown) <= limit else shown[: limit - 1] + '…'}'"


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _within(message: str) -> str:
    """Cut in the middle: what was wrong stands first, what to do last."""
    return message if len(message) <= LONGEST else f"{message[: LONGEST // 2]}…{message[1 - LONGEST // 2 :]}"
