"""New words of ten lists, as the table of docs/words.md shows them: `python benchmarks/new_words.py [--read 200]`.

Each list is trained with nothing else given. Words of the table are those of

    lettrine sample RUN -n 10 --new --unique --not-near 1

Of 1,000 words of `--new` the table tells how many have a capital behind a small letter, where the list has none, and how many
are one edit away from a word of the list. --read prints so many words of each list, to be read.
"""

from __future__ import annotations

import argparse
import sys
from itertools import pairwise
from typing import Final

import lettrine
from lettrine.errors import LettrineError
from lettrine.inference.nearness import near_words
from lettrine.text.words import WordList
from word_lists import TUNED, UNSEEN

LISTS: Final = (
    "first-names",
    "names",
    "dinosaurs",
    "plants",
    "towns",
    "tolkien",
    "countries",
    "civil-code",
    "fr-30000",
    "ru-10000",
)
SHOWN: Final = 10
LOOKED_AT: Final = 1_000
HEADER: Final = "| list | words | capitals inside | one edit away | new words |\n|---|---|---|---|---|"


def odd(word: str) -> bool:
    """Whether a capital follows a small letter."""
    return any(a.islower() and b.isupper() for a, b in pairwise(word))


def row(name: str, words: WordList, read: int = 0) -> str:
    """The row of one list; with `read`, so many of its words instead."""
    run = lettrine.train(words, settings=lettrine.Settings(health=False))
    if read:
        return f"{name}: {' · '.join(run.sample(read, new=True))}\n"
    drawn = run.sample(LOOKED_AT, new=True)
    inside = "-" if any(map(odd, words)) else f"{sum(map(odd, drawn)) / len(drawn):.1%}".replace("%", " %")
    near = near_words(set(words), 1)(drawn).mean()
    shown = ", ".join(run.sample(SHOWN, new=True, unique=True, not_near=1))
    return f"| {name} | {len(words):,} | {inside} | {near:.0%} | {shown} |".replace("%", " %").replace("  %", " %")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--read", type=int, default=0)
    parser.add_argument("--lists", nargs="*", default=LISTS)
    asked = parser.parse_args()
    if not asked.read:
        print(HEADER)
    for name in asked.lists:
        try:
            print(row(name, {**TUNED, **UNSEEN}[name](), asked.read), flush=True)
        except (LettrineError, OSError) as error:
            print(f"left out: {name}: {error}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
