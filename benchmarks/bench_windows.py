"""Words to examples at size: seconds, and peak memory beside the bytes of what is returned.

    python benchmarks/bench_windows.py [--words 1000000] [--read 5000000] [--context 8] [--repeat 3] [--json]

Each measurement runs in a process of its own. Peak memory is how far that process's largest resident set
(ru_maxrss) lies above what it held when its input was ready. Linux only.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lettrine.inference.counts import baselines
from lettrine.text.corpora import load_corpus
from lettrine.text.vocabulary import Vocabulary
from lettrine.text.windows import windows
from lettrine.text.words import read_words


def invent(count: int) -> tuple[str, ...]:
    """Words made of halves of census names, so that lengths and letters are those of names."""
    names = load_corpus("first-names").words
    rng = random.Random(1)  # noqa: S311  words to measure with, not secrets
    starts, ends = [n[: len(n) // 2] for n in names], [n[len(n) // 2 :] for n in names]
    return tuple(a + b for a, b in zip(rng.choices(starts, k=count), rng.choices(ends, k=count), strict=True))


def measured(work: Callable[[], tuple[Any, int]]) -> dict[str, float]:
    """One call of `work`, which returns (result, bytes of it)."""
    before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    start = time.perf_counter()
    _result, returned = work()
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    return {"seconds": seconds, "returned_mb": returned / 1e6, "peak_mb": peak / 1e6, "factor": peak / returned}


def bench_windows(count: int, context: int) -> dict[str, float]:
    words = invent(count)
    vocabulary = Vocabulary.from_words(words[:10_000])

    def work() -> tuple[Any, int]:
        made = windows(words, vocabulary, context)
        return made, made.contexts.nbytes + made.targets.nbytes

    return measured(work)


def bench_read(path: str) -> dict[str, float]:
    def work() -> tuple[Any, int]:
        words = read_words(path)
        return words, sum(map(sys.getsizeof, words.words)) + sys.getsizeof(words.words)

    return measured(work)


def bench_counts(count: int) -> dict[str, float]:
    words = invent(count)
    vocabulary = Vocabulary.from_words(words[:10_000])
    cut = count // 10 * 9
    train, dev = windows(words[:cut], vocabulary, 1).targets, windows(words[cut:], vocabulary, 1).targets
    return measured(lambda: (baselines(train, dev, vocabulary.size), train.nbytes + dev.nbytes))


def apart(function: Callable[..., dict[str, float]], *arguments: Any, repeat: int) -> dict[str, float]:
    """The median of `repeat` runs, each in a fresh process."""
    runs = []
    for _ in range(repeat):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            runs.append(pool.apply(function, arguments))
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", type=int, default=1_000_000)
    parser.add_argument("--read", type=int, default=5_000_000)
    parser.add_argument("--context", type=int, default=8)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = {
        f"windows of {options.words:,} words, T = {context}": apart(bench_windows, options.words, context, repeat=options.repeat)
        for context in sorted({3, options.context})
    }
    results[f"counts of {options.words:,} words"] = apart(bench_counts, options.words, repeat=options.repeat)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "words.txt"
        path.write_text("\n".join(invent(options.read)), encoding="utf-8")
        name = f"read {options.read:,} words ({path.stat().st_size / 1e6:.0f} MB)"
        results[name] = apart(bench_read, str(path), repeat=options.repeat)
    if options.json:
        print(json.dumps(results))
        return
    print(f"{'':42}{'seconds':>10}{'returned':>12}{'peak':>12}{'factor':>8}")
    for name, row in results.items():
        print(f"{name:42}{row['seconds']:>10.2f}{row['returned_mb']:>9.0f} MB{row['peak_mb']:>9.0f} MB{row['factor']:>8.2f}")


if __name__ == "__main__":
    main()
