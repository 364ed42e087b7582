"""Words that beat counting: test loss of the default training beside every count, list by list.

    python benchmarks/bench_words.py [--lists names fr-30000 ...] [--effort default] [--markdown] [--json]

Lists marked * are those on which the rule of `lettrine.training.sizes` was found (`word_lists.py`). Seconds are of the
processor, for the whole training. Lists that are not at hand are left out, and named. Kneser-Ney's order, 2 to 10, and
discounts are those of least loss on the dev words. --markdown prints the tables of docs/sizes.md.
Ends with 1 where a list of 300 words and more is behind any count, or a
smaller one by more than 0.03 nats in the mean over ten splits: each leaves it a few test words only.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from itertools import pairwise
from typing import Any, Final

import numpy as np

import lettrine
from lettrine.errors import LettrineError
from lettrine.inference.counts import ORDERS
from lettrine.model.counting import count
from lettrine.text.windows import windows
from lettrine.text.words import WordList, split
from lettrine.training.settings import Settings
from word_lists import TUNED, UNSEEN

ENOUGH: Final = 300  # words of a list on which the model must be no worse than counting
ALLOWED: Final = 0.03  # nats that it may be worse by on smaller ones
SPLITS: Final = 10  # of such a small list, whose test words are three to thirty
INVENTED: Final = 500  # words looked at for odd capitals
COUNTED: Final = ("uniform", *ORDERS, "kneser-ney")


def measured(words: WordList, effort: str) -> dict[str, Any]:
    """Every loss on the test words: of one training, or, of a small list, the means over SPLITS splits."""
    seeds = [*range(SPLITS - 1)] if len(words) < ENOUGH else []
    rows = [_of_split(words, effort, seed) for seed in (42, *seeds)]
    row = {key: float(np.mean([each[key] for each in rows])) for key in rows[0] if key != "health"}
    gap = row["model"] - min(row[name] for name in COUNTED)
    beaten = gap <= (0.0 if len(words) >= ENOUGH else ALLOWED)
    health = max((each["health"] for each in rows), key=("healthy", "healthy as far as seen", "not judged", "not healthy").index)
    return {"words": len(words), **row, "gap": gap, "beaten": beaten, "health": health}


def _of_split(words: WordList, effort: str, seed: int) -> dict[str, Any]:
    began = time.process_time()
    run = lettrine.train(words, settings=Settings(effort=effort, split_seed=seed))
    seconds = time.process_time() - began
    if run.results is None:
        raise RuntimeError("nothing came out of the training")
    loss = run.results.loss
    parts, vocabulary = split(words.words, seed=seed), run.model.vocabulary
    train, dev = (windows(part, vocabulary, 1).targets for part in (parts.train, parts.dev))
    well = count(train, dev, vocabulary.size)
    test = windows(parts.test, vocabulary, well.order - 1)
    losses = {"uniform": loss["expected_initial"], **{order: loss[f"{order}_test"] for order in ORDERS}}
    losses["kneser-ney"] = float(-np.log(well.probability(test.contexts, test.targets)).mean())
    losses |= {"network": loss["network_test"], "model": loss["test"]}
    wrong = 0.0
    if not any(map(_odd, words)):
        invented = run.sample(INVENTED, new=True)
        wrong = sum(map(_odd, invented)) / max(len(invented), 1)
    health = "not judged" if run.health is None else run.health.verdict
    return {"seconds": seconds, **losses, "health": health, "odd capitals": wrong}


def _odd(word: str) -> bool:
    """Whether a capital follows a small letter."""
    return any(a.islower() and b.isupper() for a, b in pairwise(word))


LOSSES: Final = ("bigram", "trigram", "kneser-ney", "network", "model", "gap")


def _line(name: str, row: dict[str, Any]) -> str:
    """A row for the terminal."""
    losses = " ".join(f"{row[key]:>8.4f}" for key in LOSSES)
    behind = "" if row["beaten"] else "  BEHIND"
    return f"{name:<25}{row['words']:>9,} {row['seconds']:7.1f} {losses}  {row['health']}{behind}"


def _markdown(rows: dict[str, dict[str, Any]]) -> str:
    """The same as a table of Markdown, from the smallest list to the largest."""
    lines = [
        "| list | words | CPU s | trigram | Kneser-Ney | network alone | model | model - best count |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in sorted(rows.items(), key=lambda item: item[1]["words"]):
        losses = " | ".join(f"{row[key]:.4f}" for key in LOSSES[1:])
        lines.append(f"| {name} | {row['words']:,} | {row['seconds']:.1f} | {losses} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lists", nargs="*", default=[*TUNED, *UNSEEN])
    parser.add_argument("--effort", default="default")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rows, missed = {}, []
    if not (asked.json or asked.markdown):
        print(f"{'list':<25}{'words':>9} {'CPU s':>7} " + " ".join(f"{name[:8]:>8}" for name in LOSSES) + "  health")
    for name in asked.lists:
        try:
            words = {**TUNED, **UNSEEN}[name]()
        except (LettrineError, OSError) as error:
            missed.append(f"{name}: {error}")
            continue
        rows[name] = measured(words, asked.effort)
        if not (asked.json or asked.markdown):
            print(_line(name + "*" * (name in TUNED), rows[name]), flush=True)
    if asked.json:
        print(json.dumps(rows))
    if asked.markdown:
        for lists in (UNSEEN, TUNED):
            print(_markdown({name: row for name, row in rows.items() if name in lists}) + "\n")
    for line in missed:
        print(f"left out: {line}", file=sys.stderr)
    return 0 if all(row["beaten"] for row in rows.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
