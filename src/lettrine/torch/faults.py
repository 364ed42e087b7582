"""Faults that users make in a training loop, planted in a loop that trains the torch twin of the language model."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from lettrine.errors import HealthError
from lettrine.health.findings import Report
from lettrine.model.config import MLPConfig
from lettrine.model.parameters import Parameters
from lettrine.torch.model import CharMLP
from lettrine.torch.watch import watch

FAULTS: Final = ("missing-zero-grad", "softmax-twice", "eval-mode", "forgotten-layer")


def train_with_fault(
    config: MLPConfig,
    parameters: Parameters,
    contexts: NDArray[np.integer[Any]],
    targets: NDArray[np.integer[Any]],
    rows: NDArray[np.int64],
    learning_rate: float,
    fault: str = "",
) -> Report:
    """Train by plain SGD under the watch, with a fault of FAULTS ("" for none), and return what the watch found.

    contexts (N, T), targets (N,): the examples. rows (S, B): the batch of each step. It stops when the loss is not finite.
    Raises HealthError for an unknown fault.
    """
    if fault and fault not in FAULTS:
        raise HealthError(f"fault got {fault!r}; expected one of {', '.join(FAULTS)}")
    twin = CharMLP(config, parameters)
    model = nn.Sequential(twin, nn.Softmax(dim=1)) if fault == "softmax-twice" else twin
    trained = [p for name, p in twin.named_parameters() if fault != "forgotten-layer" or not name.startswith("output.")]
    optimizer = torch.optim.SGD(trained, lr=learning_rate)
    model.train(fault != "eval-mode")
    x, y = torch.from_numpy(contexts).long(), torch.from_numpy(targets).long()
    with torch.random.fork_rng(devices=[]), watch(model, optimizer) as watching:
        for batch in torch.from_numpy(rows):
            loss = functional.cross_entropy(model(x[batch]), y[batch])
            watching.loss(loss)
            if not bool(torch.isfinite(loss)):
                break
            if fault != "missing-zero-grad":
                optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return watching.report()
