"""The reference engine beside a plain PyTorch loop, and batched sampling beside one word at a time.

    python benchmarks/bench_reference.py [--steps 2000] [--rounds 5] [--json]

One thread each. The two sides take turns; the figure is the median of the ratios, round by round.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when numpy is loaded

import argparse
import json
import statistics
import time

import numpy as np
import torch
from torch.nn import functional

from lettrine.engine.base import Engine, Optimiser, TrainState
from lettrine.engine.choice import choose_engine
from lettrine.engine.reference import ReferenceEngine, probabilities
from lettrine.model.config import MLPConfig
from lettrine.model.initialisation import SCHEMES, initialise

V, T, E, H, B, N = 27, 3, 10, 200, 32, 182_625  # the published net on the published list
RATE = 0.1


def plain_torch(parameters: dict[str, np.ndarray], contexts: np.ndarray, targets: np.ndarray, steps: int) -> float:
    """Steps a second of the loop as the lecture writes it, batches drawn on the way."""
    table, w1, b1, w2, b2 = (torch.tensor(value).requires_grad_() for value in parameters.values())
    every, x, y = (table, w1, b1, w2, b2), torch.from_numpy(contexts).long(), torch.from_numpy(targets).long()
    generator = torch.Generator().manual_seed(1)
    start = time.perf_counter()
    for _ in range(steps):
        rows = torch.randint(0, N, (B,), generator=generator)
        h = torch.tanh(table[x[rows]].view(B, -1) @ w1.T + b1)
        loss = functional.cross_entropy(h @ w2.T + b2, y[rows])
        for parameter in every:
            parameter.grad = None
        loss.backward()
        for parameter in every:
            parameter.data -= RATE * parameter.grad
    return steps / (time.perf_counter() - start)


def reference(
    config: MLPConfig, parameters: dict[str, np.ndarray], contexts: np.ndarray, targets: np.ndarray, steps: int
) -> float:
    optimiser = Optimiser("sgd")
    state = TrainState.fresh(config, {name: value.copy() for name, value in parameters.items()}, optimiser)
    generator = np.random.default_rng(1)
    start = time.perf_counter()
    rows = generator.integers(0, N, (steps, B))
    ReferenceEngine().train(config, optimiser, state, contexts, targets, rows, np.full(steps, RATE))
    return steps / (time.perf_counter() - start)


def one_at_a_time(config: MLPConfig, parameters: dict[str, np.ndarray], words: int) -> float:
    """Words a second as makemore draws them: a forward pass for every character."""
    engine, generator = ReferenceEngine(), np.random.default_rng(0)
    start = time.perf_counter()
    for _ in range(words):
        context = np.zeros((1, T), np.int32)
        for _ in range(64):
            drawn = generator.choice(V, p=probabilities(engine.logits(config, parameters, context))[0])
            context = np.append(context[:, 1:], [[drawn]], axis=1).astype(np.int32)
            if drawn == 0:
                break
    return words / (time.perf_counter() - start)


def batched(engine: Engine, config: MLPConfig, parameters: dict[str, np.ndarray], words: int) -> float:
    generator = np.random.default_rng(0)
    start = time.perf_counter()
    engine.drawer(config, [parameters])(np.zeros((words, T), np.int32), generator.random((words, 64)))
    return words / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = MLPConfig(V, T, E, (H,))
    parameters = initialise(config, SCHEMES["kaiming"], np.random.default_rng(0))
    generator = np.random.default_rng(2)
    contexts = generator.integers(0, V, (N, T), dtype=np.int32)
    targets = generator.integers(0, V, N, dtype=np.int32)
    pairs = {
        "steps a second: reference engine / plain PyTorch loop": (
            lambda: reference(config, parameters, contexts, targets, options.steps),
            lambda: plain_torch(parameters, contexts, targets, options.steps),
        ),
        f"words a second: 4,096 at once, {choose_engine().name} / one at a time": (
            lambda: batched(choose_engine(), config, parameters, 4096),
            lambda: one_at_a_time(config, parameters, 50),
        ),
        "words a second: 4,096 at once, reference / one at a time": (
            lambda: batched(ReferenceEngine(), config, parameters, 4096),
            lambda: one_at_a_time(config, parameters, 50),
        ),
    }
    results = {}
    for name, (ours, theirs) in pairs.items():
        ours(), theirs()  # warm up
        rounds = [(ours(), theirs()) for _ in range(options.rounds)]
        results[name] = {
            "ours": statistics.median(a for a, _ in rounds),
            "theirs": statistics.median(b for _, b in rounds),
            "ratio": statistics.median(a / b for a, b in rounds),
        }
    if options.json:
        print(json.dumps(results))
        return
    print(f"{'':60}{'ours':>10}{'theirs':>10}{'ratio':>8}")
    for name, row in results.items():
        print(f"{name:60}{row['ours']:>10,.0f}{row['theirs']:>10,.0f}{row['ratio']:>8.1f}")


if __name__ == "__main__":
    main()
