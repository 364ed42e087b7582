"""Small tasks for the experiments of the check-up that no case of benchmarks/checkup shows: sick, and healthy where `cured`."""

from __future__ import annotations

import torch
from benchmarks.checkup.data import table
from benchmarks.checkup.making import F, Made
from torch import Tensor, nn


def one_batch(cured: bool) -> Made:
    """A mask that keeps the wrong half"""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 4))

        def forward(self, x: Tensor) -> Tensor:
            valid = torch.ones(len(x), 1)  # 1 where a row holds something
            return self.body(x * (valid if cured else 1 - valid))

    net = Net()
    return net, table(), F.cross_entropy, torch.optim.AdamW(net.parameters(), lr=3e-3)


def start(cured: bool) -> Made:
    """A last layer that begins far too large"""
    net = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 4))
    with torch.no_grad():
        net[-1].weight.mul_(1 if cured else 60)
    return net, table(), F.cross_entropy, torch.optim.SGD(net.parameters(), lr=0.05)
