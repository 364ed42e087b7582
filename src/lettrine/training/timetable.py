"""What holds at each step of a training: its settings with the changes made so far, the learning rates, and the batches."""

from __future__ import annotations

from collections.abc import Iterator

from lettrine.training.batches import Rows, batches
from lettrine.training.changes import Change
from lettrine.training.schedule import learning_rates
from lettrine.training.settings import Settings


class Timetable:
    """settings: with all changes, also those to come. made: how many of them are made. now: the settings with these.

    rates: the learning rate of each step, (S,). batches: the rows of each batch. own: rows that were given instead of drawn ones.
    """

    def __init__(self, settings: Settings, examples: int, own: Rows | None, made: int) -> None:
        self.settings, self.made = settings, made
        self._examples, self._own = examples, own
        self._obey()

    def due(self, step: int) -> Iterator[Change]:
        """Makes each change that is due before this step, and gives it once its settings hold."""
        for change in self.settings.changes[self.made :]:
            if change.step > step:
                return
            self.made += 1
            self._obey()
            yield change

    def until(self, step: int) -> int:
        """The step before which nothing changes and no evaluation is due, counted from this one on."""
        now, waiting = self.now, self.settings.changes[self.made :]
        return min([now.steps, step - step % now.eval_every + now.eval_every, *(change.step for change in waiting[:1])])

    @property
    def given(self) -> bool:
        """Whether the batches were given."""
        return self._own is not None

    def _obey(self) -> None:
        now = self.now = self.settings.after(self.made)
        self.rates = learning_rates(now.schedule, now.peak, now.steps)
        self.batches = self._own or batches(now.draw, now.seed, self._examples, now.batch)
