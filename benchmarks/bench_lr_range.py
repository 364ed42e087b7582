"""Is the suggested learning rate a good one, and does it stay put? Against a grid of rates, each trained to the end.

    python benchmarks/bench_lr_range.py [WORDS] [--seeds 5] [--steps 3000] [--json]

spread: decades between the smallest and the largest suggestion of the seeds. loss: final development loss with the suggestion
of the first seed, at a constant rate; best: the lowest on a grid of four rates a decade, and at which.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import replace

import numpy as np

from lettrine.engine.base import Optimiser
from lettrine.errors import DivergedError
from lettrine.training.api import Shape, as_word_list, train
from lettrine.training.lr_range import lr_range
from lettrine.training.settings import Settings

ONE = Shape(context=3, embedding=10, hidden=(200,), activation="tanh", norm="none", direct=False)
SGD, SMALL = Optimiser("sgd"), {"batch": 32, "keep": "last", "schedule": "constant", "health": False}
NETS = {
    "one layer, SGD": (ONE, Settings(optimiser=SGD, **SMALL)),
    "deep batch norm, SGD": (
        replace(ONE, hidden=(100,) * 5, norm="batch", hidden_bias=None),
        Settings(optimiser=SGD, init="deep", **SMALL),
    ),
    "one layer, momentum 0.9": (ONE, Settings(optimiser=Optimiser("sgd", momentum=0.9), **SMALL)),
    "default, AdamW": (Shape(), Settings(keep="last", schedule="constant", health=False)),
}
GRID = np.geomspace(1e-4, 1.0, 17)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="?")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3_000)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    words, rows = as_word_list(asked.words), []
    for name, (shape, settings) in NETS.items():

        def loss(rate: float, shape: Shape = shape, settings: Settings = settings) -> float:
            try:
                run = train(words, shape=shape, settings=replace(settings, learning_rate=rate, steps=asked.steps))
            except DivergedError:
                return math.inf
            return math.inf if run.results is None else run.results.loss["dev"]

        found = [lr_range(words, shape=shape, settings=replace(settings, seed=seed)) for seed in range(asked.seeds)]
        suggestions = [each.suggestion for each in found]
        grid = {float(rate): loss(float(rate)) for rate in GRID}
        best = min(grid, key=lambda rate: grid[rate])
        row = {
            "net": name,
            "suggestion": suggestions[0],
            "spread": float(np.ptp(np.log10(suggestions))),
            "loss": loss(suggestions[0]),
            "steepest": loss(found[0].steepest),
            "best": grid[best],
            "best_rate": best,
        }
        rows.append(row)
        if not asked.json:
            print(
                f"{name:<24} suggested {row['suggestion']:.3g} (spread {row['spread']:.2f} decades): dev {row['loss']:.4f}; "
                f"best of the grid {row['best']:.4f} at {best:.3g}; at the steepest descent {row['steepest']:.4f}",
                flush=True,
            )
    if asked.json:
        print(json.dumps({"steps": asked.steps, "rows": rows}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
