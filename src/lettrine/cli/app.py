"""The `lettrine` command: its subcommands, and the one place that turns errors into a line and an exit code."""

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

INTERRUPTED = 130  # 128 + SIGINT, as in shells
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
    """Ctrl-C, without a run that could be resumed."""


class _Commands(TyperGroup):
    """A command that says so on Ctrl-C; Typer would end without a word."""

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
    """The command line. For a known command, the modules of the others are not imported: that takes longer than to draw words."""
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

    Every error is one line on standard error, and with --json also an object on standard output. Errors that are not ours are
    defects; they keep their traceback.
    """
    _write_what_can_be_written()
    given = sys.argv[1:] if arguments is None else arguments
    kind, message, code = _run(given)
    if message and "--json" in given:
        from lettrine.cli.show import out_json  # noqa: PLC0415 - start-up pays only for what it uses

        out_json({"error": {"kind": kind, "message": message, "exit_code": code}})
    return _complain(message, code) if message else code


def _run(arguments: list[str]) -> tuple[str, str, int]:  # noqa: PLR0911 - one return for each way to end
    """Run a command. Returns the kind of its error and a line about it, both empty without an error, and the exit code."""
    # A shell that asks for completions names the command in a variable; then all commands are needed.
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

        nobody_reads()  # the reader of our output has closed it, as in `lettrine sample RUN | head`
        return "", "", 0
    except MemoryError:
        advice = "out of memory; lower --context, --embedding, --hidden or --batch, or give fewer words"
        return "MemoryError", advice, BAD_INPUT
    except OSError as error:
        return "OSError", f"{error.filename or 'the system'}: {error.strerror or error}", BAD_INPUT
    except Exception as error:
        # The classes of Typer's own errors (an unknown option, a word for a number) differ between its versions.
        if not hasattr(error, "format_message"):
            raise
        if not error.format_message():  # no arguments: the help was shown
            return "", "", BAD_INPUT
        return "UsageError", f"{error.format_message()} (lettrine --help lists what there is)", BAD_INPUT
    return "", "", code if isinstance(code, int) else 0


def _write_what_can_be_written() -> None:
    """If output is not UTF-8, show characters that it cannot hold as numbers. Otherwise they would end the program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _complain(message: str, code: int) -> int:
    from lettrine.cli.show import plain  # noqa: PLC0415 - start-up pays only for what it uses

    print(f"lettrine: {plain(message)}", file=sys.stderr)  # noqa: T201
    return code
