"""The native engine beside PyTorch, JAX and the reference, and beside what the processor could do at best.

    python benchmarks/bench_engine.py [--rounds 5] [--seconds 0.4] [--json]

Steps a second, drawing the batches included on every side. Sides take turns; the figure is the median of the ratios,
round by round. One thread is timed by the processor's clock, which other work on the machine hardly touches; two threads
by the wall's.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when numpy is loaded

import argparse
import contextlib
import importlib.util
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from lettrine import _native
from lettrine.engine.base import Optimiser, TrainState
from lettrine.engine.native import NativeEngine
from lettrine.engine.reference import ReferenceEngine
from lettrine.model.config import MLPConfig
from lettrine.model.initialisation import SCHEMES, initialise
from lettrine.text.corpora import load_corpus
from lettrine.text.vocabulary import Vocabulary
from lettrine.text.windows import Windows, windows
from lettrine.text.words import Split, read_words, split
from lettrine.torch.model import CharMLP

NAMES = Path(__file__).parents[1].parent / "shared" / "data" / "names.txt"
SGD, ADAMW = Optimiser("sgd"), Optimiser("adamw", weight_decay=0.01)
Side = Callable[[int], float]  # takes so many steps, returns seconds

PUBLISHED = {"context": 3, "embedding": 10, "activation": "tanh"}
# name: shape, optimiser, batch, rate
NETS = {
    "published": (PUBLISHED, SGD, 32, 0.1),
    "published, batch norm": ({**PUBLISHED, "norm": "batch", "norm_momentum": 0.001}, SGD, 32, 0.1),
    "deep-batchnorm": ({**PUBLISHED, "hidden": (200,) * 5, "norm": "batch", "output_norm": True}, SGD, 32, 0.1),
    "default, AdamW": ({}, ADAMW, 128, 0.001),
}


def words() -> tuple[Split, Vocabulary]:
    every = read_words(NAMES) if NAMES.exists() else load_corpus("first-names")
    print(f"words: {NAMES.name if NAMES.exists() else 'first-names; the published names.txt is not at hand'}, {len(every):,}")
    return split(every), Vocabulary.from_words(every)


class Work:
    """One network, its data, and every side's way of training it."""

    def __init__(self, name: str, parts: Split, vocabulary: Vocabulary) -> None:
        shape, self.optimiser, self.batch, self.rate = NETS[name]
        self.config = MLPConfig(vocabulary.size, **shape)
        self.data: Windows = windows(parts.train, vocabulary, self.config.context)
        self.parameters = initialise(self.config, SCHEMES["kaiming"], np.random.default_rng(0), np.float32)
        self.operations = (
            6 * self.batch * sum(v.size for k, v in self.parameters.items() if v.ndim == 2 and k != "embedding.weight")
        )
        self.draw = np.random.default_rng(1)
        self.x, self.y = torch.from_numpy(self.data.contexts).long(), torch.from_numpy(self.data.targets).long()

    def rows(self, steps: int) -> np.ndarray:
        return self.draw.integers(0, len(self.data.targets), (steps, self.batch))

    def native(self, threads: int = 1) -> Side:
        state = TrainState.fresh(self.config, {k: v.copy() for k, v in self.parameters.items()}, self.optimiser)
        engine = NativeEngine()

        def side(steps: int) -> float:
            clock = clock_of(threads)
            start = clock()
            rows, rates = self.rows(steps), np.full(steps, self.rate)
            engine.train(self.config, self.optimiser, state, self.data.contexts, self.data.targets, rows, rates, threads=threads)
            return clock() - start

        return side

    def plain_loop(self) -> Side:
        """As the lecture writes it: tensors, autograd, and p.data -= lr * p.grad; one hidden layer."""
        p = {name: torch.tensor(value).requires_grad_() for name, value in self.parameters.items() if "running" not in name}
        mean, variance, share = torch.zeros(1), torch.ones(1), self.config.norm_momentum

        def side(steps: int) -> float:
            nonlocal mean, variance
            start, losses = time.process_time(), []
            for _ in range(steps):
                ix = torch.randint(0, len(self.y), (self.batch,))
                z = p["embedding.weight"][self.x[ix]].view(self.batch, -1) @ p["layers.0.weight"].T
                if self.config.norm == "batch":
                    m, v = z.mean(0, keepdim=True), z.var(0, keepdim=True)
                    z = p["norms.0.weight"] * (z - m) / torch.sqrt(v + 1e-5) + p["norms.0.bias"]
                    with torch.no_grad():
                        mean, variance = (1 - share) * mean + share * m, (1 - share) * variance + share * v
                else:
                    z = z + p["layers.0.bias"]
                loss = functional.cross_entropy(torch.tanh(z) @ p["output.weight"].T + p["output.bias"], self.y[ix])
                for parameter in p.values():
                    parameter.grad = None
                loss.backward()
                for parameter in p.values():
                    parameter.data -= self.rate * parameter.grad
                losses.append(loss.log10().item())
            return time.process_time() - start

        return side

    def module_loop(self, threads: int = 1) -> Side:
        model = CharMLP(self.config, self.parameters).train()
        sgd = self.optimiser.kind == "sgd"
        step = torch.optim.SGD(model.parameters(), self.rate) if sgd else torch.optim.AdamW(model.parameters(), self.rate)

        def side(steps: int) -> float:
            torch.set_num_threads(threads)
            clock, losses = clock_of(threads), []
            start = clock()
            for _ in range(steps):
                ix = torch.randint(0, len(self.y), (self.batch,))
                loss = functional.cross_entropy(model(self.x[ix]), self.y[ix])
                step.zero_grad()
                loss.backward()
                step.step()
                losses.append(loss.item())
            seconds = clock() - start
            torch.set_num_threads(1)
            return seconds

        return side

    def scan(self) -> Side:
        """JAX: the whole run of steps compiled as one `lax.scan`."""
        import jax  # noqa: PLC0415 - optional
        import jax.numpy as jnp  # noqa: PLC0415

        p = {name: jnp.asarray(value) for name, value in self.parameters.items()}
        x, y = jnp.asarray(self.data.contexts), jnp.asarray(self.data.targets)

        def loss(p: dict, ix: jnp.ndarray) -> jnp.ndarray:
            z = p["embedding.weight"][x[ix]].reshape(self.batch, -1) @ p["layers.0.weight"].T + p["layers.0.bias"]
            logits = jnp.tanh(z) @ p["output.weight"].T + p["output.bias"]
            return -jnp.mean(jax.nn.log_softmax(logits)[jnp.arange(self.batch), y[ix]])

        def one(p: dict, ix: jnp.ndarray) -> tuple[dict, jnp.ndarray]:
            value, slope = jax.value_and_grad(loss)(p, ix)
            return {name: p[name] - self.rate * slope[name] for name in p}, value

        run = jax.jit(lambda p, rows: jax.lax.scan(one, p, rows))

        def side(steps: int) -> float:
            rows = jnp.asarray(self.rows(1 << max(steps - 1, 1).bit_length()).astype(np.int32))  # few sizes, few compilations
            jax.block_until_ready(run(p, rows))
            start = time.process_time()
            jax.block_until_ready(run(p, rows))
            return (time.process_time() - start) * steps / len(rows)

        return side


