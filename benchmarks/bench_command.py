"""What the user gets: whole commands, from start to end, with their time and memory.

    python benchmarks/bench_command.py [PART ...] [--lists LIST ...] [--run FOLDER] [--words 1000000] [--rounds 3] [--json]

PART: one or more of these; all of them where none is named.

    steps    steps a second of the published net as `lettrine train` takes them, watched and judged, beside the engine alone
    losses   test losses on names.txt that are to be reached, and the seconds they take
    memory   training with nothing else given: memory, and the files of the run
    asking   drawing, scoring and judging so many words: words a second, memory
    start    `lettrine sample RUN -n 20` beside `import torch`; `lettrine --help`

LIST: word lists in place of the published names.txt. --run: a trained run to ask, in place of one of the first list.
Seconds are those of the processor, all threads together, which other work on the machine hardly touches; memory is the largest
resident set.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lettrine.engine.base import Optimiser, TrainState
from lettrine.engine.native import NativeEngine
from lettrine.training.interrupt import Requests
from lettrine.training.session import Session
from lettrine.training.settings import Settings
from lettrine.training.shape import Shape

NAMES = Path(__file__).parents[1].parent / "shared" / "data" / "names.txt"
PUBLISHED = Shape(context=3, embedding=10, hidden=(200,), activation="tanh", norm="none", dropout=0.0)
STEPS = 200_000
PARTS = ("steps", "losses", "memory", "asking", "start")
# Test losses on names.txt: the seconds of the whole process they may take, and what to type.
GOALS = {1.94: (4, ""), 1.918: (10, "--seconds 10"), 1.905: (60, "--effort best")}


class Spent(NamedTuple):
    """Seconds of the processor and of the wall, megabytes at most, and what was written."""

    processor: float
    wall: float
    peak: float
    output: str


def spent(*command: str, given: Path | None = None) -> Spent:
    """Run a command as an installed one runs: with its bytecode kept from one start to the next."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    environment |= {"PYTHONPYCACHEPREFIX": str(Path(tempfile.gettempdir()) / "lettrine-bench-bytecode")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output, (given or Path(os.devnull)).open() as stdin:
        process = subprocess.Popen(command, stdin=stdin, stdout=output, stderr=subprocess.DEVNULL, env=environment)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"failed: {' '.join(command)}")
        output.seek(0)
        return Spent(used.ru_utime + used.ru_stime, time.perf_counter() - start, used.ru_maxrss / 1000, output.read())


def lettrine(*arguments: str, given: Path | None = None) -> Spent:
    return spent(sys.executable, "-m", "lettrine", *arguments, given=given)


def trained(words: Path, options: str, folder: str) -> tuple[dict[str, Any], Spent]:
    """`lettrine train` as one types it, with its page of pictures."""
    run = lettrine("train", str(words), *options.split(), "--json", "--out", folder)
    return json.loads(run.output), run


def sizes(folder: str) -> dict[str, float]:
    """Megabytes of each file of a run."""
    return {path.name: path.stat().st_size / 1e6 for path in sorted(Path(folder).iterdir())}


