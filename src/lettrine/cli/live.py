"""`play`, and the page of `train --live`."""

from __future__ import annotations

import contextlib
import webbrowser
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lettrine.cli.options import taking_options
from lettrine.cli.show import note
from lettrine.live import LOCAL, PORT

if TYPE_CHECKING:
    from lettrine.training.api import OnProgress
    from lettrine.training.progress import Progress


def register(app: typer.Typer) -> None:
    """Add this command to the command line."""
    app.command(epilog="Example: lettrine play names.txt --activation tanh --init naive")(play)


@taking_options()
def play(
    options: dict[str, Any],
    port: Annotated[int, typer.Option(help="Port of the page; 0 for any free port.", rich_help_panel="Page")] = PORT,
    host: Annotated[
        str, typer.Option(help="Address of this machine to serve the page on; needs --yes-expose.", rich_help_panel="Page")
    ] = LOCAL,
    yes_expose: Annotated[
        bool,
        typer.Option(
            "--yes-expose", help="Let other machines open the page; they need the token in its address.", rich_help_panel="Page"
        ),
    ] = False,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page.", rich_help_panel="Page")] = True,
) -> None:
    """Train on a page where everything can be changed, broken and cured during the training. Ctrl-C ends it."""
    from lettrine.live.board import Board  # noqa: PLC0415 - start-up pays only for what it uses
    from lettrine.live.play import Player  # noqa: PLC0415
    from lettrine.live.server import Server  # noqa: PLC0415
    from lettrine.training.options import choices, word_list_of  # noqa: PLC0415

    words = word_list_of(choices(options).words)
    board = Board()
    with contextlib.closing(Player(words, options, board)) as player:
        server = Server(board, title="Play", answer=player.answer, host=host, port=port, expose=yes_expose)
        with contextlib.closing(server):
            note(f"{server.address} (Ctrl-C ends it)")
            if browser:
                webbrowser.open(server.address)
            with contextlib.suppress(KeyboardInterrupt):
                player.wait()


@contextlib.contextmanager
def shown_live(listener: OnProgress, *, wanted: bool) -> Iterator[OnProgress]:
    """The function that is told of the progress. If wanted, it also shows the training on a live page."""
    if not wanted:
        yield listener
        return
    from lettrine.live.plane import Drift, shown  # noqa: PLC0415 - start-up pays only for what it uses
    from lettrine.live.showing import Live  # noqa: PLC0415

    drift = Drift()

    def own(now: Progress) -> dict[str, Any]:
        return {"lines": now.simple} | ({} if now.model is None else shown(now.model(), drift, seed=now.step))

    with contextlib.closing(Live("Training", port=PORT)) as live:

        def both(now: Progress) -> None:
            listener(now)
            if now.trace is not None:
                facts = {"step": now.step, "steps": now.steps, "loss": _number(now.loss), "dev": _number(now.dev)}
                live.offer(now.trace, facts | {"speed": round(now.steps_per_second)}, partial(own, now))

        yield both


def _number(value: float) -> float | None:
    return value if value == value else None  # noqa: PLR0124  # NaN is no JSON
