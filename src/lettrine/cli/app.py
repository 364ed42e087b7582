"""The `lettrine` command: its subcommands, and the one place where errors become a line and an exit code."""

from __future__ import annotations

import importlib
import io
import os
import sys
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

import lettrine
from lettrine.errors import LettrineError

INTERRUPTED = 130  # 128 + SIGINT, as shells have it
BAD_INPUT = 2

# Commands by the module of `lettrine.cli` that has them, in the order of --help.
HOMES: Final = {
    "train": ("train",),
    "tune": ("tune",),
    "sample": ("sample",),
    "ask": ("score", "health", "eval"),
    "checkup": ("checkup",),
    "about": ("info", "corpora"),
    "tools": ("lr-range", "gains", "compare", "norms"),
    "live": ("play",),
    "recipe": ("recipe",),
}


class _Stopped(Exception):  # noqa: N818 - no error
    """Ctrl-C, where no run is there to be resumed."""


class _Commands(TyperGroup):
    """Typer ends without a word on Ctrl-C."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise _Stopped from None


def _version(wanted: bool) -> None:
    if wanted:
        print(f"lettrine {lettrine.__version__}")  # noqa: T201
        raise typer.Exit


def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Train a character-level neural language model on a list of words, in seconds, and draw new words from it.

    Start with: lettrine train --out my-run, then: lettrine sample my-run
    """


def build(command: str = "") -> typer.Typer:
    """The command line; for a known command without the others' modules, which take longer to describe than words to draw."""
    app = typer.Typer(
        name="lettrine",
        cls=_Commands,
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(root)
    homes = [home for home, commands in HOMES.items() if command in commands]
    for home in homes or HOMES:
        importlib.import_module(f"lettrine.cli.{home}").register(app)
    return app


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, or 2 for bad input, 130 or 143 when stopped by a signal.

    Every error is one line on standard error, and with --json an object on standard output as well. Errors that are not
    ours keep their traceback: they are defects.
    """
    _write_what_can_be_written()
    given = sys.argv[1:] if arguments is None else arguments
    kind, message, code = _run(given)
    if message and "--json" in given:
        from lettrine.cli.show import out_json  # noqa: PLC0415 - start-up pays only for what it uses

        out_json({"error": {"kind": kind, "message": message, "exit_code": code}})
    return _complain(message, code) if message else code


def _run(arguments: list[str]) -> tuple[str, str, int]:  # noqa: PLR0911 - one return for each way to end
    """Run a command; the kind of its error and a line on it, both empty where all is well, and the exit code."""
    # A shell that asks for completions names the command in a variable, not here; then all are needed.
    first = [] if "_LETTRINE_COMPLETE" in os.environ else arguments[:1]
    try:
        code = build(*first)(args=arguments, standalone_mode=False)
        sys.stdout.flush()
    except LettrineError as error:
        return type(error).__name__, str(error), error.exit_code
    except (KeyboardInterrupt, _Stopped):
        return "Interrupted", "stopped", INTERRUPTED
    except BrokenPipeError:
        from lettrine.cli.show import nobody_reads  # noqa: PLC0415 - start-up pays only for what it uses

        nobody_reads()  # the reader of our output has closed it, as `lettrine sample RUN | head` does
        return "", "", 0
    except MemoryError:
        advice = "out of memory; lower --context, --embedding, --hidden or --batch, or give fewer words"
        return "MemoryError", advice, BAD_INPUT
    except OSError as error:
        return "OSError", f"{error.filename or 'the system'}: {error.strerror or error}", BAD_INPUT
    except Exception as error:
        # Typer's own errors (an unknown option, a word for a number) differ in class between its versions.
        if not hasattr(error, "format_message"):
            raise
        if not error.format_message():  # no arguments: the help was shown
            return "", "", BAD_INPUT
        return "UsageError", f"{error.format_message()} (lettrine --help lists what there is)", BAD_INPUT
    return "", "", code if isinstance(code, int) else 0


def _write_what_can_be_written() -> None:
    """Where output is not UTF-8, a character it cannot write is shown as its number instead of ending the program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _complain(message: str, code: int) -> int:
    from lettrine.cli.show import plain  # noqa: PLC0415 - start-up pays only for what it uses

    print(f"lettrine: {plain(message)}", file=sys.stderr)  # noqa: T201
    return code
