"""Lightning: `Trainer(callbacks=[HealthCheck()])`.

Losses are those that `training_step` returns or `manual_backward` gets, before Lightning divides them by the number of
accumulated batches and a GradScaler scales them. The held-out loss is the first logged metric with a name such as "val_loss", or
else the result of `validation_step`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from lettrine.health.findings import Report
from lettrine.integrations.held_out import held_out_loss
from lettrine.integrations.watching import Watching
from lettrine.torch.watching.watch import Watch


class HealthCheck(Callback):  # type: ignore[misc]  # Any, where Lightning is not installed
    """Watches every `fit`. Takes the arguments of `Watching`; with stop_on="critical" it sets `trainer.should_stop`.

    watch: of the present fit, or of the last one. report: of the last fit; it is printed and saved in `trainer.log_dir`.
    """

    # Lightning passes by a hook that is None; four that only inherit cost 34 microseconds in each batch.
    on_train_batch_start = on_before_zero_grad = on_after_backward = on_before_optimizer_step = None

    def __init__(self, **options: Any) -> None:
        self._watching = Watching(**options)
        self._state: dict[str, Any] = {}  # from the checkpoint that is resumed
        self._backward = False  # a loss of this batch was seen
        self._returned: list[tuple[float, int]] = []  # losses that validation_step returned, with the sizes of their batches

    @property
    def watch(self) -> Watch | None:
        return self._watching.watch

    @property
    def report(self) -> Report | None:
        return self._watching.report

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        state, self._state = self._state or {"step": trainer.global_step}, {}
        self._watching.begin(pl_module, trainer.optimizers, state, scaler=getattr(trainer.precision_plugin, "scaler", None))

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Any) -> None:
        self._backward = True
        times = trainer.accumulate_grad_batches if pl_module.automatic_optimization else 1
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        factor = times / scaler.get_scale() if scaler is not None and scaler.is_enabled() else times
        if self.watch is not None:
            self.watch.loss(loss if factor == 1 else loss * factor)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        unseen = not self._backward and not pl_module.automatic_optimization  # manual optimisation without manual_backward
        if unseen and self.watch is not None and (loss := _loss_in(outputs)) is not None:
            self.watch.loss(loss)
        self._backward = False
        trainer.should_stop = trainer.should_stop or self._watching.should_stop

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any) -> None:
        if (loss := _loss_in(outputs)) is not None:
            self._returned.append((float(loss), len(batch[0]) if isinstance(batch, list | tuple) else 1))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        returned, self._returned = self._returned, []
        if trainer.sanity_checking or self.watch is None:
            return
        _, loss = held_out_loss(trainer.callback_metrics)
        if loss is None and returned:
            loss = sum(each * size for each, size in returned) / max(sum(size for _, size in returned), 1)
        if loss is not None:
            self.watch.dev_loss(loss)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._end(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._end(trainer)

    def _end(self, trainer: Trainer) -> None:
        self._watching.end(Path(trainer.log_dir or trainer.default_root_dir), told=trainer.is_global_zero)

    def state_dict(self) -> dict[str, Any]:
        return {} if self.watch is None else self.watch.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._state = state_dict


def _loss_in(outputs: Any) -> Any:
    """The loss that a step returned; None if it returned none."""
    found = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
    return found if getattr(found, "shape", None) == () else None