def clock_of(threads: int) -> Callable[[], float]:
    return time.process_time if threads == 1 else time.perf_counter


def speed(side: Side, seconds: float) -> Iterator[float]:
    """Steps a second, again and again, in rounds of about so many seconds."""
    steps = 20
    side(steps)
    while True:
        taken = side(steps)
        yield steps / taken
        steps = max(20, int(steps * seconds / taken))


def compare(ours: Side, theirs: Side, options: argparse.Namespace, *, rest: float = 0.0) -> dict[str, float]:
    """The two sides in turns. rest: seconds before each turn, where threads of the other side still spin for a while."""
    a, b = speed(ours, options.seconds), speed(theirs, options.seconds)
    next(a), next(b)

    def turn(side: Iterator[float]) -> float:
        time.sleep(rest)
        return next(side)

    rounds = [(turn(a), turn(b)) for _ in range(options.rounds)]
    median = statistics.median
    return {
        "ours": median(x for x, _ in rounds),
        "theirs": median(y for _, y in rounds),
        "ratio": median(x / y for x, y in rounds),
    }


def peak() -> float:
    """Most floating-point operations a second this core managed in a loop of nothing but multiply-adds."""
    best = 0.0
    for _ in range(10):
        start = time.process_time()
        best = max(best, _native.multiply_adds(20_000) / (time.process_time() - start))
    return best


