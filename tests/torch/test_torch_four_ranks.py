"""Training on four processes over gloo: one report of all four, also of parameters that are split between them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel
from two_ranks import Both, two_ranks

from lettrine import health
from lettrine.health.trace import Trace

RANKS, STEPS = 4, 12


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    with two_ranks(tmp_path_factory.mktemp("four"), RANKS) as calling:
        yield calling


def net() -> nn.Sequential:
    torch.manual_seed(4)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))


def data(step: int) -> tuple[Tensor, Tensor]:
    """Of all ranks together."""
    x = torch.randn(8 * RANKS, 6, generator=torch.Generator().manual_seed(step))
    return x, x[:, :3].argmax(dim=1)


def train(model: Any, rank: int, ranks: int) -> health.Watch:
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, foreach=False)
    with health.watch(model, optimiser, every=1) as watch:
        for step in range(STEPS):
            x, y = (each[rank::ranks] for each in data(step))
            loss = functional.cross_entropy(model(x), y)
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
            watch.loss(loss)
    return watch


def job(rank: int, kind: str) -> dict[str, Any]:
    """One training."""
    inner = net()
    if kind == "tensor":  # each rank holds four of the sixteen units, and sees all examples
        mesh = init_device_mesh("cpu", (RANKS,))
        watch = train(parallelize_module(inner, mesh, {"0": ColwiseParallel(), "2": RowwiseParallel()}), 0, 1)
    else:
        watch = train(fully_shard(inner) if kind == "sharded" else DistributedDataParallel(inner), rank, RANKS)
    report = watch.report()
    trace = report.trace
    return {
        "errors": trace.facts.errors,
        "ranks": len(trace.ranks),
        "findings": [each.id for each in report.findings if each.severity != "info"],
        "norm": trace.parameter("0.weight", "gradient_norm"),
        "std": trace.parameter("0.weight", "std"),
        "update": trace.parameter("0.weight", "update_data"),
        "losses": [each.loss.mean for each in trace.ranks],
        "held": getattr(inner[0].weight, "to_local", lambda: inner[0].weight)().numel(),
    }


def steps_alone(_: int) -> Trace:
    """All ranks do the same, each by itself: the watches of the ranks must begin in the same order."""
    return train(net(), 0, 1).trace()


@pytest.mark.parametrize("kind", ["whole", "sharded", "tensor"])
def test_four_processes_give_one_report_of_the_whole(four: Both, kind: str) -> None:
    found = four(job, kind)
    assert [each["ranks"] for each in found] == [RANKS, 0, 0, 0]
    assert found[0]["findings"] == []
    assert [each["errors"] for each in found] == [()] * RANKS
    assert [each["held"] for each in found] == [96 if kind == "whole" else 96 // RANKS] * RANKS
    alone = four(steps_alone)[0]  # the same steps on one process
    for name, stat, near in (("norm", "gradient_norm", 1e-4), ("std", "std", 1e-4), ("update", "update_data", 1e-2)):
        np.testing.assert_allclose(found[0][name], alone.parameter("0.weight", stat), rtol=near)
    np.testing.assert_allclose(np.mean(found[0]["losses"], axis=0), alone.loss.mean, rtol=1e-5)
