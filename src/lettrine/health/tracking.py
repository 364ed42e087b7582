"""Figures for experiment trackers during a training: a limited number of series, the most important ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from lettrine.health.observers import LOGGER
from lettrine.health.scalars import ROOT

LogTo: TypeAlias = Callable[[dict[str, float], int], object]
"""A function of figures and a step. If it has a method `finish`, this is called with the report after the watch has closed.
Those of `lettrine.integrations` have one, which hands over the page, the findings, the verdict and histograms."""

MOST: Final = 50  # series, as many as a person can look through
WHOLE: Final = ("loss", "learning_rate", "gradient_norm")
_LOSS: Final = f"{ROOT}/loss"
TELLING: Final = ("update_data", "output_std", "grad_std", "dead")


class Tracking:
    """At sampled steps (see `Observers.on_sample`) it calls `log_to` with a dict of at most MOST values, and the step.

    Keys are those of `lettrine.health.scalars`: WHOLE for the whole step, TELLING for modules and parameters; in a large network
    for modules that are evenly spaced from input to output. The first sampled step decides which. It waits until it is known in
    which units losses are.

    factor: by what losses are multiplied; None while that is not known.
    """

    def __init__(self, log_to: LogTo) -> None:
        self._log_to: LogTo | None = log_to
        self._keys: list[str] = []
        self._waiting: list[tuple[int, dict[str, float]]] = []
        self.factor: float | None = None

    def __call__(self, step: int, figures: Mapping[str, float]) -> None:
        """A step was sampled."""
        if self._log_to is None:
            return
        self._keys = self._keys or chosen(list(figures))
        self._waiting.append((step, {key: figures[key] for key in self._keys if key in figures}))
        self.settle(self.factor)

    def settle(self, factor: float | None) -> None:
        """Hand on what waits, if the factor is known."""
        self.factor = factor
        if factor is None:
            return
        waiting, self._waiting = self._waiting, []
        for step, values in waiting:
            if _LOSS in values:
                values[_LOSS] *= factor
            if self._log_to is not None:
                self._call(self._log_to, values, step)

    @property
    def finishes(self) -> bool:
        """Whether it takes the report."""
        return hasattr(self._log_to, "finish")

    def finish(self, report: object) -> None:
        """The watch has closed."""
        finish = getattr(self._log_to, "finish", None)
        if finish is not None:
            self._call(finish, report)

    def _call(self, function: Callable[..., object], *args: Any) -> None:
        try:
            function(*args)
        except Exception as error:  # noqa: BLE001  a tracker that fails must not end the training or the watch
            LOGGER.warning("log_to failed and is not called again: %s: %s", type(error).__name__, error)
            self._log_to = None


def chosen(keys: Sequence[str], most: int = MOST) -> list[str]:
    """The most important of these keys, in their order."""
    whole = [f"{ROOT}/{name}" for name in WHOLE]
    kinds = [[key for key in keys if key.endswith(f"/{kind}")] for kind in TELLING]
    found, left = set(whole), most - len(whole)
    for place, of_kind in enumerate(sorted(kinds, key=len)):  # if a kind has few series, the others may have more
        room = left // (len(kinds) - place)
        spread = of_kind if len(of_kind) <= room else [of_kind[each * len(of_kind) // room] for each in range(room)]
        found |= set(spread)
        left -= len(spread)
    return [*whole, *(key for key in keys if key in found and key not in whole)]
