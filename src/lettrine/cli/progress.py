"""The progress of a training, on standard error."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from lettrine.cli.show import console, number

if TYPE_CHECKING:
    from lettrine.training.api import OnProgress
    from lettrine.training.progress import Progress

MEDIUM: Final = 60  # a terminal of so many columns also shows a bar and the time left …
WIDE: Final = 100  # … and one of so many also the label and the speed


@contextlib.contextmanager
def progress(*, quiet: bool, label: str = "training") -> Iterator[OnProgress]:
    """A progress bar on standard error; nothing if that is no terminal."""
    terminal = console(error=True)
    if quiet or not terminal.is_terminal:
        yield lambda _: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415
    from rich.progress import Progress as Bar  # noqa: PLC0415

    from lettrine.report.terminal import line  # noqa: PLC0415

    # A narrow terminal shows the most important part: the loss, then the progress, then the rest. 40 columns hold the first two.
    columns: list[str | ProgressColumn] = [TextColumn("loss {task.fields[loss]}  dev {task.fields[dev]}"), MofNCompleteColumn()]
    if terminal.width >= MEDIUM:
        columns = [BarColumn(bar_width=None), *reversed(columns), TimeRemainingColumn()]
    if terminal.width >= WIDE:
        columns = [TextColumn(label), *columns[:-1], TextColumn("{task.fields[speed]} steps/s"), columns[-1]]
    with Bar(*columns, console=terminal, transient=False) as bar:
        task = bar.add_task("", total=None, loss="-", dev="-", speed="-")

        def listener(now: Progress) -> None:
            for finding in now.findings:
                bar.console.print(line(finding), markup=False)
            bar.update(
                task,
                completed=now.step,
                total=now.steps,
                loss=number(now.loss, 3),
                dev=number(now.dev, 3),
                speed=f"{now.steps_per_second:,.0f}",
            )

        yield listener
