"""Parameters of which each of two processes holds a part: the figures of rank 0's report are those of the whole parameters."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.fsdp.wrap import ModuleWrapPolicy
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel
from torch.utils._python_dispatch import TorchDispatchMode
from two_ranks import Both, two_ranks

from lettrine import health
from lettrine.health.trace import PARAMETER_STATS

STEPS = 24


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    with two_ranks(tmp_path_factory.mktemp("ranks")) as calling:
        yield calling


class Collectives(TorchDispatchMode):
    """Counts what the processes send each other."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "c10d" in function.namespace:
            self.counts[str(function)] += 1
        return function(*args, **(kwargs or {}))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(6, 32)
        self.block = nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32))
        self.head = nn.Linear(32, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.embed(x)
        return self.head(x + self.block(x))


def spread(model: nn.Module, how: str) -> nn.Module:
    mesh = init_device_mesh("cpu", (2,))
    if how == "fsdp2":
        fully_shard(model.block, mesh=mesh)
        return fully_shard(model, mesh=mesh)
    if how == "fsdp1":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it is to be given up, torch says
            policy = ModuleWrapPolicy({nn.Sequential})
            return FullyShardedDataParallel(model, auto_wrap_policy=policy, device_id=torch.device("cpu"), use_orig_params=True)
    if how == "tensor":
        return parallelize_module(model, mesh, {"block.1": ColwiseParallel(), "block.3": RowwiseParallel()})
    return DistributedDataParallel(model)


def work(rank: int, how: str, watched: bool = True) -> Any:
    torch.manual_seed(4)
    model = spread(Net(), how)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    chance = torch.Generator().manual_seed(0 if how in ("tensor", "alone") else rank)
    watch = health.watch(model, optimiser)
    if watched:
        watch.start()
    with Collectives() as sent:
        for _ in range(STEPS):
            x = torch.randn(32, 6, generator=chance)
            loss = functional.cross_entropy(model(x), x[:, :3].argmax(dim=1))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            if watched:
                watch.loss(loss)
        watch.close()
    ends = [getattr(each, "to_local", lambda each=each: each)().detach().numpy().copy() for each in model.parameters()]
    return (watch.report() if watched else None), ends, sent.counts


@pytest.mark.parametrize("how", ["fsdp2", "fsdp1", "tensor"])
def test_figures_are_those_of_whole_parameters(both: Both, how: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (report, ends, sent), (other, other_ends, _) = both(work, how)
        (_, plain, sent_plain), (_, other_plain, _) = both(work, how, False)
    assert sent == sent_plain, "watching sends nothing"
    assert sent.total() >= STEPS
    for one, two in ((ends, plain), (other_ends, other_plain)):
        assert all(np.array_equal(*pair) for pair in zip(one, two, strict=True)), "watching changes nothing"
    trace = report.trace
    assert not trace.facts.errors + trace.ranks[1].facts.errors
    assert not [each.message for each in report.findings + other.findings if each.severity != "info"]
    (whole, _, _), _ = both(work, "alone" if how == "tensor" else "ddp")
    whole = whole.trace
    np.testing.assert_array_equal(trace.steps, whole.steps)
    assert {info.name for info in trace.parameters} == {info.name for info in whole.parameters}
    for info in whole.parameters:
        for stat in PARAMETER_STATS:
            found, true = trace.parameter(info.name, stat), whole.parameter(info.name, stat)
            if stat == "update_data":
                if len(info.shape) == 1:  # of a short vector it may be missing, and is not wrong
                    true = np.where(np.isnan(found), np.nan, true)
                np.testing.assert_allclose(found, true, rtol=0.1, err_msg=info.name)
            elif stat != "duplicate":
                np.testing.assert_allclose(found, true, rtol=2e-3, atol=1e-5, err_msg=f"{info.name} {stat}")
    split = {"block.1", "block.2"} if how == "tensor" else set()  # of these a rank has some units only
    for info in [each for each in whole.modules if each.name not in split]:
        np.testing.assert_allclose(trace.output(info.name, "std"), whole.output(info.name, "std"), rtol=1e-3)
    np.testing.assert_allclose(trace.step_stats["gradient_norm"], whole.step_stats["gradient_norm"], rtol=1e-3)


def given(rank: int, seed: int) -> health.Report:
    """HSDP: a mesh of two axes, along one of which the ranks hold copies."""
    torch.manual_seed(4)
    mesh = init_device_mesh("cpu", (2, 1), mesh_dim_names=("replicate", "shard"))
    model: nn.Module = fully_shard(Net(), mesh=mesh)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    chance = torch.Generator().manual_seed(rank * seed)
    with health.watch(model, optimiser) as watch:
        for _ in range(STEPS):
            x = torch.randn(32, 6, generator=chance)
            loss = functional.cross_entropy(model(x), x[:, :3].argmax(dim=1))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    return watch.report()


@pytest.mark.parametrize("seed", [0, 1])
def test_ranks_of_hsdp_are_given_data_of_their_own(both: Both, seed: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report, _ = both(given, seed)
    assert not report.trace.facts.errors
    outcome = next(each for each in report.outcomes if each.check == "same-data")
    assert outcome.status == ("passed" if seed else "found"), outcome
    assert {each.id for each in report.findings if each.severity != "info"} == (set() if seed else {"same-data"})
