"""Lists bigger than memory, and wide networks: what the pages say of them. `make bench-scale`, or with WORDS=10000000 before it.

A generated list, in memory and on disk: processor seconds until the first step, processor time of steps, peak memory. Each in a
process of its own. Then one step of networks of several widths, on the native engine and on torch's. Then `lettrine score` of a
table in one process, in one process per processor side by side, and on clusters of as many workers, and on clusters of one and
of two workers that each have half a processor. Clusters whose package is not installed are left out.
`python -m benchmarks.bench_scale clusters` measures these alone.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from statistics import median

import numpy as np

import lettrine
from lettrine.engine.base import Optimiser
from lettrine.engine.choice import choose_engine
from lettrine.model.config import MLPConfig
from lettrine.text import words as words_module
from lettrine.text.corpora import load_corpus
from lettrine.tools import clusters as clusters_module
from lettrine.tools.bulk import score_file
from lettrine.tools.clusters import pool_at
from lettrine.training.session import Session
from lettrine.training.sizes import processors, seconds_of_a_step

WORDS = int(os.environ.get("WORDS", "1000000"))
STEPS = 600
SCORED = int(os.environ.get("SCORED", "2000000"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
CLUSTERS = (("dask://", "distributed"), ("ray://", "ray"))
WIDTHS = (200, 400, 800, 1600, 3200)
BATCHES = (256, 2048)


def write_list(path: Path) -> None:
    """Words of two to five syllables, which no other list has: most of them come once."""
    rng = np.random.default_rng(0)
    starts = ["", "b", "br", "c", "ch", "d", "f", "g", "h", "j", "k", "l", "m", "n", "p", "r", "s", "st", "t", "v", "w", "z"]
    syllables = np.array([a + b for a in starts for b in ("a", "e", "i", "o", "u", "ai", "ee", "an", "el", "in", "or")])
    often = rng.dirichlet(np.full(len(syllables), 0.3))
    with path.open("w") as file:
        for start in range(0, WORDS, 1 << 20):
            count = min(1 << 20, WORDS - start)
            drawn = syllables[rng.choice(len(syllables), (count, 5), p=often)]
            drawn[np.arange(5) >= rng.integers(2, 6, count)[:, None]] = ""
            file.writelines("".join(word) + "\n" for word in drawn.tolist())


def measure(where: str, path: str) -> None:
    """In this process: print processor seconds before the first step, steps per processor second, peak memory in GB."""
    words_module.BIG = 1 if where == "disk" else 1 << 62
    words_module.MAX_WORDS = words_module.MAX_CHARACTERS = 1 << 62  # to see what a list too large for memory would take there
    began = time.process_time()
    settings = lettrine.Settings(steps=2 * STEPS, eval_every=10 * STEPS)
    session = Session(path, settings=settings)
    session.trainer.advance(STEPS)  # the first evaluation is among them
    before = time.process_time()
    session.trainer.advance(STEPS - 1)
    ended = time.process_time()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{before - began:.1f} {(STEPS - 1) / (ended - before):.0f} {memory:.2f} {len(session.splits[0])}")
    session.close()


def lists() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "words.txt"
        write_list(path)
        print(f"{WORDS:,} words, {path.stat().st_size / 1e6:,.0f} MB")
        print(f"{'':8}{'first step after':>18}{'steps':>20}{'peak memory':>14}   training examples")
        speeds = {}
        for where in ("memory", "disk"):
            script = [sys.executable, __file__, where, str(path)]
            done = subprocess.run(script, capture_output=True, text=True, check=True).stdout.split()
            speeds[where] = float(done[1])
            print(f"{where:8}{done[0] + ' CPU s':>18}{done[1] + ' a CPU second':>20}{done[2] + ' GB':>14}   {int(done[3]):,}")
        print(f"speed on disk: {speeds['disk'] / speeds['memory']:.2f} of that in memory")


def widths() -> None:
    """Milliseconds of a step on one thread."""
    engines = {name: choose_engine(name) for name in ("native", "torch")}
    print(f"\n{'width':>8}{'batch':>8}{'native ms':>12}{'torch ms':>12}{'torch is':>12}")
    for width in WIDTHS:
        for batch in BATCHES:
            config = MLPConfig(27, context=8, embedding=24, hidden=(width, width))
            spent = [1e3 * seconds_of_a_step(engine, config, Optimiser(), batch) for engine in engines.values()]
            ratio = f"{spent[0] / spent[1]:.2f} x"
            print(f"{f'{width}x2':>8}{batch:>8}{spent[0]:>12.1f}{spent[1]:>12.1f}{ratio:>12}", flush=True)


def clusters() -> None:
    """Words a second by the clock, medians of rounds in which each way has its turn; the start of workers is not in it.

    Side by side: a process for each processor, each with the whole table. No cluster on this machine can be faster.
    """
    with tempfile.TemporaryDirectory() as folder, ExitStack() as opened:
        run, table = f"{folder}/run", Path(folder) / "words.txt"
        lettrine.train(out=run)
        _write_names(table, SCORED)
        apart = opened.enter_context(ProcessPoolExecutor(processors(), multiprocessing.get_context("spawn")))
        outs = [f"{folder}/{place}.parquet" for place in range(processors())]
        ways = {
            "alone": lambda: score_file(run, table, outs[0]),
            "side by side": lambda: list(apart.map(score_file, *zip(*((run, table, out) for out in outs), strict=True))),
        }
        for where, _ in CLUSTERS:
            if where not in _installed():
                print(f"{where}  not installed")
                continue
            pool = opened.enter_context(pool_at(where))
            ways[where] = partial(score_file, run, table, outs[0], pool=pool)
        rounds = [{way: _seconds(work) for way, work in ways.items()} for _ in range(1 + ROUNDS)][1:]  # the first one warms up
        speeds = {way: SCORED / median(taken[way] for taken in rounds) for way in ways}
        speeds["side by side"] *= processors()
        print(f"\n{'score':>14}{'words a second':>18}{'of one process and each worker':>34}{'of side by side':>18}")
        for way, speed in speeds.items():
            workers = 1 if way == "alone" else processors()
            shares = f"{speed / speeds['alone'] / workers:>34.2f}{speed / speeds['side by side']:>18.2f}"
            print(f"{way:>14}{speed:>18,.0f}{shares}")


def _installed() -> list[str]:
    return [where for where, package in CLUSTERS if importlib.util.find_spec(package) is not None]


def halves() -> None:
    """Words a second of one worker and of two that have half a processor each: what the machine itself loses is in neither.

    All workers run on one processor: one beside a neighbour that scores for itself, or two. The reader and the scheduler run on
    another, whose gaps a process of the lowest priority fills with the same work: two processors may be one core, and that has
    as much to do in every way then. A plain process in the place of the one worker reads and writes too.
    """
    places = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []
    if len(places) < 2:
        print("halves of a processor: left out; expected Linux and two processors")
        return
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - Ray spells it so; as nice as the neighbour
    os.sched_setaffinity(0, places[:1])
    ways = [("", 1), *((where, count) for where in _installed() for count in (1, 2))]
    found: dict[tuple[str, int], list[tuple[float, float]]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory() as folder:
        run = f"{folder}/run"
        lettrine.train(out=run)
        _write_names(Path(folder) / "words.txt", SCORED)
        _write_names(Path(folder) / "few.txt", SCORED // 10)
        with _beside(run, places[0], idle=True):
            for way in ways * ROUNDS:
                found[way].append(_half(*way, folder, places[-1]))
                speed, used = found[way][-1]
                print(
                    f"{way[0] or 'process':>14} {way[1]}{speed:>12,.0f} words a second, {used:.2f} of the processor", flush=True
                )
    os.sched_setaffinity(0, places)
    middle = {way: median(speed for speed, _ in each) for way, each in found.items()}
    print(f"\n{'halves':>14}{'one worker':>14}{'two':>12}{'two by 2 x one':>18}{'two by 2 x a process':>24}")
    for where in _installed():
        one, two = middle[where, 1], middle[where, 2]
        print(f"{where:>14}{one:>14,.0f}{two:>12,.0f}{two / one / 2:>18.2f}{two / middle['', 1] / 2:>24.2f}")


def _half(where: str, count: int, folder: str, place: int) -> tuple[float, float]:
    """Words a second of so many workers on this processor, and how much of it they had; one has a neighbour there."""
    with ExitStack() as opened:
        pool = opened.enter_context(_workers(where, count))
        pids = _pinned(pool, count, place)
        if count == 1:
            opened.enter_context(_beside(f"{folder}/run", place))

        def score(table: str) -> None:
            files = f"{folder}/run", f"{folder}/{table}", f"{folder}/out.parquet"
            if where:
                score_file(*files, pool=pool)
            else:
                pool.submit(score_file, *files).result()

        score("few.txt")
        before = _processor_seconds(pids)
        taken = _seconds(lambda: score("words.txt"))
        return SCORED / taken, (_processor_seconds(pids) - before) / taken


def _write_names(path: Path, count: int) -> None:
    path.write_text("\n".join(islice(cycle(load_corpus("first-names").words), count)) + "\n", encoding="utf-8")


@contextmanager
def _workers(where: str, count: int) -> Iterator[Executor]:
    """So many workers of a cluster, or a plain process."""
    if not where:
        with ProcessPoolExecutor(count, multiprocessing.get_context("spawn")) as pool:
            yield pool
        return
    clusters_module.processors = lambda: count
    with pool_at(where) as pool:
        yield pool


def _pinned(pool: Executor, count: int, place: int) -> set[int]:
    """Every worker of the pool, from now on on this processor."""
    pids: set[int] = set()
    while len(pids) < count:
        pids |= {future.result() for future in [pool.submit(_pin, place) for _ in range(count)]}
    return pids


def _pin(place: int) -> int:
    time.sleep(0.2)  # so that each worker gets one of these
    for thread in Path("/proc/self/task").iterdir():
        os.sched_setaffinity(int(thread.name), {place})
    return os.getpid()


@contextmanager
def _beside(run: str, place: int, *, idle: bool = False) -> Iterator[None]:
    """A process that scores for itself on this processor; idle: only when nobody else has work there."""
    process = multiprocessing.get_context("spawn").Process(target=_busy, args=(run, place, idle), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def _busy(run: str, place: int, idle: bool) -> None:
    os.sched_setaffinity(0, {place})
    if idle:
        os.setsid()
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        with suppress(OSError):  # where the system weighs sessions against each other
            Path("/proc/self/autogroup").write_text("19")
    words = list(islice(cycle(load_corpus("first-names").words), 1 << 16))
    parent = os.getppid()
    while os.getppid() == parent:
        lettrine.score(words, run)


def _processor_seconds(pids: set[int]) -> float:
    """What these processes took so far."""
    stats = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(stat[11]) + int(stat[12]) for stat in stats) / os.sysconf("SC_CLK_TCK")


def _seconds(work: Callable[[], object]) -> float:
    """By the clock."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    if sys.argv[1:] == ["clusters"]:
        clusters()
        halves()
    elif sys.argv[1:] == ["halves"]:
        halves()
    elif len(sys.argv) > 1:
        measure(*sys.argv[1:])
    else:
        lists()
        widths()
        clusters()
        halves()
