"""Network and counts together: what a run keeps, how it is sized, resumed, judged and refused where it is damaged."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import lettrine
from lettrine.errors import ConfigError, RunDamagedError
from lettrine.inference.mixture import ALONE, DOUBT, EVEN, PULL
from lettrine.text.corpora import load_corpus
from lettrine.training.beside import COUNTS, NETWORKS
from lettrine.training.folder import load_run
from lettrine.training.settings import Settings
from lettrine.training.shape import Shape
from lettrine.training.sizes import FEW, MANY, SMALL, Size, ladder, size_of, size_within

WORDS = load_corpus("first-names").words[:250]
SMALL_SHAPE = Shape(context=4, embedding=4, hidden=(8,))
QUICK = Settings(steps=30, batch=32, health=False, networks=3)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> lettrine.Run:
    return lettrine.train(WORDS, shape=SMALL_SHAPE, settings=QUICK, out=tmp_path_factory.mktemp("together") / "run", page=False)


def test_a_run_opened_again_answers_the_same(run) -> None:
    assert run.path is not None
    again = load_run(run.path)
    assert len(again.model.others) == 2
    assert again.model.prior is not None
    assert again.model.prior.weights == run.model.prior.weights
    assert again.sample(20, seed=4) == run.sample(20, seed=4)
    assert again.model.score(["anna"]) == run.model.score(["anna"])


def test_the_model_is_better_than_its_parts_on_dev(run) -> None:
    loss, examples = run.results.loss, run.data.examples["dev"]
    pulled = 0.5 * PULL * sum(each**2 for each in EVEN)  # nats in all: what the weights (1, 0) and (0, 1) are charged for
    assert loss["dev"] <= min(loss["network_dev"] + pulled / examples, loss["counts_dev"] + DOUBT / examples)
    assert run.model.prior.weights != ALONE
    assert loss["counts_test"] < loss["trigram_test"] < loss["bigram_test"]


def test_defaults_are_not_blamed_for_few_words_or_random_ones() -> None:
    rng = np.random.default_rng(1)
    letters = list("abcdefghijklmnopqrstuvwxyz")
    lists = [WORDS[24:36], ["".join(rng.choice(letters, 300)) for _ in range(40)]]
    for words in lists:  # known by heart; shuffled, long, and the loss rising over each pass
        health = lettrine.train(words, page=False).judged
        assert [finding.id for finding in health.findings if finding.severity != "info"] == []


def test_it_is_told_whose_loss_on_the_training_words_is_shown(run) -> None:
    assert run.meanings["train"] == "training words, one network alone"
    alone = lettrine.train(WORDS, shape=SMALL_SHAPE, settings=replace(QUICK, prior="none", networks=1), page=False)
    assert alone.meanings["train"] == "training words"
    assert "left out of the counts" in lettrine.train(WORDS, settings=Settings(model="counts"), page=False).meanings["train"]


def test_the_other_networks_differ_and_are_the_same_again(run, tmp_path: Path) -> None:
    again = lettrine.train(WORDS, shape=SMALL_SHAPE, settings=QUICK, out=tmp_path / "again", page=False)
    for one, other in zip(run.model.others, again.model.others, strict=True):
        assert all((one[name] == other[name]).all() for name in one)
    first, second = run.model.others
    assert (first["output.weight"] != second["output.weight"]).any()
    assert (first["output.weight"] != run.model.parameters["output.weight"]).any()


def test_without_prior_there_is_the_network_and_nothing_else(tmp_path: Path) -> None:
    alone = lettrine.train(
        WORDS, shape=SMALL_SHAPE, settings=replace(QUICK, prior="none", networks=0), out=tmp_path / "alone", page=False
    )
    assert alone.model.prior is None
    assert alone.model.others == ()
    assert not (tmp_path / "alone" / COUNTS).exists()
    engine, config = alone.model.engine, alone.model.config
    contexts = np.zeros((1, 4), np.int32)
    plain = engine.negative_log_likelihood(config, alone.model.parameters, contexts, np.zeros(1, np.int32))
    assert alone.model.losses(contexts, np.zeros(1, np.int32)) == plain


def test_counts_alone(tmp_path: Path) -> None:
    counted = lettrine.train(WORDS, settings=Settings(model="counts"), out=tmp_path / "counted", page=False)
    assert counted.results.steps == 0
    assert len(load_run(tmp_path / "counted").sample(5)) == 5
    assert counted.results.loss["train"] == pytest.approx(
        counted.results.loss["dev"], abs=0.25
    )  # each word left out of its counts
    with pytest.raises(ConfigError, match="finished"):
        lettrine.resume(tmp_path / "counted", page=False)


@pytest.mark.parametrize("name", [COUNTS, NETWORKS])
def test_damaged_parts_are_refused(run, tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(run.path, tmp_path / "copy"))
    arrays = load_file(folder / name)
    for key, value in arrays.items():
        spoilt = {**arrays, key: value[:-1]} if value.ndim else arrays
        save_file(spoilt, folder / name)
        with pytest.raises(RunDamagedError, match="train again"):
            load_run(folder)
    if name == COUNTS:
        for weights in ([np.nan, 0.5], [-1.0, 0.5], [0.5, 99.0], [0.5]):
            save_file({**arrays, "weights": np.array(weights)}, folder / name)
            with pytest.raises(RunDamagedError, match="weights"):
                load_run(folder)
        (folder / name).unlink()
        with pytest.raises(RunDamagedError):
            load_run(folder)


def test_an_older_run_without_a_word_of_counts_is_a_network() -> None:
    older = Settings.from_dict({"steps": 5, "batch": 32})
    assert (older.prior, older.networks, older.draw, older.patience) == ("none", 1, "replacement", 0)


def test_sizes_grow_with_the_words() -> None:
    few, middle, many = (size_of(n) for n in (SMALL - 1, FEW, 20 * MANY))
    assert few.dropout == middle.dropout == 0.5 > many.dropout
    assert few.passes == middle.passes > many.passes
    assert few.networks > middle.networks == 1
    assert sum(many.hidden) > sum(middle.hidden)
    for examples in (300, 5_000, FEW, MANY, 20 * MANY):
        rungs = ladder(examples)
        cost = [size.steps(examples) * size.networks * sum(size.hidden) for size in rungs]
        assert cost == sorted(cost)
        assert size_of(examples, "quick") == rungs[0]
        assert size_of(examples, "best").networks > 1


def test_time_chooses_the_size() -> None:
    def pace(size: Size) -> float:
        return 1e-6 * sum(size.hidden)

    chosen = [size_within(seconds, MANY, pace) for seconds in (0.01, 1.0, 10.0, 1000.0)]
    assert [size.hidden for size in chosen] != [chosen[0].hidden] * 4
    assert chosen[0].passes < ladder(MANY)[0].passes  # even the smallest takes longer
    assert chosen[-1].hidden == ladder(MANY)[-1].hidden
    for size, seconds in zip(chosen[:3], (0.01, 1.0, 10.0), strict=True):
        assert size.networks * size.steps(MANY) * pace(size) <= 1.01 * seconds * max(size.networks, 1)


def test_what_is_given_by_hand_stays() -> None:
    settings = Settings(batch=17, learning_rate=0.02, networks=2).resolved(5_000)
    assert (settings.batch, settings.learning_rate, settings.networks) == (17, 0.02, 2)
    assert Shape(hidden=(5,), dropout=0.0).sized(size_of(5_000)).config(9).dropout == 0.0
    assert Shape(norm="batch").sized(size_of(5_000)).dropout == 0.0
    assert Settings(steps=7).resolved(5_000).networks == 1


def test_training_ends_early_where_the_held_out_loss_rises_and_resumes_bit_for_bit(tmp_path: Path) -> None:
    settings = Settings(steps=4_000, batch=16, health=False, patience=3, networks=1, schedule="constant", learning_rate=0.02)
    shape = Shape(context=4, embedding=8, hidden=(64,), dropout=0.0)
    whole = lettrine.train(WORDS[:60], shape=shape, settings=settings, out=tmp_path / "whole", page=False)
    assert whole.results.steps < 4_000
    assert whole.results.best_step < whole.results.steps
    with lettrine.Session(WORDS[:60], shape=shape, settings=settings, out=tmp_path / "parts") as session:
        session.trainer.advance(250)
    resumed = lettrine.resume(tmp_path / "parts", page=False)
    assert resumed.results.steps == whole.results.steps
    assert all((resumed.model.parameters[name] == value).all() for name, value in whole.model.parameters.items())


RANDOM = random.Random(0)  # noqa: S311  words to train on, not secrets
ODD_LISTS = {
    "ten": ["ada", "alan", "bob", "carl", "dora", "ed", "flo", "gus", "hal", "ida"],
    "one word": ["ab"] * 20,
    "one letter": ["a" * n for n in range(1, 60)] + ["b"],
    "single letters": list("abcdefghijklmnopqrstuvwxyz"),
    "drawn at random": ["".join(RANDOM.choice("abcdefghijkl") for _ in range(8)) for _ in range(40)],
    "drawn from many signs": ["".join(chr(0x4E00 + RANDOM.randrange(2000)) for _ in range(2)) for _ in range(60)],
    "lines of code": [
        "import numpy",
        "x = {1: [2, 3]}",
        "def f(a, b): return a * b",
        "@check",
        "for i in range(10):",
        "#!/bin/sh",
    ]
    * 2,
}


@pytest.mark.parametrize("name", ODD_LISTS)
def test_what_the_defaults_did_is_not_the_users_fault(name: str) -> None:
    """Whatever the words are, training with nothing else given does not end in "Not healthy", nor far above counting."""
    run = lettrine.train(ODD_LISTS[name])
    assert run.judged.verdict != "not healthy", run.judged.findings
    assert run.results.loss["test"] < run.results.loss["counts_test"] + 0.5
