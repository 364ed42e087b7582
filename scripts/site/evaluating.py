"""Small programs that judge their network wrongly: each is sick, and healthy where `cured`."""

from __future__ import annotations

import copy

import torch
from benchmarks.wild import data
from benchmarks.wild.doctor import Doctor
from torch import nn
from torch.nn import functional as F  # noqa: N812  as everybody calls it


def copy_from_before_the_training(doctor: Doctor, seed: int, cured: bool) -> None:
    """A copy of the network for evaluation is made once, before the training; where cured it gets the weights each time."""
    rows = data.digits(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    judged = copy.deepcopy(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 32, 300, seed)):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 50 == 49:
                if cured:
                    judged.load_state_dict(model.state_dict())
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(judged(rows.held_x), rows.held_y))
