"""The losses that the user hands over: which step each belongs to, and what follows from it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Final

from torch import Tensor

from lettrine.torch.watching.probes import Probes
from lettrine.torch.watching.steps import Steps

STEPLESS: Final = 100  # after so many losses without a step the user is told that no step is seen


class HandedLosses:
    """Finds the step of each loss: the present one, or the one before if the optimiser has stepped already.

    inform: called with the number of a sampled step when it is complete. alarm: called at the first loss that is not finite, so
    that the checks run at once.

    stepless: losses handed over before the first step.
    """

    def __init__(self, probes: Probes, steps: Steps, inform: Callable[[int], None], alarm: Callable[[], None]) -> None:
        self._probes, self._steps, self._inform, self._alarm = probes, steps, inform, alarm
        self.stepless = 0
        self._alarmed = False

    def take(self, loss: Any) -> None:
        """Take a loss that has to be more than noted."""
        if isinstance(loss, Tensor) and loss.is_meta:
            return  # it has no value: Keras hands over such losses while it builds its graph
        if self._probes.visible.step_compiled:
            self._probes.losses.add(self._steps.counter.step, loss)
            self._steps.end_own()
            return
        if self._steps.counter.step == self._steps.first:
            self._count_stepless()
        if self._probes.optimisers and self._probes.visible.see_loss():
            self._steps.end_compiled(loss)
        else:
            self._take_of_step(loss)

    def _take_of_step(self, loss: Any) -> None:
        steps, losses = self._steps, self._probes.losses
        steps.in_place.stop()
        steps.gather()
        losses.note(steps.counter.losses())
        step = self._step_of_loss()
        if steps.last.is_before(step):
            steps.take_loss()
            self._inform(steps.counter.step)
        if (steps.now.listened and not steps.counter.late) or steps.last.awaiting:
            losses.look(loss)
        self._probes.looker.handed(step, loss)
        finite = losses.add(step, loss)
        if not finite and not steps.now.listened and not self._alarmed:
            self._alarmed = True
            self._alarm()
            steps.sample_at_once()

    def _step_of_loss(self) -> int:
        """The step of the loss. Later losses are taken to come in the same order, until a step is sampled again."""
        counter = self._steps.counter
        if self._steps.now.called:
            counter.late = 0  # the model was called after the last step: this loss belongs to the next step
        elif self._steps.now.listened:  # the calls of a compiled model are not seen: then as at the first step
            counter.late = 0 if self._uncalled and self.stepless else 1
        return max(0, counter.step - counter.late)

    @property
    def _uncalled(self) -> bool:
        """Whether no call of the model can be seen: it is compiled, or works by other functions than forward."""
        return self._probes.visible.model_compiled or not self._probes.modules.calls

    def _count_stepless(self) -> None:
        """Say it early if losses come but no step."""
        self.stepless += 1
        if self.stepless == STEPLESS:
            how = "optimizer that was given" if self._probes.optimisers else "optimizer"
            advice = "give watch the optimizer that steps, not one that the loop makes anew, or call watch.step() after each step"
            warnings.warn(f"lettrine saw {STEPLESS} losses and no step of an {how}: {advice}", RuntimeWarning, stacklevel=7)
