"""Word lists that are shipped or come from packages."""

from __future__ import annotations

import builtins
import importlib.util
import runpy
import unicodedata
from pathlib import Path

import pytest

from lettrine.errors import ConfigError, MissingExtraError
from lettrine.text import corpora
from lettrine.text.corpora import LANGUAGES, list_corpora, load_corpus

ALLOWED = "'\u2019-\u2010\u00b7\u200c\u200d"
needs_wordfreq = pytest.mark.skipif(importlib.util.find_spec("wordfreq") is None, reason="wordfreq is not installed")


def test_first_names_are_the_census():
    names = load_corpus("first-names")
    assert len(names) == 5_163
    assert names.words[:5] == ("james", "john", "robert", "michael", "mary")  # the most frequent of 1990
    assert set("".join(names)) == set("abcdefghijklmnopqrstuvwxyz")
    assert (names.repeated, names.blank, names.source) == (0, 0, "first-names")
    assert names.digest == "b42407ecffba74c3bc7c25b867b96064e74196b806ccac741be8f5221c6523ff"
    assert load_corpus("first-names", top=100).words == names.words[:100]


def test_the_shipped_list_is_what_the_script_builds():
    package = importlib.util.find_spec("names")
    if package is None:
        pytest.skip("the package `names`, from which the list is built, is not installed")
    script = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "build_first_names.py"))
    assert tuple(script["first_names"](Path(package.origin).parent)) == load_corpus("first-names").words


@pytest.mark.parametrize("name", corpora.SHIPPED)
def test_every_shipped_list_is_whole_and_says_where_it_comes_from(name):
    words = load_corpus(name)
    assert len(set(words)) == len(words) > 1
    (info,) = (info for info in list_corpora() if info.name == name)
    assert (info.size, info.available) == (len(words), True)
    told = (Path(corpora.__file__).parent / "data" / f"{name}.provenance.md").read_text()
    assert told.startswith(f"# {name}.txt\n")
    assert "- Data: " in told


@needs_wordfreq
@pytest.mark.parametrize("code", ["fr", "en", "ar", "hi", "vi", "zh", "ja", "ko"])
def test_frequent_words_are_words(code):
    words = load_corpus(f"words:{code}", top=2000)
    assert len(words) == 2000
    assert words.source == f"words:{code}"
    assert not any(unicodedata.category(c)[0] in "NSPZC" for w in words for c in w if c not in ALLOWED)
    assert load_corpus(f"words:{code}", top=10).words == words.words[:10]


@needs_wordfreq
def test_frequent_words_come_first_and_keep_their_apostrophes():
    assert load_corpus("words:fr", top=4).words == ("de", "la", "le", "et")
    assert "aujourd'hui" in load_corpus("words:fr", top=1000).words
    assert "\u200c" not in load_corpus("words:fa", top=1000).words  # the joiner alone is among the most frequent tokens
    assert "novel·la" in load_corpus("words:ca", top=20_000).words


@needs_wordfreq
def test_the_languages_are_those_wordfreq_has():
    from wordfreq import available_languages  # noqa: PLC0415  an extra

    assert set(LANGUAGES) == set(available_languages())


def test_the_listing_has_every_corpus():
    listed = list_corpora()
    assert listed[0].name == "first-names"
    assert listed[0].size == 5_163
    assert listed[0].available
    assert {info.name for info in listed} == {*corpora.SHIPPED, *(f"words:{code}" for code in LANGUAGES)}
    assert len(listed) > 40
    assert all(info.description and info.provenance for info in listed)


def test_without_wordfreq_the_extra_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **options):
        if name == "wordfreq":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setattr(corpora, "find_spec", lambda _name: None)
    with pytest.raises(MissingExtraError, match=r"words:fr needs .* pip install .*\[corpora\]'"):
        load_corpus("words:fr")
    assert {info.name for info in list_corpora() if info.available} == set(corpora.SHIPPED)
    assert len(load_corpus("first-names")) == 5_163


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("first-name", "did you mean first-names"),
        ("names", "did you mean first-names"),
        ("fr", "did you mean words:fr"),
        ("words:french", "did you mean words:fr"),
        ("Francais", "words:fr"),
        ("words:", "words:fr"),
        ("../../etc/passwd", "expected first-names"),
        ("\x1b[31m", "expected first-names"),
        ("", "expected first-names"),
    ],
)
def test_an_unknown_corpus_is_answered_with_what_is_near(name, expected):
    with pytest.raises(ConfigError) as caught:
        load_corpus(name)
    assert expected in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("top", [0, -3, 1.5, "10", True])
def test_top_is_a_whole_number_from_one(top):
    with pytest.raises(ConfigError, match="top got"):
        load_corpus("first-names", top=top)
