"""Small programs that train on two processes: each is sick, and healthy where `cured`."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from benchmarks.wild import data
from torch import Tensor, distributed, nn
from torch.nn import functional as F  # noqa: N812  as everybody calls it
from torch.nn.parallel import DistributedDataParallel

from lettrine import health
from lettrine.health import Report

Batches = Iterable[tuple[Tensor, Tensor]]


def digits(seed: int, steps: int = 200) -> Batches:
    """Batches of 32 flat pictures of digits, mean 0 and standard deviation 1."""
    rows = data.digits(seed)
    x = rows.x.flatten(1)
    return data.batches((x - x.mean()) / x.std(), rows.y, 32, steps, seed)


def mlp() -> nn.Sequential:
    """The same on every rank."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def on_two_ranks(train: Callable[[int], Report]) -> Report:
    """Call it in two processes, this one being rank 0, and return the report of rank 0."""

    def join(rank: int, store: Path) -> None:
        distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)

    def second(store: Path) -> None:
        torch.set_num_threads(1)
        join(1, store)
        train(1)

    with tempfile.TemporaryDirectory() as folder:
        other = multiprocessing.get_context("fork").Process(target=second, args=(Path(folder) / "store",))
        other.start()
        join(0, Path(folder) / "store")
        try:
            return train(0)
        finally:
            other.join()
            distributed.destroy_process_group()


def converted_after_it_was_wrapped(cured: bool) -> Report:
    """A model that is moved or converted after DistributedDataParallel wrapped it gets new parameters, without the wrapper's
    hooks.
    """

    def train(rank: int) -> Report:
        model = DistributedDataParallel(mlp())
        if not cured:
            model.double().float()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        with health.watch(model, optimizer) as watch:
            for x, y in digits(rank):
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
                watch.loss(loss)
        return watch.report()

    return on_two_ranks(train)


def rate_of_each_rank(cured: bool) -> Report:
    """Each process reads its own file of settings, and one of them has another learning rate."""

    def train(rank: int) -> Report:
        model = DistributedDataParallel(mlp())
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3 if cured or rank == 0 else 2e-3)
        with health.watch(model, optimizer) as watch:
            for x, y in digits(rank):
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
                watch.loss(loss)
        return watch.report()

    return on_two_ranks(train)


def loader_without_distributed_sampler(cured: bool) -> Report:
    """Every process shuffles the data by the same seed, and nothing deals them out."""

    def train(rank: int) -> Report:
        model = DistributedDataParallel(mlp())
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        with health.watch(model, optimizer) as watch:
            for x, y in digits(rank if cured else 0):
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
                watch.loss(loss)
        return watch.report()

    return on_two_ranks(train)


def rank_0_left_in_eval_mode(cured: bool) -> Report:
    """Rank 0 alone evaluates before the first step, and stays in eval mode: dropout works on the other ranks only."""

    def train(rank: int) -> Report:
        inner = mlp().insert(2, nn.Dropout(0.2))
        model = DistributedDataParallel(inner)
        if rank == 0:
            inner.eval()
        if cured:
            inner.train()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        with health.watch(model, optimizer) as watch:
            for x, y in digits(rank):
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
                watch.loss(loss)
        return watch.report()

    return on_two_ranks(train)