def steps_a_second(words: Path, rounds: int) -> dict[str, float]:
    """The published net as `lettrine train` trains it, watched and judged, beside the engine alone; in turns."""
    settings = Settings(
        steps=STEPS, batch=32, learning_rate=0.1, schedule="step", optimiser=Optimiser("sgd"), prior="none", draw="replacement",
        engine="native",
    )  # fmt: skip

    def whole() -> float:
        trainer = Session(words, shape=PUBLISHED, settings=settings).trainer
        start = time.process_time()
        trainer.run(Requests())
        return time.process_time() - start

    def alone() -> float:
        session = Session(words, shape=PUBLISHED, settings=settings)
        config, optimiser, examples = session.config, settings.optimiser, session.splits[0].frozen()
        state = TrainState.fresh(config, session.trainer.state.parameters, optimiser)
        rng, engine = np.random.default_rng(1), NativeEngine()
        start = time.process_time()
        for _ in range(10):
            rows = rng.integers(0, len(examples), (STEPS // 10, 32))
            engine.train(config, optimiser, state, examples.contexts, examples.targets, rows, np.full(len(rows), 0.1))
        return time.process_time() - start

    pairs = [(whole(), alone()) for _ in range(rounds)]
    median = statistics.median
    return {
        "command": STEPS / median(a for a, _ in pairs),
        "engine": STEPS / median(b for _, b in pairs),
        "share": median(b / a for a, b in pairs),
    }


def asked(run: str, count: int, folder: str) -> Iterator[tuple[str, Spent]]:
    """Drawing, scoring and judging so many words."""
    drawn = lettrine("sample", run, "-n", str(count))
    yield "sample", drawn
    words = Path(folder) / "drawn.txt"
    words.write_text(drawn.output)
    yield "score --file -", lettrine("score", run, "--file", "-", given=words)
    yield "eval", lettrine("eval", run, str(words))


def start_up(run: str, rounds: int) -> dict[str, float]:
    """`lettrine sample RUN -n 20` beside `import torch`, whole processes in turns; and `lettrine --help`."""
    rows = [
        (lettrine("sample", run, "-n", "20"), spent(sys.executable, "-c", "import torch"), lettrine("--help"))
        for _ in range(rounds + 1)
    ][1:]  # the first of each reads the disk, and compiles
    median = statistics.median
    return {
        "sample": median(a.processor for a, _, _ in rows),
        "import torch": median(b.processor for _, b, _ in rows),
        "help": median(c.processor for _, _, c in rows),
        "share": median(a.processor / b.processor for a, b, _ in rows),
    }


def show_steps(words: Path, rounds: int) -> dict[str, Any]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:  # apart: a child begins with the memory of its parent
        row = pool.apply(steps_a_second, (words, rounds))
    print(f"the published net, {STEPS:,} steps: {row['command']:,.0f} a second, its engine alone {row['engine']:,.0f}", end="; ")
    print(f"share {row['share']:.3f}, wanted 0.95", flush=True)
    return {"steps": row}


def show_losses(words: Path, folder: str) -> dict[str, Any]:
    results = {}
    for loss, (allowed, typed) in GOALS.items() if words == NAMES else ():
        result, run = trained(words, typed, f"{folder}/{loss}")
        results[f"loss {loss}"] = {"test": result["loss"]["test"], **run._asdict(), "output": ""}
        reached = f"test loss {result['loss']['test']:.4f} in {run.processor:.1f} s"
        print(f"{reached}, wanted {loss} in {allowed} s: lettrine train names.txt {typed}".rstrip(), flush=True)
    return results


def show_memory(lists: list[Path], folder: str) -> dict[str, Any]:
    results = {}
    for path in lists:
        own = f"{folder}/memory-{path.stem}"
        _, run = trained(path, "", own)
        files = sizes(own)
        results[f"memory of {path.name}"] = {**run._asdict(), "output": "", "files": files}
        print(f"training on {path.name}: {run.processor:.1f} s, {run.peak:.0f} MB at most", end="; ")
        print(f"the run has {sum(files.values()):.1f} MB")
        print("    " + ", ".join(f"{name} {size:.1f}" for name, size in files.items()), flush=True)
    return results


def show_asking(run: str, count: int, folder: str) -> dict[str, Any]:
    results = {}
    for what, used in asked(run, count, folder):
        results[what] = {**used._asdict(), "output": ""}
        speed = count / used.processor
        minute = f"{60 * speed / 1e6:.1f} million a minute"
        print(f"{what}: {speed:,.0f} words a second ({minute}), {used.peak:.0f} MB at most", flush=True)
    return results


def show_start(run: str, rounds: int) -> dict[str, Any]:
    row = start_up(run, rounds)
    print(f"lettrine sample RUN -n 20: {row['sample']:.2f} s, import torch: {row['import torch']:.2f} s", end="; ")
    print(f"share {row['share']:.3f}, wanted at most 0.15; lettrine --help: {row['help']:.2f} s")
    return {"start": row}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART")
    parser.add_argument("--lists", nargs="+", type=Path, default=[NAMES])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--words", type=int, default=1_000_000, help="how many to draw, score and judge")
    parser.add_argument("--run")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    parts = options.parts or PARTS
    if not set(parts) <= set(PARTS):
        parser.error(f"there is no part {' '.join(set(parts) - set(PARTS))}; there are {', '.join(PARTS)}")
    if not all(path.exists() for path in options.lists):
        print(f"skipped: {', '.join(map(str, options.lists))} is not at hand")
        return
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        words, chosen = options.lists[0], options.run or f"{folder}/run"
        if set(parts) - {"steps"}:
            lettrine("train", "--steps", "1", "--no-report", "--out", f"{folder}/warm")  # compiles to bytecode
        if not options.run and {"asking", "start"} & set(parts):
            trained(words, "", chosen)
        work: dict[str, Callable[[], dict[str, Any]]] = {
            "steps": lambda: show_steps(words, options.rounds),
            "losses": lambda: show_losses(words, folder),
            "memory": lambda: show_memory(options.lists, folder),
            "asking": lambda: show_asking(chosen, options.words, folder),
            "start": lambda: show_start(chosen, 3 * options.rounds),
        }
        for part in parts:
            results |= work[part]()
    if options.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
