"""Words of every script and every length: trained on, kept, drawn, scored and found again exactly, in memory that stays sane."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tracemalloc
import unicodedata
from pathlib import Path

import pytest

import lettrine
from lettrine.cli.app import main
from lettrine.engine.base import Optimiser
from lettrine.engine.choice import native_built
from lettrine.errors import VocabularyError, WordListError
from lettrine.inference.sampling import MAX_LENGTH
from lettrine.text.words import read_words
from lettrine.training.api import Shape
from lettrine.training.folder import load_splits
from lettrine.training.settings import Settings

SHAPE = Shape(context=3, embedding=4, hidden=(12,))
ENGINES = [
    "reference",
    pytest.param("native", marks=pytest.mark.skipif(not native_built(), reason="no compiler built the native engine here")),
]

# A few words of each; repeated below until they can be split.
# ruff: noqa: RUF001 - letters that look alike are the point
TEXTS = {
    "latin with marks": "hélène naïve žluťoučký İstanbul ſtraße ﬁn Ǆ",
    "combining marks alone": "a\u0301\u0323 e\u0302\u0301 q\u0307\u0323 \u0301 \u0323\u0301",
    "greek and cyrillic": "φῶς Ωμέγα ёлка Київ ꙗко",
    "right to left": "שלום עִבְרִית سلام مُحَمَّد ނިކަ ܫܠܡܐ",
    "marks of direction": "a\u200fb \u202egnirts\u202c \u2066x\u2069 שלום\u200e1",
    "brahmic": "नमस्ते क्ष्म தமிழ் বাংলা ไทยน้ำ မြန်မာ ខ្មែរ བོད",
    "han and kana": "漢字 かな カタカナ ㍿ 𠀀𠀁 﨑",
    "hangul, whole and in letters": "한국어 ᄒ\u1161ᆫ 가각",
    "joiners": "👩\u200d👩\u200d👧 🏳\ufe0f\u200d🌈 👍🏽 🇫🇷 1\ufe0f\u20e3 می\u200cخواهم",
    "tags": "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f 🏴",
    "beyond the first plane": "𝔞𝔟𝔠 𐍈𐌰 𒀀𒁀 𓀀𓁀 𞤀𞤁",
    "unassigned and private": "\ue000\uf8ff \U0010fffd\U0010ffff \u0378\ufdd0",
    "ethiopic, georgian, cherokee": "ሰላም საქართველო ᏣᎳᎩ ⵣⴰⵎ",
    "signs": "... ·· ␃ '-' a.b «x» {} [] \\\\ \"\" ## %% \u00ad",
    "spaces of every kind": "a\u00a0b a\u3000b a\u2009b a\u1680b a\u200bb",
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", TEXTS)
def test_every_script_is_kept_exactly(tmp_path: Path, name: str, engine: str) -> None:
    words = [word for word in TEXTS[name].split(" ") if len(word) > 0] * 12
    settings = Settings(steps=60, batch=16, engine=engine, optimiser=Optimiser("adamw"), learning_rate=0.05)
    run = lettrine.train(words, out=tmp_path / "run", shape=SHAPE, settings=settings)
    clean = [unicodedata.normalize("NFC", word) for word in words]
    splits = load_splits(run)
    assert sorted(word for part in splits for word in part) == sorted(clean)
    again = lettrine.load(tmp_path / "run", engine=engine)
    assert again.model.vocabulary == run.model.vocabulary
    drawn = again.sample(50, seed=1)
    assert drawn == run.sample(50, seed=1)
    assert set("".join(drawn)) <= set("".join(clean))
    for word, score in zip(clean, again.model.score(clean), strict=True):
        assert "".join(character for character, _ in score.characters[:-1]) == score.word == word
        assert score.log_likelihood < 0


@pytest.mark.parametrize("name", TEXTS)
def test_every_script_goes_through_the_command_line(tmp_path: Path, name: str, capsys) -> None:
    path = tmp_path / "words.txt"
    path.write_text("\n".join(TEXTS[name].split(" ") * 12), encoding="utf-8")
    quick = ["--context", "3", "--embedding", "4", "--hidden", "12", "--steps", "30", "--no-report"]
    assert main(["train", str(path), "--out", str(tmp_path / "run"), *quick]) == 0
    assert main(["sample", str(tmp_path / "run"), "-n", "20"]) == 0
    assert main(["eval", str(tmp_path / "run")]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("engine", ENGINES)
def test_words_of_thousands_of_characters(tmp_path: Path, engine: str) -> None:
    rng = random.Random(0)  # noqa: S311 - words, not secrets
    longest = 10_000 if engine == "native" else 2_000  # numpy takes a minute for more
    words = ["".join(rng.choices("abcdefgh", k=longest)) for _ in range(12)]
    tracemalloc.start()
    try:
        settings = Settings(steps=20, batch=16, eval_every=20, engine=engine)
        run = lettrine.train(words, out=tmp_path / "run", shape=SHAPE, settings=settings)
        count = 50 if engine == "native" else 5
        drawn = run.sample(count)
        assert max(map(len, run.sample(5, max_length=200))) <= 200
        assert max(map(len, drawn)) <= 20_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(drawn) == count
    assert peak < 200e6, f"{peak / 1e6:.0f} MB"
    assert run.model.score(words[:1])[0].word == words[0]
    assert lettrine.load(tmp_path / "run").data.longest == longest


def test_many_long_words_are_drawn_in_bounded_memory(few_words) -> None:
    """4,096 words of up to 100,000 characters side by side would take gigabytes of random numbers alone."""
    run = lettrine.train(few_words, shape=SHAPE, settings=Settings(steps=200, batch=16, engine="auto"))
    plain = run.sample(300, max_length=60)
    tracemalloc.start()
    try:
        long = run.sample(300, max_length=MAX_LENGTH)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 150e6, f"{peak / 1e6:.0f} MB"
    assert len(long) == 300
    assert len(plain) == 300


def test_words_do_not_depend_on_how_many_are_drawn_at_a_time(few_words, monkeypatch) -> None:
    run = lettrine.train(few_words, shape=SHAPE, settings=Settings(steps=200, batch=16, engine="reference"))
    many = run.sample(100, max_length=20)
    monkeypatch.setattr("lettrine.inference.source.NUMBERS", 7 * run.model.vocabulary.size)
    assert run.sample(100, max_length=20) == many


def test_a_word_longer_than_samples_may_be(tmp_path: Path, capsys) -> None:
    """The longest word sets how long new ones may become, but not without bound."""
    path = tmp_path / "words.txt"
    path.write_text("\n".join(["ab" * 60_000, *["ab", "ba", "aab", "b"] * 10]))
    quick = ["--context", "2", "--embedding", "2", "--hidden", "4", "--steps", "300", "--batch", "64", "--no-health"]
    assert main(["train", str(path), "--out", str(tmp_path / "run"), *quick]) == 0
    assert "new words:" in capsys.readouterr().out


MEASURE = """
import random, resource, sys
import lettrine
from lettrine.training.api import Shape
from lettrine.training.settings import Settings

