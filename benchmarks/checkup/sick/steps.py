"""Training steps of the user's own: clipping, scaling and clearing at the wrong place."""

from __future__ import annotations

from typing import Any

import torch
from benchmarks.checkup.data import table as rows_of
from benchmarks.checkup.making import F, Made
from benchmarks.checkup.sick.case import case
from torch import nn


def small() -> nn.Module:
    return nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 4))


@case("gradients clipped before they are unscaled", "clip-before-unscale")
def _(cured: bool) -> Made:
    net = small()
    scaler = torch.amp.GradScaler("cpu")

    def step(model: nn.Module, batch: Any, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = F.cross_entropy(model(batch[0]), batch[1])
        scaler.scale(loss).backward()
        if cured:
            scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 0.25)
        scaler.step(optimizer)
        scaler.update()

    return net, rows_of(), F.cross_entropy, torch.optim.SGD(net.parameters(), lr=0.3), step


@case("a scaled loss and a step that does not unscale", "scaled-gradients")
def _(cured: bool) -> Made:
    net = small()
    scaler = torch.amp.GradScaler("cpu")

    def step(model: nn.Module, batch: Any, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        scaler.scale(F.cross_entropy(model(batch[0]), batch[1])).backward()
        if not cured:
            optimizer.step()
            return
        scaler.step(optimizer)
        scaler.update()

    return net, rows_of(), F.cross_entropy, torch.optim.SGD(net.parameters(), lr=0.3), step


@case("gradients never cleared", "missing-zero-grad")
def _(cured: bool) -> Made:
    net = small()

    def step(model: nn.Module, batch: Any, optimizer: torch.optim.Optimizer) -> None:
        F.cross_entropy(model(batch[0]), batch[1]).backward()
        optimizer.step()
        if cured:
            optimizer.zero_grad()

    return net, rows_of(), F.cross_entropy, torch.optim.SGD(net.parameters(), lr=0.3), step


@case("gradients cleared before the step", "gradients-cleared")
def _(cured: bool) -> Made:
    net = small()

    def step(model: nn.Module, batch: Any, optimizer: torch.optim.Optimizer) -> None:
        if cured:
            optimizer.zero_grad()
        F.cross_entropy(model(batch[0]), batch[1]).backward()
        if not cured:
            optimizer.zero_grad()
        optimizer.step()

    return net, rows_of(), F.cross_entropy, torch.optim.SGD(net.parameters(), lr=0.3), step
