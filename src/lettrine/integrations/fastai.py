"""fastai: `Learner(..., cbs=[HealthCheck()])`, with its own optimisers or those of torch. The held-out loss is "valid_loss"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastai.callback.core import Callback as FastaiCallback
from fastai.callback.core import CancelFitException
from fastai.optimizer import OptimWrapper

from lettrine.health.findings import Report
from lettrine.integrations.held_out import held_out_loss
from lettrine.integrations.watching import Watching
from lettrine.torch.foreign import stand_in
from lettrine.torch.watching.watch import Watch


class HealthCheck(FastaiCallback):  # type: ignore[misc]  # Any, where fastai is not installed
    """Watches every `fit`. Takes the arguments of `Watching`; with stop_on="critical" it cancels the fit.

    watch: of the present fit, or of the last one. report: of the last fit; it is printed, and saved if a `folder` is given.
    """

    order = 60  # after the Recorder

    def __init__(self, **options: Any) -> None:
        self._watching = Watching(**options)
        self._leave: Callable[[], None] = lambda: None
        self._training = False  # whether the present fit is watched: to ask fastai in each batch takes longer than the watch

    @property
    def watch(self) -> Watch | None:
        return self._watching.watch

    @property
    def report(self) -> Report | None:
        return self._watching.report

    @property
    def _asked(self) -> bool:
        """Whether this is a training, not a search for a learning rate or a prediction."""
        return not hasattr(self.learn, "lr_finder") and not hasattr(self.learn, "gather_preds")

    def before_fit(self) -> None:
        self._training = self._asked
        if not self._training:
            return
        self._leave()
        optimiser = self.learn.opt
        if isinstance(optimiser, OptimWrapper):
            self._watching.begin(self.learn.model, optimiser.opt)
            return
        hypers = optimiser.hypers[-1]
        momentum = float(hypers.get("mom", float("nan")))
        parameters = list(optimiser.all_params().itemgot(0))
        standing, self._leave = stand_in(optimiser, "step", parameters, lambda: float(optimiser.hypers[-1]["lr"]), momentum)
        self._watching.begin(self.learn.model, standing)

    def before_backward(self) -> None:
        if self._training and self.watch is not None:
            self.watch.loss(self.learn.loss)  # other callbacks divide and scale `loss_grad`, not this

    def after_batch(self) -> None:
        if self._training and self._watching.should_stop and self.learn.training:
            raise CancelFitException

    def after_epoch(self) -> None:
        if self.watch is not None and self._asked and self.learn.recorder.values:
            _, loss = held_out_loss(dict(zip(self.learn.recorder.metric_names[1:], self.learn.recorder.values[-1], strict=False)))
            if loss is not None:
                self.watch.dev_loss(float(loss))

    def after_fit(self) -> None:
        if self._asked:
            self._leave()
            self._watching.end()
