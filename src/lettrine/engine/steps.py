"""One step, in numpy: batch norm's running statistics, and the update of each optimiser."""

from __future__ import annotations

import numpy as np

from lettrine.engine.base import Optimiser, TrainState
from lettrine.engine.passes import Pass
from lettrine.model.config import MLPConfig
from lettrine.model.parameters import Array, Parameters


def update_running(config: MLPConfig, parameters: Parameters, seen: Pass, batch: int) -> None:
    """Running = (1 - momentum) * running + momentum * batch, with the unbiased variance, as torch does."""
    for name, (mean, variance) in seen.statistics.items():
        unbiased = variance * (batch / max(batch - 1, 1))
        for kind, value in (("running_mean", mean), ("running_var", unbiased)):
            running = parameters[f"{name}.{kind}"]
            running += config.norm_momentum * (value - running)


def optimiser_step(optimiser: Optimiser, state: TrainState, gradients: Parameters, learning_rate: float) -> None:
    """Take one step, in place, along these gradients of the mean loss."""
    state.step += 1
    for name, raw in gradients.items():
        parameter, decay, l2 = state.parameters[name], optimiser.decay_of(name), optimiser.l2_of(name)
        gradient = raw + 2.0 * l2 * parameter if l2 else raw
        if optimiser.kind == "adamw":
            _adamw(optimiser, state, name, gradient, learning_rate, decay)
        else:
            _sgd(optimiser, state, name, gradient + decay * parameter if decay else gradient, learning_rate)


def _sgd(optimiser: Optimiser, state: TrainState, name: str, gradient: Array, learning_rate: float) -> None:
    if optimiser.momentum:
        velocity = state.moments[f"momentum.{name}"]
        velocity *= optimiser.momentum
        velocity += gradient
        gradient = velocity
    state.parameters[name] -= learning_rate * gradient


def _adamw(optimiser: Optimiser, state: TrainState, name: str, gradient: Array, learning_rate: float, decay: float) -> None:
    """Loshchilov & Hutter 2019, with the bias corrections of Kingma & Ba 2015."""
    parameter, m, v = state.parameters[name], state.moments[f"exp_avg.{name}"], state.moments[f"exp_avg_sq.{name}"]
    if decay:
        parameter *= 1.0 - learning_rate * decay
    m += (1.0 - optimiser.beta1) * (gradient - m)
    v *= optimiser.beta2
    v += (1.0 - optimiser.beta2) * gradient * gradient
    correction1 = 1.0 - optimiser.beta1**state.step
    correction2 = 1.0 - optimiser.beta2**state.step
    parameter -= (learning_rate / correction1) * m / (np.sqrt(v) / correction2**0.5 + optimiser.eps)
