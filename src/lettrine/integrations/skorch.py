"""skorch: `NeuralNet(..., callbacks=[HealthCheck()])`. The held-out loss is "valid_loss"."""

from __future__ import annotations

from typing import Any

from skorch.callbacks import Callback

from lettrine.health.findings import Report
from lettrine.integrations.watching import Watching
from lettrine.torch.watching.watch import Watch


class HealthCheck(Callback):  # type: ignore[misc]  # Any, where skorch is not installed
    """Watches every `fit`. Takes the arguments of `Watching`; with stop_on="critical" it ends the fit as EarlyStopping does.

    watch: of the present fit, or of the last one. report: of the last fit; it is printed, and saved if a `folder` is given.
    """

    def __init__(self, **options: Any) -> None:
        self._watching = Watching(**options)

    @property
    def watch(self) -> Watch | None:
        return self._watching.watch

    @property
    def report(self) -> Report | None:
        return self._watching.report

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **_: Any) -> None:  # noqa: N803  skorch's name
        self._watching.begin(net.module_, net.optimizer_, {"step": sum(len(row["batches"]) for row in _trained(net))})

    def on_batch_end(self, net: Any, batch: Any = None, training: bool = False, loss: Any = None, **_: Any) -> None:
        if training and self.watch is not None and loss is not None:
            self.watch.loss(loss)
            if self._watching.should_stop:
                raise KeyboardInterrupt

    def on_epoch_end(self, net: Any, **_: Any) -> None:
        if self.watch is not None and (loss := net.history[-1].get("valid_loss")) is not None:
            self.watch.dev_loss(loss)

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **_: Any) -> None:  # noqa: N803
        self._watching.end()


def _trained(net: Any) -> list[Any]:
    """The number of epochs of earlier fits, if this fit continues them."""
    return [{"batches": [each for each in row["batches"] if "train_loss" in each]} for row in net.history]