def word_rates(work: Work) -> tuple[Side, Side]:
    def by(engine: NativeEngine | ReferenceEngine) -> Side:
        def side(count: int) -> float:
            uniforms, starts = work.draw.random((count, 30)), np.zeros((count, work.config.context), np.int32)
            start = time.process_time()
            engine.drawer(work.config, [work.parameters])(starts, uniforms)
            return time.process_time() - start

        return side

    return by(NativeEngine()), by(ReferenceEngine())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.4, help="of one round of one side")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    parts, vocabulary = words()
    works = {name: Work(name, parts, vocabulary) for name in NETS}
    best = peak()
    results: dict[str, dict[str, float]] = {"peak": {"GFLOP/s": best / 1e9}}
    print(f"one core, {_native.isa()}: {best / 1e9:.0f} GFLOP/s of float32 multiply-adds at best")
    print(f"\n{'steps a second':58}{'ours':>9}{'theirs':>9}{'ratio':>8}{'wanted':>8}{'of peak':>9}")

    def line(name: str, against: str, ours: Side, theirs: Side, wanted: float, work: Work | None = None, **rest: float) -> None:
        row = results[f"{name} / {against}"] = compare(ours, theirs, options, **rest)
        share = f"{row['ours'] * work.operations / best:9.0%}" if work else ""
        figures = f"{row['ours']:9,.0f}{row['theirs']:9,.0f}{row['ratio']:8.1f}{wanted:8.1f}{share}"
        print(f"{name + ' / ' + against:58}{figures}", flush=True)

    for name, wanted in (("published", 14.0), ("published, batch norm", 20.0)):
        line(name, "hand-written PyTorch loop", works[name].native(), works[name].plain_loop(), wanted, works[name])
    for name, wanted in (("deep-batchnorm", 6.0), ("default, AdamW", 5.0)):
        for threads in (1, 2):
            ours, theirs = works[name].native(threads), works[name].module_loop(threads)
            against = f"nn.Module loop, {threads} thread{'s'[: threads - 1]} each"
            line(name, against, ours, theirs, wanted, works[name] if threads == 1 else None, rest=0.3 * (threads - 1))
    if importlib.util.find_spec("jax"):
        with one_core():
            line("published", "JAX lax.scan, jit", works["published"].native(), works["published"].scan(), 2.5)
    else:
        print("JAX is not installed: not compared")
    line("words: native", "reference", *word_rates(works["default, AdamW"]), 4.0)
    for name in NETS:
        line(f"{name}: 2 threads", "1 thread, by the wall's clock", works[name].native(2), walled(works[name]), 1.0)

    print("\n'of peak' counts the operations of the network as it is written down; characters and contexts that a batch")
    print("holds several times are worked out once, so a share beyond 100 % is possible.\n")
    if options.json:
        print(json.dumps(results))


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """JAX starts as many threads as there are cores to run on, and no setting of its own says otherwise."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    every = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(every)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, every)


def walled(work: Work) -> Side:
    """One thread by the clock that two are timed with."""
    inner = work.native()

    def side(steps: int) -> float:
        start = time.perf_counter()
        inner(steps)
        return time.perf_counter() - start

    return side


if __name__ == "__main__":
    main()
