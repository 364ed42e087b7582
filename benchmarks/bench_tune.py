"""Search against the default: test loss of `lettrine tune` beside that of `lettrine train`, list by list.

    python benchmarks/bench_tune.py [--lists names-300 ...] [--trials 8] [--json]

The lists are those of `word_lists.py` up to 7,500 words. Both are told nothing but the words; the search never sees the
test words. A small list has few of them: beside the losses stands the standard error of their difference, word by word.
Ends with 1 where the search is worse than the default by more than two of these.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

import lettrine
from lettrine.errors import LettrineError
from lettrine.inference.language_model import LanguageModel
from lettrine.search.tuned import Tuned
from lettrine.text.words import WordList, split
from lettrine.training.run import Run
from word_lists import TUNED, UNSEEN

MOST: Final = 7_500  # words of a list
SURE: Final = 2.0  # standard errors


def measured(words: WordList, trials: int) -> dict[str, Any]:
    """The losses of both on the test words, in nats per character, and what the search kept."""
    began = time.process_time()
    default = lettrine.train(words)
    trained = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        tuned = lettrine.tune(words, out=folder, trials=trials, jobs=1, page=False)
        seconds = time.process_time() - trained
        if default.results is None or tuned.run is None or tuned.run.results is None:
            raise RuntimeError("nothing came out of the training")
        return {
            "words": len(words),
            "train": default.results.loss["test"],
            "tune": tuned.run.results.loss["test"],
            "error": _error(default.model, tuned.run.model, split(words.words).test),
            "kept": _kept(default, tuned),
            "train_seconds": trained - began,
            "tune_seconds": seconds,
        }


def _kept(default: Run, tuned: Tuned) -> str:
    """What the search kept, in words."""
    if not tuned.kept_default:
        return f"trial {tuned.trial}"
    more = tuned.run is not None and len(tuned.run.model.others) > len(default.model.others)
    return "the default's settings, of more networks" if more else "the default"


def _error(one: LanguageModel, other: LanguageModel, words: Sequence[str]) -> float:
    """Standard error of the difference of two mean losses per character, over words: a ratio of sums, by the delta method."""
    lengths = np.array([len(word) + 1 for word in words])
    apart = np.array([[each.log_likelihood for each in model.score(words)] for model in (one, other)])
    apart = apart[0] - apart[1]
    rest = apart - lengths * apart.sum() / lengths.sum()
    return float(np.sqrt((rest**2).sum()) / lengths.sum())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lists", nargs="+", default=[])
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows: dict[str, dict[str, Any]] = {}
    for name, read in {**TUNED, **UNSEEN}.items():
        if given.lists and name not in given.lists:
            continue
        try:
            words = read()
        except (OSError, LettrineError) as error:
            print(f"{name:<22} left out: {error}", file=sys.stderr)
            continue
        if len(words) > MOST and not given.lists:
            continue
        row = rows[name] = measured(words, given.trials)
        print(
            f"{name:<22} {row['words']:>7,} train {row['train']:.4f} tune {row['tune']:.4f} +- {row['error']:.4f} "
            f"{row['tune_seconds']:5.0f} s  {row['kept']}",
            file=sys.stderr if given.json else sys.stdout,
            flush=True,
        )
    if given.json:
        print(json.dumps(rows, indent=2))
    worse = [name for name, row in rows.items() if row["tune"] > row["train"] + SURE * row["error"]]
    print(f"{len(rows)} lists, worse on {len(worse)}: {', '.join(worse) or '-'}", file=sys.stderr)
    return bool(worse)


if __name__ == "__main__":
    sys.exit(main())
