"""What builders of healthy models share: the register of their names, and the usual optimisers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

F = nn.functional
Made = tuple[nn.Module, Any, Any, torch.optim.Optimizer] | tuple[nn.Module, Any, Any, torch.optim.Optimizer, Callable[..., None]]
MODELS: dict[str, tuple[str, Callable[[], Made]]] = {}


def model(name: str, library: str = "torch") -> Callable[[Callable[[], Made]], Callable[[], Made]]:
    def register(build: Callable[[], Made]) -> Callable[[], Made]:
        MODELS[name] = (library, build)
        return build

    return register


def adamw(net: nn.Module, lr: float = 1e-3) -> torch.optim.Optimizer:
    return torch.optim.AdamW(net.parameters(), lr=lr)


def sgd(net: nn.Module, lr: float = 0.02) -> torch.optim.Optimizer:
    return torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9, weight_decay=1e-4)


def next_token(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(logits.flatten(0, 1), target.flatten())
