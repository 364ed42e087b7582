"""Words that beat counting: test loss of the default training beside every count, list by list.

    python benchmarks/bench_words.py [--lists names fr-30000 ...] [--effort default] [--json]

Lists marked * are those on which the rule of `lettrine.training.sizes` was found; the others were first looked at when
it was fixed. Seconds are of the processor, for the whole training. Lists that are not at hand are left out, and named.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import lettrine
from lettrine.errors import LettrineError
from lettrine.inference.comparison import COUNTED, compare_with_counts
from lettrine.text.corpora import load_corpus
from lettrine.text.words import WordList, from_words, read_words, split
from lettrine.training.settings import Settings

DATA = Path(__file__).parents[1].parent / "shared" / "data"
DICTIONARIES = Path("/usr/share/dict")
ENOUGH = 300  # words of a list on which the model must be no worse than counting
ALLOWED = 0.03  # nats that it may be worse by on smaller ones


def names(count: int = 0) -> WordList:
    """The published names, or some of them."""
    words = list(read_words(DATA / "names.txt").words)
    if count:
        random.Random(1).shuffle(words)  # noqa: S311  words to measure with, not secrets
    return from_words(words[:count] if count else words)


def frequent(language: str, count: int) -> Callable[[], WordList]:
    """The most frequent words of a language."""
    return lambda: load_corpus(f"words:{language}", top=count)


def kept(name: str) -> Callable[[], WordList]:
    """One of the lists at hand."""
    return lambda: read_words(DATA / name)


def dictionary(name: str) -> Callable[[], WordList]:
    """A dictionary of the system's, such as Debian's packages wfrench and wamerican bring."""
    return lambda: from_words([word for word in (DICTIONARIES / name).read_text().split("\n") if word])


TUNED: dict[str, Callable[[], WordList]] = {
    "names": names,
    **{f"names-{count}": lambda count=count: names(count) for count in (300, 1000, 5000)},
    **{
        name: kept(f"lists/{file}.txt")
        for name, file in {
            "lovecraft": "lovecraft",
            "rivers": "rivers",
            "plants": "plants",
            "towns": "english_towns_cities",
            "dinosaurs": "dinosaurs",
        }.items()
    },
    **{
        f"{language}-{count}": frequent(language, count)
        for language, count in (("fi", 100), ("fr", 300), ("ru", 1000), ("fr", 3000), ("ru", 10_000), ("fr", 30_000))
    },
}
UNSEEN: dict[str, Callable[[], WordList]] = {
    "first-names": lambda: load_corpus("first-names"),
    "countries": kept("lists/countries_en.txt"),
    "cannabis": kept("lists/cannabis.txt"),
    "tolkien": kept("lists/tolkienCharacterNames.txt"),
    "civil-code": kept("civil_mots.txt"),
    **{
        f"{language}-{count}": frequent(language, count)
        for language, count in (
            ("en", 100),
            ("tr", 300),
            ("nl", 400),
            ("es", 500),
            ("el", 700),
            ("ar", 1000),
            ("en", 1500),
            ("pl", 2000),
            ("hi", 3000),
            ("ko", 5000),
            ("tr", 5000),
            ("sv", 8000),
            ("el", 10_000),
            ("ar", 20_000),
            ("it", 30_000),
            ("es", 50_000),
            ("pl", 100_000),
            ("en", 300_000),
        )
    },
    "american-english": dictionary("american-english"),
    "italian": dictionary("italian"),
    "french": dictionary("french"),
}


def measured(words: WordList, effort: str) -> dict[str, float]:
    """One training, and every loss on its test words."""
    began = time.process_time()
    run = lettrine.train(words, settings=Settings(effort=effort))
    seconds = time.process_time() - began
    parts = split(words.words)
    losses = {name: loss.nats for name, loss in compare_with_counts(run.model, parts.train, parts.dev, parts.test).items()}
    invented = run.sample(500, new=True)
    health = "none" if run.health is None else max((f.severity for f in run.health.findings), key=_rank, default="healthy")
    wrong = 0.0 if any(_odd(word) for word in words) else sum(map(_odd, invented)) / max(len(invented), 1)
    return {"words": len(words), "seconds": seconds, **losses, "health": health, "odd capitals": wrong}


def _odd(word: str) -> bool:
    """Whether a capital follows a small letter."""
    return any(a.islower() and b.isupper() for a, b in pairwise(word))


def _rank(severity: str) -> int:
    return ("healthy", "info", "warning", "critical").index(severity)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lists", nargs="*", default=[*TUNED, *UNSEEN])
    parser.add_argument("--effort", default="default")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rows, missed = {}, []
    if not asked.json:
        print("list                  words  CPU s  uniform  bigram trigram  kn      network  model  model-kn  health")
    for name in asked.lists:
        try:
            words = {**TUNED, **UNSEEN}[name]()
        except (LettrineError, OSError) as error:
            missed.append(f"{name}: {error}")
            continue
        row = rows[name] = measured(words, asked.effort)
        gap = row["model"] - row[COUNTED]
        row["beaten"] = gap <= (0.0 if len(words) >= ENOUGH else ALLOWED)
        if not asked.json:
            losses = "  ".join(f"{row[key]:.4f}" for key in ("uniform", "bigram", "trigram", COUNTED, "network alone", "model"))
            mark = "*" if name in TUNED else " "
            print(
                f"{name + mark:<20}{row['words']:>8,}  {row['seconds']:5.1f}  {losses}  {gap:+.4f}  {row['health']}"
                f"{'' if row['beaten'] else '  BEHIND'}",
                flush=True,
            )
    if asked.json:
        print(json.dumps(rows))
    for line in missed:
        print(f"left out: {line}", file=sys.stderr)
    return 0 if all(row["beaten"] for row in rows.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
