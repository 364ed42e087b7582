"""Keras 3 on torch: `model.fit(..., callbacks=[HealthCheck()])`.

Keras hides its layers from torch, and its optimisers are not torch's. So a view of the model names every layer as Keras does, and
a stand-in shows each step. Losses are those of each batch, not Keras's running mean; the held-out loss is "val_loss".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras

from lettrine.errors import HealthError
from lettrine.health.findings import Report
from lettrine.integrations.keras_layers import told_by
from lettrine.integrations.watching import Watching
from lettrine.torch.foreign import ForeignModel, stand_in
from lettrine.torch.watching.watch import Watch


class HealthCheck(keras.callbacks.Callback):  # type: ignore[misc]  # Any, where Keras is not installed
    """Watches every `fit`. Takes the arguments of `Watching`; with stop_on="critical" it ends the fit.

    watch: of the present fit, or of the last one. report: of the last fit; it is printed, and saved if a `folder` is given.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__()
        if keras.backend.backend() != "torch":
            raise HealthError(f"HealthCheck got Keras on {keras.backend.backend()}; expected torch: set KERAS_BACKEND=torch")
        self._watching = Watching(**options)
        self._leave: Callable[[], None] = lambda: None

    @property
    def watch(self) -> Watch | None:
        return self._watching.watch

    @property
    def report(self) -> Report | None:
        return self._watching.report

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        self._leave()
        optimiser, scale_loss = self.model.optimizer, self.model.optimizer.scale_loss
        values = [variable.value for variable in self.model.trainable_variables]
        momentum = getattr(optimiser, "momentum", getattr(optimiser, "beta_1", float("nan")))
        standing, leave = stand_in(optimiser, "apply", values, lambda: float(optimiser.learning_rate), momentum)
        self._watching.begin(_view(self.model), standing, {"step": int(optimiser.iterations)})

        def scaled(loss: Any) -> Any:
            if self.watch is not None:
                self.watch.loss(loss)
            return scale_loss(loss)

        def left() -> None:
            leave()
            vars(optimiser).pop("scale_loss", None)

        optimiser.scale_loss, self._leave = scaled, left

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        self.model.stop_training = self.model.stop_training or self._watching.should_stop

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        if self.watch is not None and logs and "val_loss" in logs:
            self.watch.dev_loss(float(logs["val_loss"]))

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        self._leave()
        self._watching.end()


def _view(model: Any) -> ForeignModel:
    """The model, with the Keras names of layers and weights, such as "encoder/dense_1" and "encoder/dense_1.kernel"."""
    inner, weights, told = {}, {}, {}
    for layer in model._flatten_layers():  # noqa: SLF001  `layers` has the outermost only
        if type(layer) is keras.layers.InputLayer or (isinstance(layer, keras.Model) and not layer.path):
            continue  # the latter is inside a Sequential
        name = (layer.path or layer.name).removeprefix(f"{model.name}/").replace(".", "_")
        if layer is not model:
            inner[name], told[layer] = layer, told_by(layer)
        for variable in layer._trainable_variables + layer._non_trainable_variables:  # noqa: SLF001  those of its own
            weights[f"{name}.{variable.name}"] = variable.value
    return ForeignModel(model, inner, weights, told)
