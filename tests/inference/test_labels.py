"""Words with labels: drawn under one, several or any, with the model's own probabilities; scored under one or any."""

from __future__ import annotations

import json
from itertools import product

import numpy as np
import pytest
from edits import edits
from test_exact_sampling import chi_square

import lettrine
from lettrine.cli.app import main
from lettrine.engine.reference import ReferenceEngine
from lettrine.errors import ConfigError, WordListError
from lettrine.inference import source
from lettrine.inference.language_model import LanguageModel
from lettrine.model.config import MLPConfig
from lettrine.model.initialisation import SCHEMES, initialise
from lettrine.text.labels import labelled, parse_shares, read_labelled, sign_of, signs
from lettrine.text.vocabulary import Vocabulary
from lettrine.text.words import from_words
from lettrine.training.api import Shape
from lettrine.training.folder import load_run
from lettrine.training.settings import Settings

LABELS = ("x", "y")
LONGEST = 4
WORDS = ["".join(letters) for length in range(1, LONGEST + 1) for letters in product("abc", repeat=length)]


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    config = MLPConfig(vocabulary_size=6, context=2, embedding=3, hidden=(6,))
    parameters = initialise(config, SCHEMES["kaiming"], np.random.default_rng(1))
    parameters["output.weight"] *= 15
    vocabulary = Vocabulary(tuple("abc") + tuple(signs(2)))
    return LanguageModel(config, vocabulary, parameters, ReferenceEngine(), labels=LABELS)


def chance(model: LanguageModel, label: str, word: str) -> float:
    context, total = [0] * model.context, 1.0
    for index in [*model.vocabulary.encode(sign_of(label, LABELS) + word), 0]:
        total *= float(model.probabilities(np.array([context], np.int32))[0, index])
        context = [*context[1:], index]
    return total


@pytest.mark.parametrize("seldom", [0.0, 2.0], ids=["whole", "tree"])
@pytest.mark.parametrize("wishes", [{}, {"prefix": "b"}, {"suffix": "a", "without": "c"}, {"like": "ab", "near": 1}], ids=str)
@pytest.mark.parametrize("label", ["", "x", "y", "x=1,y=3"])
def test_words_of_labels_come_as_often_as_the_model_says(model, label, wishes, seldom, monkeypatch) -> None:
    monkeypatch.setattr(source, "SELDOM", seldom)
    monkeypatch.setattr(source, "FIRST_LOOK", 64)
    words = model.sample(4000, label=label, max_length=LONGEST, seed=2, **wishes)
    possible = [
        w
        for w in WORDS
        if w.startswith(wishes.get("prefix", ""))
        and w.endswith(wishes.get("suffix", ""))
        and not set(w) & set(wishes.get("without", ""))
        and edits(w, wishes.get("like", w)) <= 1
    ]
    each = {name: {w: chance(model, name, w) for w in possible} for name in LABELS}
    if label == "":
        expected = {w: sum(each[name][w] for name in LABELS) for w in possible}
    else:
        shares = parse_shares(label, LABELS)
        expected = {w: sum(share * each[name][w] / sum(each[name].values()) for name, share in shares.items()) for w in possible}
    assert chi_square(words, expected) < 4


def test_a_score_is_under_one_label_or_any(model) -> None:
    first = {
        name: float(model.probabilities(np.zeros((1, 2), np.int32))[0, model.vocabulary.encode(s)[0]])
        for name, s in zip(LABELS, signs(2), strict=True)
    }
    for word in ("ab", "cab", "b"):
        joint = {name: chance(model, name, word) for name in LABELS}
        for name in LABELS:
            assert model.score([word], name)[0].log_likelihood == pytest.approx(np.log(joint[name] / first[name]), rel=1e-5)
        whole = model.score([word])[0]
        assert whole.log_likelihood == pytest.approx(np.log(sum(joint.values()) / sum(first.values())), rel=1e-5)
        assert whole.labels == pytest.approx({name: joint[name] / sum(joint.values()) for name in LABELS}, rel=1e-5)
        assert sum(p for _, p in whole.characters) == pytest.approx(whole.log_likelihood)
        assert [c for c, _ in whole.characters] == [*word, "."]
        (many,) = model.score_many([word, "a"])
        assert many.log_likelihood[0] == pytest.approx(whole.log_likelihood)


