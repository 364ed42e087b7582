"""Is the suggested learning rate a good one, and does it stay put? Against a grid of rates, each trained to the end.

    python benchmarks/bench_lr_range.py [WORDS] [--seeds 8] [--steps 3000] [--json]

spread: decades between the smallest and the largest suggestion of the seeds. lowest, highest: final development loss with each of
these two, at a constant rate; best: the lowest on a grid of four rates a decade, and at which. Exit code 1 if a spread
is SPREAD or more. With torch installed, a small convolutional net is swept too.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from lettrine.engine.base import Optimiser
from lettrine.errors import DivergedError
from lettrine.health.range_test import RangeTest
from lettrine.text.words import WordList
from lettrine.training.api import Shape, as_word_list, train
from lettrine.training.lr_range import lr_range
from lettrine.training.settings import Settings

ONE = Shape(context=3, embedding=10, hidden=(200,), activation="tanh", norm="none", direct=False)
SGD, SMALL = Optimiser("sgd"), {"batch": 32, "keep": "last", "schedule": "constant", "health": False}
NETS = {
    "naive, SGD": (ONE, Settings(optimiser=SGD, init="naive", **SMALL)),
    "kaiming, SGD": (ONE, Settings(optimiser=SGD, init="kaiming", **SMALL)),
    "deep tanh, SGD": (replace(ONE, hidden=(100,) * 5), Settings(optimiser=SGD, init="deep", **SMALL)),
    "deep batch norm, SGD": (
        replace(ONE, hidden=(100,) * 5, norm="batch", hidden_bias=None),
        Settings(optimiser=SGD, init="deep", **SMALL),
    ),
    "kaiming, momentum 0.9": (ONE, Settings(optimiser=Optimiser("sgd", momentum=0.9), init="kaiming", **SMALL)),
    "default, AdamW": (Shape(), Settings(keep="last", schedule="constant", health=False)),
}
GRID = np.geomspace(1e-4, 1.0, 17)
SPREAD = 0.5  # decades


@dataclass
class Net:
    """A way to sweep with a seed, and one to train with a rate: to the final development loss."""

    name: str
    sweep: Callable[[int], RangeTest]
    loss: Callable[[float], float]


def networks(words: WordList, steps: int) -> Iterator[Net]:
    """Lettrine's own, as they are named in NETS."""
    for name, (shape, settings) in NETS.items():

        def loss(rate: float, shape: Shape = shape, settings: Settings = settings) -> float:
            try:
                run = train(words, shape=shape, settings=replace(settings, learning_rate=rate, steps=steps))
            except DivergedError:
                return math.inf
            return math.inf if run.results is None else run.results.loss["dev"]

        def swept(seed: int, shape: Shape = shape, settings: Settings = settings) -> RangeTest:
            return lr_range(words, shape=shape, settings=replace(settings, seed=seed))

        yield Net(name, swept, loss)


def convolution(steps: int) -> Iterator[Net]:
    """A convolutional net with batch norm that finds one of ten patterns in noise, SGD with momentum; nothing without torch."""
    if importlib.util.find_spec("torch") is None:
        return
    import torch  # noqa: PLC0415
    from torch import nn  # noqa: PLC0415

    from lettrine import health  # noqa: PLC0415

    torch.set_num_threads(1)
    patterns = torch.randn(10, 1, 6, 6, generator=torch.Generator().manual_seed(0))

    def images(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        random = torch.Generator().manual_seed(seed)
        x, y = torch.randn(count, 1, 10, 10, generator=random), torch.randint(10, (count,), generator=random)
        for image, kind, (left, top) in zip(x, y, torch.randint(5, (count, 2), generator=random).tolist(), strict=True):
            image[:, left : left + 6, top : top + 6] += patterns[kind]
        return x, y

    def build(seed: int, rate: float) -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(seed)
        first, second = (nn.Conv2d(width, 16, 3, bias=False) for width in (1, 16))
        body = [first, nn.BatchNorm2d(16), nn.ReLU(), second, nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)]
        model = nn.Sequential(*body, nn.Flatten(), nn.Linear(144, 10))
        return model, torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)

    def batches(seed: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        rows = torch.randint(len(data[0]), (600, 32), generator=torch.Generator().manual_seed(seed))
        return [(data[0][row], data[1][row]) for row in rows]

    data, held = images(6_000, 1), images(1_000, 2)

    def swept(seed: int) -> RangeTest:
        return health.lr_range(*build(seed, 0.1), nn.functional.cross_entropy, batches(seed))

    def loss(rate: float) -> float:
        model, optimizer = build(0, rate)
        for x, y in itertools.islice(itertools.cycle(batches(0)), steps // 5):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        with torch.no_grad():
            return float(nn.functional.cross_entropy(model.eval()(held[0]), held[1]).nan_to_num(math.inf))

    yield Net("torch convolutions, momentum", swept, loss)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="?")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=3_000)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rows = []
    for net in itertools.chain(networks(as_word_list(asked.words), asked.steps), convolution(asked.steps)):
        suggestions = sorted(net.sweep(seed).suggestion for seed in range(asked.seeds))
        grid = {float(rate): net.loss(float(rate)) for rate in GRID}
        best = min(grid, key=lambda rate: grid[rate])
        row = {
            "net": net.name,
            "suggestions": suggestions,
            "spread": math.log10(suggestions[-1] / suggestions[0]),
            "lowest": net.loss(suggestions[0]),
            "highest": net.loss(suggestions[-1]),
            "best": grid[best],
            "best_rate": best,
        }
        rows.append(row)
        if not asked.json:
            print(
                f"{net.name:<28} suggested {suggestions[0]:.2g} to {suggestions[-1]:.2g}: {row['spread']:.2f} decades; dev "
                f"{row['lowest']:.3f} and {row['highest']:.3f}, best of the grid {row['best']:.3f} at {best:.2g}",
                flush=True,
            )
    if asked.json:
        print(json.dumps({"steps": asked.steps, "seeds": asked.seeds, "rows": rows}))
    return not all(row["spread"] < SPREAD for row in rows)


if __name__ == "__main__":
    sys.exit(main())
