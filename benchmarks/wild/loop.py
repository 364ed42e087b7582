"""The plain training loop of small programs, from the eighth look on."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from benchmarks.wild import data
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn

LossFn = Callable[[Tensor, Tensor], Tensor]


def fit(
    doctor: Doctor,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss_fn: LossFn,
    batches: Iterable[tuple[Tensor, Tensor]],
    held: data.Split | None = None,
    every: int = 60,
) -> None:
    """One step for each batch, in train mode; the held-out loss now and then, in eval mode; ends in eval mode."""
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(batches):
            model.train()
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if held is not None and step % every == every - 1:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(loss_fn(model(held.held_x), held.held_y))
    model.eval()