characters = [chr(0x4E00 + i) for i in range(20_000)]
random.Random(0).shuffle(characters)
words = [a + b + c for a, b, c in zip(characters[::3], characters[1::3], characters[2::3])] + characters[-2:]
lettrine.train(words[:50], shape=Shape(), settings=Settings(steps=1, engine=sys.argv[1])).sample(1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
settings = Settings(steps=10, batch=64, eval_every=10, learning_rate=0.3, engine=sys.argv[1])
run = lettrine.train(words, shape=Shape(2, 8, (16,)), settings=settings)
assert run.model.config.vocabulary_size == 20_001
assert len(run.sample(300, max_length=6)) == 300
assert len(run.sample(100, max_length=9, top_k=50, top_p=0.99)) == 100
assert run.model.score(words[:20])
assert run.health is not None
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("engine", ENGINES)
def test_a_vocabulary_of_twenty_thousand_characters(engine: str) -> None:
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, engine], capture_output=True, text=True, check=True, env=environment, timeout=200
    )
    assert int(done.stdout) * 1024 < 600e6, f"{int(done.stdout) / 1024:.0f} MB"


@pytest.mark.parametrize("engine", ENGINES)
def test_a_list_of_one_word_repeated(tmp_path: Path, engine: str, capsys) -> None:
    run = lettrine.train(["anna"] * 100, out=tmp_path / "run", shape=SHAPE, settings=Settings(steps=300, engine=engine))
    assert set(run.sample(20, temperature=0.2)) == {"anna"}
    assert run.results.loss["test"] < 0.1
    assert main(["sample", str(tmp_path / "run"), "--new", "--unique", "--temperature", "0.05"]) == 0
    assert "the model hardly writes others" in capsys.readouterr().err
    with pytest.raises(WordListError, match="too few"):
        lettrine.train(read_words(tmp_path / "run" / "words.txt", unique=True))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_vocabulary_of_two(engine: str) -> None:
    run = lettrine.train(["ab", "ba", "aab", "bb"] * 10, shape=SHAPE, settings=Settings(steps=50, engine=engine))
    assert run.model.config.vocabulary_size == 3
    assert set("".join(run.sample(50))) == {"a", "b"}
    with pytest.raises(VocabularyError, match="leaves nothing to learn"):
        lettrine.train(["a", "aa"] * 10)
