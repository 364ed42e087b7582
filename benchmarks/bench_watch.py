"""What watching costs: step time with and without, as a ratio, in one process.

Time is that of the processor, all threads of this process together, which other work on the machine hardly touches. Blocks of
steps with and without the watch alternate; the figure is the ratio of the two sums over whole runs of `--steps` optimiser steps,
the median of `--rounds`. The default schedule samples most at the start: the ratio over the first 64 and 800 steps is told as
well, with the making of the watch. Peers are measured the same way where installed.

    python benchmarks/bench_watch.py [--steps 2000] [--rounds 5] [--only mlp 129] [--ours] [--threads 1] [--json out.json]
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from lettrine.torch.watch import watch

Step = Callable[[], torch.Tensor]
BLOCK = 4  # steps in a row before the other side has its turn
MARKS = (64, 800)  # steps after which the ratio so far is noted


class MLP(nn.Module):
    """The 46,497-parameter tanh net of the tables: T = 3, E = 10, five hidden layers of 100, V = 27; or wider."""

    def __init__(self, width: int = 100) -> None:
        super().__init__()
        self.embedding = nn.Embedding(27, 10)
        widths = [30, *[width] * 5]
        layers: list[nn.Module] = []
        for fan_in, fan_out in itertools.pairwise(widths):
            layers += [nn.Linear(fan_in, fan_out), nn.Tanh()]
        self.layers = nn.Sequential(*layers, nn.Linear(width, 27))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(self.embedding(x).flatten(1))


class ConvNet(nn.Module):
    """Three convolutions with batch norm for 32 x 32 colour images, 10 classes."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for fan_in, fan_out in ((3, 32), (32, 64), (64, 128)):
            layers += [nn.Conv2d(fan_in, fan_out, 3, padding=1, bias=False), nn.BatchNorm2d(fan_out), nn.ReLU(), nn.MaxPool2d(2)]
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(128 * 16, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.act, self.down = nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, t, c = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, t, 3, 4, c // 4).permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, t, c)
        x = x + self.proj(y)
        return x + self.down(self.act(self.up(self.norm2(x))))


class Transformer(nn.Module):
    """Pre-norm decoder: 4 layers, width 128, 4 heads, 64 tokens, 65 characters."""

    def __init__(self) -> None:
        super().__init__()
        self.token, self.place = nn.Embedding(65, 128), nn.Embedding(64, 128)
        self.blocks = nn.Sequential(*(Block(128) for _ in range(4)))
        self.norm, self.head = nn.LayerNorm(128), nn.Linear(128, 65)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.blocks(self.token(x) + self.place.weight)))


