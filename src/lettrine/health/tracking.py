"""Figures for trackers of experiments while a training goes on: a bounded number of series, the most important ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from lettrine.health.observers import LOGGER
from lettrine.health.scalars import ROOT

LogTo: TypeAlias = Callable[[dict[str, float], int], object]
"""A function of figures and a step. Where it has a method `finish`, that is called with the report when the watch has closed:
so have those of `lettrine.integrations`, which hand over the page, the findings, the verdict and histograms."""

MOST: Final = 50  # series: what a person looks through
WHOLE: Final = ("loss", "learning_rate", "gradient_norm")
TELLING: Final = ("update_data", "output_std", "grad_std", "dead")


class Tracking:
    """Told of sampled steps (see `Observers.on_sample`), it hands `log_to` a dict of at most MOST values, and the step.

    Keys are those of `lettrine.health.scalars`: of the whole step WHOLE, of modules and parameters TELLING, of a large network
    those of modules spread evenly from the input to the output. The choice is made at the first sampled step.
    """

    def __init__(self, log_to: LogTo) -> None:
        self._log_to: LogTo | None = log_to
        self._keys: list[str] = []

    def __call__(self, step: int, figures: Mapping[str, float]) -> None:
        """A step was sampled."""
        if self._log_to is None:
            return
        self._keys = self._keys or chosen(list(figures))
        self._call(self._log_to, {key: figures[key] for key in self._keys if key in figures}, step)

    @property
    def finishes(self) -> bool:
        """Whether it wants the report."""
        return hasattr(self._log_to, "finish")

    def finish(self, report: object) -> None:
        """The watch has closed."""
        finish = getattr(self._log_to, "finish", None)
        if finish is not None:
            self._call(finish, report)

    def _call(self, function: Callable[..., object], *args: Any) -> None:
        try:
            function(*args)
        except Exception as error:  # noqa: BLE001  a tracker that cannot be reached ends no training and no watch
            LOGGER.warning("log_to failed and is not called again: %s: %s", type(error).__name__, error)
            self._log_to = None


def chosen(keys: Sequence[str], most: int = MOST) -> list[str]:
    """The most telling of these keys, in their order."""
    whole = [f"{ROOT}/{name}" for name in WHOLE]
    kinds = [[key for key in keys if key.endswith(f"/{kind}")] for kind in TELLING]
    found, left = set(whole), most - len(whole)
    for place, of_kind in enumerate(sorted(kinds, key=len)):  # a kind with few series leaves its room to the others
        room = left // (len(kinds) - place)
        spread = of_kind if len(of_kind) <= room else [of_kind[each * len(of_kind) // room] for each in range(room)]
        found |= set(spread)
        left -= len(spread)
    return [*whole, *(key for key in keys if key in found and key not in whole)]
