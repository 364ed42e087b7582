"""Another optimiser than the one the watch was given moves the same parameters: made anew for each epoch, or for each step.

A hook sees the steps of all optimisers of the process, for a few tens of nanoseconds each. One that steps LONE times while
the known one does not step at all takes its place, and is watched from then on.

Evidence "successors": figures: steps (that the others made), count (of other optimisers), taken (how many of them took
the place). words: kind; keeps ("a state" where it is known to keep one, else "").
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, Final

from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.compiled import untraced
from lettrine.torch.fast.counting import StepCounter

LONE: Final = 3  # steps: an optimiser that calls another one inside its own step never lets it step so often alone


class Successors:
    """Sees the steps of optimisers other than the one of a watch. known: a list of that one alone; with more of them, or none,
    nothing is seen. take: called with one that takes its place, after it has stepped.
    """

    def __init__(self, known: list[Optimizer], counter: StepCounter, take: Callable[[Optimizer], None]) -> None:
        self.known, self._counter, self._take = known, counter, take
        self._handle: Any = None
        self._met: weakref.WeakKeyDictionary[Optimizer, bool] = weakref.WeakKeyDictionary()
        self._at = self._lone = self._steps = self._count = self._taken = 0
        self._kind = self._keeps = ""

    def listen(self) -> None:
        """Begin to see steps."""
        if len(self.known) == 1 and self._handle is None:
            self._handle = register_optimizer_step_post_hook(_hook(self))
            weakref.finalize(self, self._handle.remove)

    def close(self) -> None:
        """See no more."""
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    def stepped(self, optimiser: Optimizer) -> None:
        """Another one than the known one has stepped."""
        if (alike := self._met.get(optimiser)) is None:
            alike = self._met[optimiser] = self._alike(optimiser)
            self._count += alike
        if not alike:
            return
        self._lone = self._lone + 1 if self._counter.step == self._at else 1
        self._at, self._steps = self._counter.step, self._steps + 1
        self._kind = type(optimiser).__name__
        self._keeps = "a state" if _keeps_state(optimiser) else ""
        if self._lone >= LONE:
            self._lone, self._taken = 0, self._taken + 1
            self._take(optimiser)

    def _alike(self, optimiser: Optimizer) -> bool:
        """Whether it holds at least half of the parameters of the known one."""
        own, others = ({id(each) for group in one.param_groups for each in group["params"]} for one in (self.known[0], optimiser))
        return 2 * len(own & others) >= len(own) > 0

    @property
    def fleeting(self) -> bool:
        """Whether each that took the place was gone before it could be watched."""
        return self._taken > 1

    def evidence(self) -> Evidence | None:
        """What was seen of them, if anything."""
        if not self._count:
            return None
        figures = {"steps": self._steps, "count": self._count, "taken": self._taken}
        told = {name: float(value) for name, value in figures.items()}
        return Evidence("successors", (), (0, self._counter.step), told, {"kind": self._kind, "keeps": self._keeps})


def _hook(successors: Successors) -> Callable[..., None]:
    """A hook that keeps no watch alive, since torch keeps it until it is removed."""
    reference = weakref.ref(successors)
    other = untraced(lambda successors, optimiser: successors.stepped(optimiser))

    def hook(optimiser: Optimizer, *_: Any) -> None:
        alive = reference()
        if alive is not None and optimiser is not alive.known[0]:
            other(alive, optimiser)

    return hook


def _keeps_state(optimiser: Optimizer) -> bool:
    group = optimiser.param_groups[0]
    return bool("betas" in group or "alpha" in group or group.get("momentum"))