@pytest.fixture(scope="module")
def table(tmp_path_factory, few_words):
    path = tmp_path_factory.mktemp("labels") / "names.csv"
    rows = [f"{word},{'front' if word[0] < 'k' else 'back'}\n" for word in few_words]
    path.write_text("name,half\n" + "".join(rows) + "zoe,\n", encoding="utf-8")
    return path


def test_a_labelled_table_from_the_command_line(table, tmp_path, few_words, capsys) -> None:
    out = str(tmp_path / "run")
    quick = ["--context", "4", "--embedding", "6", "--hidden", "32", "--steps", "800", "--batch", "32", "--no-report"]
    assert main(["train", str(table), "--column", "name", "--labels", "half", "--out", out, *quick]) == 0
    shown = capsys.readouterr()
    assert "1 rows have no label" in shown.err
    assert not set(shown.out) & set(signs(32))
    run = load_run(out)
    assert run.data.labels == ("back", "front")
    assert run.data.longest == max(map(len, few_words))
    for label, early in (("front", True), ("back", False)):
        words = run.sample(200, label=label, new=True)
        assert not set(words) & set(few_words)
        assert np.mean([(word[0] < "k") == early for word in words]) > 0.9
    assert not set("".join(run.sample(500))) & set(signs(32))
    mixed = run.sample(400, label="front=3,back=1")
    assert np.mean([word[0] < "k" for word in mixed]) == pytest.approx(0.75, abs=0.08)
    assert mixed[:50] == run.sample(50, label="front=3,back=1")
    assert main(["score", out, "anna", "--json"]) == 0
    (score,) = json.loads(capsys.readouterr().out)["scores"]
    assert score["labels"]["front"] > 0.9
    assert main(["eval", out]) == 0
    assert main(["eval", out, str(table), "--column", "name", "--label", "front"]) == 0
    capsys.readouterr()
    for wrong, what in (
        (["sample", out, "--label", "middle"], "no label 'middle'; expected one of 'back', 'front'"),
        (["sample", out, "--label", "back=0"], "with their shares"),
        (["sample", out, "--label", "back=x"], "with their shares"),
        (["eval", out, str(table), "--column", "name"], "expected --label"),
        (["train", str(table), "--labels", "half"], "--column for its words"),
        (["train", str(table), "--column", "name", "--labels", "name"], "more than 32 labels"),
        (["train", "--labels", "half"], "--labels got no file"),
    ):
        assert main(wrong) == 2
        assert what in capsys.readouterr().err


def test_several_lists_are_learned_side_by_side(tmp_path, few_words, capsys) -> None:
    for name, part in (("a", few_words[:150]), ("b", few_words[150:])):
        (tmp_path / f"{name}.txt").write_text("\n".join(part), encoding="utf-8")
    paths = [str(tmp_path / "a.txt"), str(tmp_path / "b.txt")]
    assert main(["train", *paths, "--out", str(tmp_path / "run"), "--steps", "20", "--hidden", "8", "--no-report"]) == 0
    assert load_run(tmp_path / "run").data.labels == ("a", "b")
    capsys.readouterr()
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "a.txt").write_text("x\n")
    assert main(["train", *paths, str(tmp_path / "c" / "a.txt")]) == 2
    assert "two lists are named 'a'" in capsys.readouterr().err


def test_labels_in_python(few_words) -> None:
    settings = Settings(steps=20, health=False)
    run = lettrine.train({"one": few_words[:100], "two": few_words[100:]}, shape=Shape(hidden=(8,)), settings=settings)
    assert run.model.labels == ("one", "two")
    assert run.sample(5, label="two", new=True)
    plain = lettrine.train(few_words, shape=Shape(hidden=(8,)), settings=settings)
    with pytest.raises(ConfigError, match="trained without labels"):
        plain.sample(5, label="two")
    with pytest.raises(ConfigError, match="trained without labels"):
        plain.model.score(["anna"], "two")


def test_what_cannot_be_labelled(tmp_path) -> None:
    with pytest.raises(WordListError, match="1 label: 'one'; expected 2 to 32"):
        labelled({"one": from_words(["ab"])})
    with pytest.raises(WordListError, match="noncharacters"):
        labelled({"one": from_words(["ab"]), "two": from_words(["\ufdd0a"])})
    with pytest.raises(WordListError, match="can be printed"):
        labelled({"one": from_words(["ab"]), "two\x1b": from_words(["ba"])})
    (tmp_path / "t.csv").write_text("w,l\na,x\n\x1b,y\n")
    with pytest.raises(WordListError, match="row 3"):
        read_labelled(tmp_path / "t.csv", "w", "l")
