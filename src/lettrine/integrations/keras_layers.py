"""What layers of Keras are, by their own attributes: torch knows neither their types nor the axis of their units."""

from __future__ import annotations

from typing import Any, Final

import keras

from lettrine.torch.capture.elementwise import activation_by_function
from lettrine.torch.capture.told import Running, Told

_LAST: Final = "channels_last"
_ACTIVATIONS: Final = (keras.layers.Activation, keras.layers.ReLU, keras.layers.LeakyReLU, keras.layers.ELU)


def told_by(layer: Any) -> Told:
    """What a layer tells of itself."""
    form = getattr(layer, "data_format", None) or keras.config.image_data_format()
    axis = -1 if form == _LAST or hasattr(layer, "units") else None
    activation = getattr(layer, "activation", None)
    if isinstance(layer, keras.layers.BatchNormalization):
        return Told("norm", axis=layer.axis if layer.axis in (-1, 1) else axis, running=_running(layer))
    if "Normalization" in type(layer).__name__:
        return Told("norm", axis=axis)
    if isinstance(layer, keras.layers.Embedding):
        return Told("embedding", axis=-1)
    if isinstance(layer, _ACTIVATIONS):
        return Told("activation", _key(layer.call), axis)
    if hasattr(layer, "kernel"):
        return Told("linear", _key(activation), axis if axis is not None or form == _LAST else 1)
    return Told(axis=axis)


def _key(activation: Any) -> str:
    """Its name in the table of activations; "" for none."""
    return "" if activation in (None, keras.activations.linear) else activation_by_function(activation)


def _running(layer: Any) -> Running | None:
    """The running statistics of a batch norm, if its channels lie on an axis that is read; with renorm it goes by others."""
    if layer.axis not in (-1, 1) or getattr(layer, "renorm", False):
        return None
    mean, var = lambda: layer.moving_mean.value, lambda: layer.moving_variance.value
    return Running(mean, var, float(layer.epsilon), layer.axis, 1.0 - layer.momentum)
