"""DistributedDataParallel on two processes over gloo: watched on both, weights bit-equal to the unwatched run."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import distributed, multiprocessing, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from lettrine import health

X, Y = torch.linspace(-2.0, 2.0, 16 * 3).reshape(16, 3), torch.arange(16) % 2


def net() -> nn.Module:
    torch.manual_seed(4)
    return nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2))


def work(rank: int, port: int, folder: str) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", rank=rank, world_size=2)
    try:
        ends = {}
        for watched in (True, False):
            model = DistributedDataParallel(net())
            optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
            watch = health.watch(model, optimiser, every=1)
            if watched:
                watch.start()
            for _ in range(4):
                loss = functional.cross_entropy(model(X[rank::2]), Y[rank::2])
                loss.backward()
                optimiser.step()
                optimiser.zero_grad()
                if watched:
                    watch.loss(loss)
            watch.close()
            ends[watched] = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}
            if watched:
                trace = watch.trace()
                assert trace.facts.errors == (), trace.facts.errors
                assert [info.name for info in trace.modules] == ["0", "1", "2", "3"]
                np.savez(
                    Path(folder) / f"{rank}.npz",
                    norm=trace.step_stats["gradient_norm"],
                    clipped=trace.step_stats["clipped"],
                    leftover=trace.step_stats["leftover_gradient"],
                    update=trace.parameter("0.weight", "update_data"),
                    output=trace.output("3", "mean"),
                )
        assert all(torch.equal(ends[True][name], ends[False][name]) for name in ends[True])
    finally:
        distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(work, (port, str(tmp_path)), nprocs=2)
    first, second = np.load(tmp_path / "0.npz"), np.load(tmp_path / "1.npz")
    # What was averaged over the processes is the same on both; what each saw of its own half is not.
    for name in ("norm", "update", "leftover"):
        np.testing.assert_array_equal(first[name], second[name])
    assert np.isfinite(first["update"]).all()
    assert first["leftover"][:3].tolist() == [0] * 3  # steps with details
    assert np.isnan(first["clipped"]).all(), "averaging shrinks gradients too"
    assert not np.array_equal(first["output"], second["output"])