def mlp(seed: int, width: int = 100) -> tuple[nn.Module, torch.optim.Optimizer, Step]:
    torch.manual_seed(seed)
    model = MLP(width)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x, y = torch.randint(0, 27, (10_000, 3)), torch.randint(0, 27, (10_000,))

    def step() -> torch.Tensor:
        batch = torch.randint(0, len(x), (32,))
        loss = functional.cross_entropy(model(x[batch]), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return model, optimizer, step


def convnet(seed: int) -> tuple[nn.Module, torch.optim.Optimizer, Step]:
    torch.manual_seed(seed)
    model = ConvNet()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    x, y = torch.randn(256, 3, 32, 32), torch.randint(0, 10, (256,))

    def step() -> torch.Tensor:
        batch = torch.randint(0, len(x), (64,))
        loss = functional.cross_entropy(model(x[batch]), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return model, optimizer, step


def transformer(seed: int) -> tuple[nn.Module, torch.optim.Optimizer, Step]:
    torch.manual_seed(seed)
    model = Transformer()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    x = torch.randint(0, 65, (256, 65))

    def step() -> torch.Tensor:
        batch = x[torch.randint(0, len(x), (16,))]
        loss = functional.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return model, optimizer, step


# From 128 to 129 a matrix grows beyond what is looked at of one tensor.
CASES = {
    "mlp": mlp,
    "128": partial(mlp, width=128),
    "129": partial(mlp, width=129),
    "512": partial(mlp, width=512),
    "convnet": convnet,
    "transformer": transformer,
}
# Of the slow nets fewer steps are taken: the ratio of the first steps, where the schedule samples most, is the worse one.
SHARE = {"512": 0.4, "convnet": 0.05, "transformer": 0.05}


class Watched:
    """Our own: `every` as `watch` takes it."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, every: int | None) -> None:
        self.watch = watch(model, optimizer, every=every).start()

    def after(self, loss: torch.Tensor) -> None:
        self.watch.loss(loss)

    def close(self) -> None:
        self.watch.close()
        errors = self.watch.trace().facts.errors
        if errors:
            raise SystemExit(f"the watch met errors: {errors}")


class Histograms:
    """TensorBoard: histograms of every parameter and gradient, every step."""

    def __init__(self, model: nn.Module, _: torch.optim.Optimizer, folder: str) -> None:
        self.writer = importlib.import_module("torch.utils.tensorboard").SummaryWriter(folder)
        self.model, self.count = model, 0

    def after(self, _: torch.Tensor) -> None:
        for name, parameter in self.model.named_parameters():
            self.writer.add_histogram(name, parameter, self.count)
            self.writer.add_histogram(f"{name}.grad", parameter.grad, self.count)
        self.count += 1

    def close(self) -> None:
        self.writer.close()


class Wandb:
    """wandb.watch of everything, every step, offline."""

    def __init__(self, model: nn.Module, _: torch.optim.Optimizer, folder: str) -> None:
        wandb: Any = importlib.import_module("wandb")
        self.run = wandb.init(mode="offline", dir=folder, settings=wandb.Settings(silent=True))
        self.run.watch(model, log="all", log_freq=1)

    def after(self, loss: torch.Tensor) -> None:
        self.run.log({"loss": loss.item()})

    def close(self) -> None:
        self.run.finish()


class Mortem:
    """torchmortem, as its own page uses it."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, _: str) -> None:
        self.autopsy = importlib.import_module("torchmortem").Autopsy(model, optimizer=optimizer)
        self.autopsy.__enter__()

    def after(self, loss: torch.Tensor) -> None:
        self.autopsy.step(loss=loss.item())

    def close(self) -> None:
        self.autopsy.__exit__(None, None, None)


def ratio(
    case: str, make: Callable[[nn.Module, torch.optim.Optimizer], Any], steps: int
) -> tuple[float, float, dict[int, float]]:
    """Step time with over step time without, the latter in milliseconds, and the ratio so far after each of MARKS."""
    _, _, plain = CASES[case](0)
    model, optimizer, watched = CASES[case](0)
    for _ in range(5):
        plain()
        watched()
    spent, marks = [0.0, 0.0], {}
    start = time.process_time()
    observer = make(model, optimizer)
    spent[1] += time.process_time() - start

    def run(side: int) -> None:
        start = time.process_time()
        for _ in range(BLOCK):
            if side:
                observer.after(watched())
            else:
                plain()
        spent[side] += time.process_time() - start

    for step in range(0, steps, BLOCK):
        for side in (0, 1) if step // BLOCK % 2 else (1, 0):
            run(side)
        if step + BLOCK in MARKS:
            marks[step + BLOCK] = spent[1] / spent[0]
    observer.close()
    return spent[1] / spent[0], 1e3 * spent[0] / steps, marks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--ours", action="store_true", help="no peers")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    results: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        observers: dict[str, Callable[[nn.Module, torch.optim.Optimizer], Any]] = {
            "default": lambda model, optimizer: Watched(model, optimizer, None),
            "every=1": lambda model, optimizer: Watched(model, optimizer, 1),
        }
        peers = {"torchmortem": Mortem, "tensorboard": Histograms, "wandb": Wandb}
        for name, peer in () if options.ours else peers.items():
            if importlib.util.find_spec(name) is None:
                print(f"{name}: not installed, skipped")
            else:
                observers[name] = lambda model, optimizer, peer=peer: peer(model, optimizer, folder)
        for case in options.only:
            for name, make in observers.items():
                share = SHARE.get(case, 1.0) * (1.0 if name == "default" else 0.25)
                steps = max(MARKS[0], round(options.steps * share / BLOCK) * BLOCK)
                rounds = [ratio(case, make, steps) for _ in range(options.rounds)]
                figure, base = statistics.median(each[0] for each in rounds), statistics.median(each[1] for each in rounds)
                so_far = {f"{name} {mark}": statistics.median(each[2][mark] for each in rounds) for mark in rounds[0][2]}
                figures = {name: figure, **(so_far if name == "default" else {})}
                results.setdefault(case, {}).update({key: round(value, 4) for key, value in figures.items()})
                spread = ", ".join(f"{each[0]:.3f}" for each in rounds)
                print(f"{case:12} {name:12} {figure:7.3f}   ({spread}; {base:.3f} ms a step without, {steps} steps)", flush=True)
                if name == "default":
                    print("".join(f"{'':12} over {mark.split()[-1]:>7} {value:7.3f}\n" for mark, value in so_far.items()), end="")
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
