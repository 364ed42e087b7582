"""The lists that `bench_words` measures, by name, each read when it is asked for.

Those of TUNED found the rule of `lettrine.training.sizes`; nothing was tuned on those of UNSEEN. What is not at hand raises
`OSError` or a `LettrineError`. Languages are from wordfreq (the extra `corpora`); dictionaries are those of Debian's packages
wamerican, wamerican-insane, wbulgarian, wdutch, wesperanto, wfrench, wirish, witalian and wngerman, installed or unpacked; last
names are those of the package names.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Final, TypeAlias

from lettrine.text.corpora import load_corpus
from lettrine.text.words import WordList, from_words, read_words

Lists: TypeAlias = dict[str, Callable[[], WordList]]

DATA: Final = Path(__file__).parents[1].parent / "shared" / "data"
DICTIONARIES: Final = Path(os.environ.get("LETTRINE_DICTIONARIES", "/usr/share/dict"))
NAMES_PACKAGE: Final = Path(os.environ.get("LETTRINE_NAMES", ""))  # where the package names lies, if this Python does not have it


def names(count: int = 0) -> WordList:
    """The published names, or some of them."""
    words = list(read_words(DATA / "names.txt").words)
    if count:
        random.Random(1).shuffle(words)  # noqa: S311  words to measure with, not secrets
    return from_words(words[:count] if count else words)


def last_names() -> WordList:
    """The 88,799 last names of the 1990 US Census, as the package names brings them."""
    found = find_spec("names")
    folder = Path(found.origin).parent if found is not None and found.origin else NAMES_PACKAGE
    return from_words([line.split()[0] for line in (folder / "dist.all.last").read_text().splitlines() if line.strip()])


def frequent(language: str, count: int) -> Callable[[], WordList]:
    """The most frequent words of a language."""
    return lambda: load_corpus(f"words:{language}", top=count)


def kept(name: str) -> Callable[[], WordList]:
    """One of the lists at hand."""
    return lambda: read_words(DATA / name)


def dictionary(name: str, most: int = 0) -> Callable[[], WordList]:
    """A dictionary of Debian's; `most` of its words, drawn, where it has more."""

    def read() -> WordList:
        words = [word for word in (DICTIONARIES / name).read_text().split("\n") if word]
        if 0 < most < len(words):
            words = random.Random(1).sample(words, most)  # noqa: S311  words to measure with, not secrets
        return from_words(words)

    return read


TUNED: Final[Lists] = {
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
UNSEEN: Final[Lists] = {
    "names-30": lambda: names(30),
    "first-names": lambda: load_corpus("first-names"),
    "countries": kept("lists/countries_en.txt"),
    "cannabis": kept("lists/cannabis.txt"),
    "tolkien": kept("lists/tolkienCharacterNames.txt"),
    "civil-code": kept("civil_mots.txt"),
    "last-names": last_names,
    **{
        f"{language}-{count}": frequent(language, count)
        for language, count in (
            ("de", 30),
            ("ja", 50),
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
            ("zh", 50_000),
            ("pl", 100_000),
            ("ja", 100_000),
            ("en", 300_000),
            ("fr", 300_000),
            ("de", 300_000),
            ("fi", 700_000),
            ("ru", 700_000),
        )
    },
    **{
        name: dictionary(name)
        for name in ("irish", "american-english", "italian", "french", "ngerman", "dutch", "american-english-insane", "bulgarian")
    },
    "esperanto": dictionary("esperanto", 1_000_000),
}
