"""Commands that take options of the table of trainings."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from typing import Annotated, Any

import typer

from lettrine.training.option_table import OPTIONS, Option


def taking_options(names: Collection[str] | None = None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A decorator: the command also takes these options of the table; without `names`, all of them.

    Options that were typed are passed to its parameter `options`, by name. The command line is made from the same rows that
    `training.options.choices` consumes. So no option can be typed that nothing uses.
    """
    rows = [option for option in OPTIONS if names is None or option.name in names]

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        own = [each for each in inspect.signature(function, eval_str=True).parameters.values() if each.name != "options"]

        def command(**values: Any) -> None:
            typed = {row.name: values.pop(row.name) for row in rows}
            function(options={name: value for name, value in typed.items() if value is not None and value != []}, **values)

        kind = inspect.Parameter.KEYWORD_ONLY
        made = [inspect.Parameter(row.name, kind, default=None, annotation=_annotation(row)) for row in rows]
        command.__name__, command.__doc__ = function.__name__, function.__doc__
        command.__annotations__ = {}
        command.__signature__ = inspect.Signature([*made, *(each.replace(kind=kind) for each in own)])  # type: ignore[attr-defined]
        return command

    return decorate


def _annotation(row: Option) -> Any:
    if row.argument:
        return Annotated[row.kind | None, typer.Argument(metavar=f"[{row.name.upper()}]", help=row.text)]
    names = [row.switch] if row.switch else []
    return Annotated[row.kind | None, typer.Option(*names, help=row.text, rich_help_panel=row.panel)]
