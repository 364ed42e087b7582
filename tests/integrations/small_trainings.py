"""What the tests of all frameworks train, and what they ask of it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from lettrine.health.findings import Report

SIZE = 32  # of a batch


def examples(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Twelve numbers, of whose first four the largest is asked for."""
    x = torch.randn(count, 12, generator=torch.Generator().manual_seed(seed))
    return x, x[:, :4].argmax(1)


def network(*, norm: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 24), *([nn.BatchNorm1d(24)] if norm else []), nn.ReLU(), nn.Linear(24, 4))


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    """Bit for bit."""
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def hooks_on(model: nn.Module, *optimisers: torch.optim.Optimizer) -> int:
    modules = sum(len(each._forward_hooks) + len(each._forward_pre_hooks) for each in model.modules())
    return modules + sum(len(each._optimizer_step_pre_hooks) + len(each._optimizer_step_post_hooks) for each in optimisers)


def assert_watched(report: Report, losses: list[float], steps: int, *, per_step: int = 1) -> None:
    """Nothing broke, the steps were counted, and the losses are those of the steps, each the mean of `per_step`."""
    trace = report.trace
    assert trace.facts.errors == ()
    assert not [each for each in report.outcomes if each.status == "failed"]
    assert len(trace.loss.mean) == steps
    expected = [np.mean(losses[place : place + per_step]) for place in range(0, len(losses), per_step)]
    np.testing.assert_allclose(trace.loss.mean, expected, rtol=1e-5)
