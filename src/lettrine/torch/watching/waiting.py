"""The last sampled step. It is recorded when all its losses are known, which may be after the step."""

from __future__ import annotations

from typing import Any

from lettrine.health.recorder import Recorder
from lettrine.torch.capture.losses import LossProbe


class LastSampled:
    """Holds the last sampled step.

    awaiting: whether losses of it may still come. recorded: number of the step that was recorded last, -1 if none was.
    """

    def __init__(self, recorder: Recorder, losses: LossProbe) -> None:
        self._recorder, self._losses = recorder, losses
        self._step = -1
        self._figures: dict[str, Any] | None = None
        self._in_place = False
        self.awaiting = False
        self.recorded = -1

    def hold(self, step: int, figures: dict[str, Any], *, in_place: bool) -> None:
        """A sampled step is over. figures: as in `Recorder.take`. If the step was measured in place, they are without those of
        modules and parameters: these are recorded together with those of other steps.
        """
        self._step, self._figures, self._in_place, self.awaiting = step, figures, in_place, True

    def is_before(self, step: int) -> bool:
        """Whether a loss of `step` shows that all losses of the waiting step are known."""
        return self.awaiting and step > self._step

    def take_loss(self) -> None:
        """All its losses are known, and the probe of losses has them."""
        self.awaiting = False
        if self._figures is not None and (loss := self._losses.at(self._step)) is not None:
            self._figures["loss"] = loss

    def record(self) -> None:
        """Record it; nothing waits then."""
        if self._figures is not None:
            self.recorded = self._step
            if not self._in_place:
                self._recorder.take(self._step, **self._figures)
            self._figures = None
