"""The rules of UMLAUT (Schoop, Huang and Hartmann, CHI 2021), in our own few lines, for comparison.

UMLAUT looks at a run with a handful of rules: is the input within -1..1, is there a non-linearity, does a softmax stand
where the loss wants probabilities (or twice), is the learning rate between 1e-7 and 0.01, is the loss a number, does the
held-out loss rise while the training loss falls.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite
from types import TracebackType
from typing import Any, Final, Self

import torch
from benchmarks.wild.found import Found
from torch import Tensor, nn
from torch.optim import Optimizer

RATES: Final = (1e-7, 1e-2)
SOFTMAXES: Final = ("SoftmaxBackward0", "SigmoidBackward0")
LOGIT_LOSSES: Final = ("LogSoftmaxBackward0", "BinaryCrossEntropyWithLogitsBackward0")
LINEAR: Final = (nn.Linear, nn.Conv1d, nn.Conv2d)


class Umlaut:
    """Watches a run as UMLAUT's callback does: the input, the loss, the held-out loss and the settings."""

    def __init__(self, model: nn.Module, optimizer: Optimizer | Iterable[Optimizer]) -> None:
        self.optimisers = [optimizer] if isinstance(optimizer, Optimizer) else list(optimizer)
        self.model = model
        self.reach = 0.0  # largest |input|
        self.losses: list[float] = []
        self.dev: list[tuple[float, float]] = []  # held-out loss, training loss at that time
        self.curved = False  # whether the loss has a non-linearity before it
        self.twice = False
        self.handle: Any = None
        self.rates = [group["lr"] for optimiser in self.optimisers for group in optimiser.param_groups]  # before any schedule

    def __enter__(self) -> Self:
        self.handle = self.model.register_forward_pre_hook(self._input)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.handle.remove()

    def _input(self, _: nn.Module, inputs: tuple[Any, ...]) -> None:
        for each in inputs:
            if isinstance(each, Tensor) and each.is_floating_point() and each.numel():
                self.reach = max(self.reach, float(each.detach().abs().max()))

    def loss(self, loss: Any) -> None:
        if isinstance(loss, Tensor) and loss.grad_fn is not None and not self.losses:
            names = _path(loss)
            bends = any(part in name.lower() for name in names for part in ("elu", "silu", "tanh", "sigmoid"))
            known = (nn.ReLU, nn.SiLU, nn.GELU, nn.Tanh, nn.Sigmoid, nn.LeakyReLU, nn.PReLU, nn.SELU)
            self.curved = bends or any(isinstance(module, known) for module in self.model.modules())
            self.twice = _double(names)
        self.losses.append(float(loss.detach() if isinstance(loss, Tensor) else loss))

    def dev_loss(self, loss: Any) -> None:
        recent = self.losses[-20:]
        self.dev.append((float(loss), sum(recent) / max(1, len(recent))))

    def findings(self) -> list[Found]:
        """What the rules say at the end, errors first."""
        found = []
        if any(not isfinite(loss) for loss in self.losses):
            found.append(Found("non-finite", "critical", message="the loss is not a number"))
        if self.reach > 1:
            found.append(Found("input-scale", "critical", message=f"inputs reach {self.reach:.3g}; they should lie in -1..1"))
        if self.twice:
            found.append(Found("probabilities-as-logits", "critical", message="softmax before a loss that applies its own"))
        layers = sum(isinstance(module, LINEAR) for module in self.model.modules())
        if layers > 1 and self.losses and not self.curved:
            found.append(Found("no-activation", "critical", message="layers follow each other without a non-linearity"))
        if max(self.rates) > RATES[1]:
            found.append(Found("learning-rate-too-high", "warning", message=f"the learning rate {max(self.rates):.3g} is high"))
        if min(self.rates) < RATES[0]:
            found.append(Found("learning-rate-too-low", "warning", message=f"the learning rate {min(self.rates):.3g} is low"))
        held, training = zip(*self.dev, strict=True) if self.dev else ((), ())
        if len(held) >= 4 and held[-1] > held[-2] > held[-3] > min(held) and training[-1] < training[-3]:
            found.append(Found("overfitting", "warning", message="the held-out loss rises while the training loss falls"))
        return found


def _path(loss: Tensor, depth: int = 400) -> list[str]:
    """Names of the operations before the loss, nearest first."""
    seen, queue = [], [loss.grad_fn]
    known = set()
    while queue and len(seen) < depth:
        node = queue.pop(0)
        if node is None or node in known:
            continue
        known.add(node)
        seen.append(node.name())
        queue += [each for each, _ in node.next_functions]
    return seen


def _double(names: list[str]) -> bool:
    """Whether probabilities go straight into a loss that makes its own."""
    for place, name in enumerate(names[:6]):
        if name in LOGIT_LOSSES:
            return any(each in SOFTMAXES for each in names[place + 1 : place + 3])
    return False


torch.set_num_threads(1)
