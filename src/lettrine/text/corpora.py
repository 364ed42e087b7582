"""Word lists that come with lettrine, or with the optional package wordfreq. All of them work offline.

Those of SHIPPED are our own files, such as `first-names`: the given names of the 1990 US Census, the most frequent first.
`words:fr` and similar names are the most frequent words of a language, from wordfreq (Speer 2022). Its data are read directly:
none of its tokenisers for Chinese, Japanese or Korean is needed.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from itertools import islice
from typing import Final

from lettrine.arguments import checked
from lettrine.errors import ConfigError, MissingExtraError, quote
from lettrine.text.words import MAX_WORDS, WordList, from_words

FIRST_NAMES: Final = "first-names"
SHIPPED: Final = {
    FIRST_NAMES: ("given names of the 1990 US Census, the most frequent first", "US Census Bureau, public domain"),
}
"""By name: the content of data/NAME.txt, its origin and licence. data/NAME.provenance.md has the details."""
_PREFIX: Final = "words:"

# Asking wordfreq would need its import, and without it nothing could be listed; its data no longer change.
LANGUAGES: Final = {
    "ar": "Arabic", "bg": "Bulgarian", "bn": "Bengali", "ca": "Catalan", "cs": "Czech", "da": "Danish", "de": "German",
    "el": "Greek", "en": "English", "es": "Spanish", "fa": "Persian", "fi": "Finnish", "fil": "Filipino", "fr": "French",
    "he": "Hebrew", "hi": "Hindi", "hu": "Hungarian", "id": "Indonesian", "is": "Icelandic", "it": "Italian", "ja": "Japanese",
    "ko": "Korean", "lt": "Lithuanian", "lv": "Latvian", "mk": "Macedonian", "ms": "Malay", "nb": "Norwegian", "nl": "Dutch",
    "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sh": "Serbo-Croatian", "sk": "Slovak",
    "sl": "Slovenian", "sv": "Swedish", "ta": "Tamil", "tr": "Turkish", "uk": "Ukrainian", "ur": "Urdu", "vi": "Vietnamese",
    "zh": "Chinese",
}  # fmt: skip

# Besides letters and marks: apostrophes, hyphens, the point of Catalan "col·lega", and the joiners of Persian and Hindi.
_INSIDE_WORDS: Final = frozenset("'\u2019-\u2010\u00b7\u200c\u200d")


@dataclass(frozen=True)
class CorpusInfo:
    """A word list one can ask for.

    size: number of words, None if they are not counted before reading; provenance: origin and licence of the data;
    available: whether what it needs is installed.
    """

    name: str
    description: str
    size: int | None
    provenance: str
    available: bool


def list_corpora() -> tuple[CorpusInfo, ...]:
    """Every corpus, the shipped one first. Those of an extra that is not installed are listed as not available."""
    installed = find_spec("wordfreq") is not None
    shipped = (
        CorpusInfo(name, description, len(_shipped(name)), provenance, available=True)
        for name, (description, provenance) in SHIPPED.items()
    )
    languages = (
        CorpusInfo(f"{_PREFIX}{code}", f"{language} words, the most frequent first", None, "wordfreq, CC BY-SA 4.0", installed)
        for code, language in LANGUAGES.items()
    )
    return (*shipped, *languages)


@checked
def load_corpus(name: str, *, top: int | None = None) -> WordList:
    """The words of a corpus, the most frequent first.

    top: only this many words (or all, if there are fewer).

    Raises ConfigError for an unknown name or a `top` below 1, MissingExtraError if wordfreq is not installed.
    """
    if top is not None and top < 1:
        raise ConfigError(f"top got {top!r}; expected a whole number from 1")
    if name in SHIPPED:
        words: Iterator[str] = iter(_shipped(name))
    elif name.removeprefix(_PREFIX) in LANGUAGES and name.startswith(_PREFIX):
        words = _frequent_words(name.removeprefix(_PREFIX))
    else:
        raise ConfigError(f"there is no corpus {quote(name)}; {_advice(name)}")
    return from_words(islice(words, MAX_WORDS if top is None else min(top, MAX_WORDS)), source=name)


@cache
def _shipped(name: str) -> tuple[str, ...]:
    return tuple((files("lettrine.text") / "data" / f"{name}.txt").read_text(encoding="utf-8").split())


def _frequent_words(code: str) -> Iterator[str]:
    try:
        from wordfreq import iter_wordlist  # noqa: PLC0415  an extra, and a third of a second to import
    except ImportError:
        raise MissingExtraError(f"the corpus {_PREFIX}{code}", "corpora") from None
    return filter(_is_word, iter_wordlist(code))


def _is_word(token: str) -> bool:
    """Whether a token consists of letters and signs between letters: no digits, no emoji, no URL."""
    kinds = [unicodedata.category(character)[0] for character in token]
    return "L" in kinds and all(kind in "LM" or character in _INSIDE_WORDS for kind, character in zip(kinds, token, strict=True))


def _advice(name: str) -> str:
    """The corpora with a name, language or code similar to the given one."""
    wanted = name.lower().removeprefix(_PREFIX)
    known = {**{shipped: shipped for shipped in SHIPPED}, "names": FIRST_NAMES}
    known |= {key: _PREFIX + code for code, language in LANGUAGES.items() for key in (code, language.lower())}
    close = dict.fromkeys(known[match] for match in get_close_matches(wanted, known, n=3, cutoff=0.6))
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"expected {FIRST_NAMES}, or {_PREFIX} and a language such as {_PREFIX}fr; `lettrine corpora` lists them all"
