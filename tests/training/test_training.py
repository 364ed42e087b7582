"""Training as a user meets it: repeatable, resumable, watched for free, stopped by nothing but a loss that is not finite."""

from __future__ import annotations

import json
import math
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import lettrine
from lettrine.engine.base import Optimiser
from lettrine.engine.choice import choose_engine
from lettrine.engine.reference import ReferenceEngine
from lettrine.errors import ConfigError, DivergedError, RunDamagedError, RunExistsError
from lettrine.inference.evaluation import precise_norms
from lettrine.model.config import MLPConfig
from lettrine.model.initialisation import SCHEMES, initialise
from lettrine.text.windows import windows
from lettrine.torch.model import CharMLP
from lettrine.training import api, trainer
from lettrine.training.api import Shape
from lettrine.training.folder import load_run, load_splits
from lettrine.training.interrupt import Requests
from lettrine.training.settings import Settings
from lettrine.training.storage import read_arrays

SMALL = Shape(context=3, embedding=4, hidden=(16,))
QUICK = Settings(steps=120, batch=8, eval_every=30, engine="reference", prior="none")


def same(a, b) -> bool:
    return set(a) == set(b) and all(np.array_equal(a[name], b[name]) for name in a)


@pytest.fixture
def interrupted_after(monkeypatch):
    """Make the next training stop, as by a signal, once it has taken so many steps."""

    def arrange(step: int) -> None:
        original = trainer.Trainer._loop

        def loop(self, requests: Requests) -> str:
            report = self._on_progress

            def stop_at(progress) -> None:
                report(progress)
                if progress.step >= step:
                    requests.signal = 2

            self._on_progress = stop_at
            monkeypatch.setattr(trainer.Trainer, "_loop", original)
            return original(self, requests)

        monkeypatch.setattr(trainer.Trainer, "_loop", loop)
        monkeypatch.setattr(trainer, "CHUNK_SECONDS", 0.0)  # one step a chunk

    return arrange


@pytest.mark.parametrize("shape", [SMALL, replace(SMALL, hidden=(8, 8), norm="batch", direct=True)], ids=["plain", "norm"])
@pytest.mark.parametrize("optimiser", [Optimiser("adamw"), Optimiser("sgd", momentum=0.9)], ids=lambda o: o.kind)
def test_an_interrupted_run_ends_as_an_undisturbed_one(tmp_path: Path, few_words, interrupted_after, shape, optimiser) -> None:
    settings = replace(QUICK, optimiser=optimiser, learning_rate=0.02)
    whole = lettrine.train(few_words, out=tmp_path / "whole", shape=shape, settings=settings, page=False)
    interrupted_after(47)
    part = lettrine.train(few_words, out=tmp_path / "part", shape=shape, settings=settings, page=False)
    assert part.status == "interrupted"
    assert part.results.steps == 47
    resumed = lettrine.resume(tmp_path / "part", page=False)
    assert resumed.status == whole.status == "finished"
    assert same(whole.model.parameters, resumed.model.parameters)
    ours, theirs = (read_arrays(tmp_path / name / "history.safetensors")[0] for name in ("whole", "part"))
    for name in ("loss", "dev_steps", "dev_loss"):
        np.testing.assert_array_equal(ours[name], theirs[name])
    assert resumed.results.loss == whole.results.loss
    with pytest.raises(ConfigError, match="is finished"):
        lettrine.resume(tmp_path / "part", page=False)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, "finished"), (signal.SIGTERM, "interrupted")])
def test_a_signal_that_is_ignored_stays_ignored(few_words, number: int, status: str) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a script starts what it leaves in the background
    try:
        run = lettrine.train(few_words, shape=SMALL, settings=QUICK, on_progress=lambda _: signal.raise_signal(number))
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    except KeyboardInterrupt:
        pytest.fail("Ctrl-C was not for us")
    finally:
        signal.signal(signal.SIGINT, before)
    assert run.status == status


@pytest.mark.parametrize("evaluation", [0, 1, 4])
def test_a_signal_is_answered_before_an_evaluation_ends(tmp_path: Path, few_words, monkeypatch, evaluation: int) -> None:
    monkeypatch.setattr("lettrine.inference.evaluation.SLICE", 1)  # one example at a time
    whole = lettrine.train(few_words, out=tmp_path / "whole", shape=SMALL, settings=QUICK, page=False)
    inner, asked = ReferenceEngine.negative_log_likelihood, 0
    splits = lettrine.Session(few_words, shape=SMALL, settings=QUICK).splits
    once = {name: len(part.distinct.times) for name, part in zip(("train", "dev", "test"), splits, strict=True)}

    def asked_to_stop(*args, **more):
        nonlocal asked
        asked += 1
        if asked == evaluation * once["dev"] + 3:
            signal.raise_signal(signal.SIGINT)
        return inner(*args, **more)

    monkeypatch.setattr(ReferenceEngine, "negative_log_likelihood", asked_to_stop)
    part = lettrine.train(few_words, out=tmp_path / "part", shape=SMALL, settings=QUICK, page=False)  # the page asks too
    monkeypatch.setattr(ReferenceEngine, "negative_log_likelihood", inner)
    assert part.status == "interrupted"
    assert part.results.steps == 30 * evaluation
    assert asked == evaluation * once["dev"] + 3 + sum(once.values()) + 1  # one for how much held-out losses differ
    resumed = lettrine.resume(tmp_path / "part", page=False)
    assert resumed.status == "finished"
    assert same(whole.model.parameters, resumed.model.parameters)
    assert resumed.results.loss == whole.results.loss


def test_a_run_stopped_before_its_first_step_is_a_run(tmp_path: Path, few_words, monkeypatch) -> None:
    monkeypatch.setattr(trainer.Trainer, "_loop", lambda self, requests: (self._evaluate(requests), "interrupted")[1])
    run = lettrine.train(few_words, out=tmp_path / "run", shape=SMALL, settings=QUICK, page=False)
    monkeypatch.undo()
    assert run.results.steps == 0
    assert math.isnan(run.results.steps_per_second)
    assert math.isnan(load_run(tmp_path / "run").results.loss["initial"])
    whole = lettrine.train(few_words, shape=SMALL, settings=QUICK)
    assert same(lettrine.resume(tmp_path / "run", page=False).model.parameters, whole.model.parameters)


def test_watched_and_unwatched_weights_are_the_same_bits(few_words) -> None:
    for shape in (SMALL, replace(SMALL, norm="batch")):
        watched = lettrine.train(few_words, shape=shape, settings=QUICK)
        unwatched = lettrine.train(few_words, shape=shape, settings=replace(QUICK, health=False))
        assert same(watched.model.parameters, unwatched.model.parameters)


def test_the_same_seed_gives_the_same_weights_and_another_gives_others(few_words) -> None:
    first, second, third = (lettrine.train(few_words, shape=SMALL, settings=replace(QUICK, seed=seed)) for seed in (3, 3, 4))
    assert same(first.model.parameters, second.model.parameters)
    assert not same(first.model.parameters, third.model.parameters)


def test_the_best_weights_on_dev_are_kept(tmp_path: Path, few_words) -> None:
    # 40 words and 600 steps: the network learns them by heart, and the development loss rises again.
    settings = replace(QUICK, steps=600, learning_rate=0.02, schedule="constant")
    best = lettrine.train(few_words[:40], out=tmp_path / "best", shape=SMALL, settings=settings, page=False)
    last = lettrine.train(few_words[:40], shape=SMALL, settings=replace(settings, keep="last"))
    history = read_arrays(tmp_path / "best" / "history.safetensors")[0]
    assert best.results.loss["dev"] == pytest.approx(history["dev_loss"].min(), rel=1e-12)
    assert best.results.best_step == history["dev_steps"][history["dev_loss"].argmin()] < 600
    assert last.results.loss["dev"] == pytest.approx(history["dev_loss"][-1], rel=1e-12)
    assert last.results.loss["dev"] > best.results.loss["dev"]


def test_expected_initial_loss_is_ln_v_and_kaiming_meets_it(few_words) -> None:
    run = lettrine.train(few_words, shape=SMALL, settings=QUICK)
    size = run.model.config.vocabulary_size
    assert run.results.loss["expected_initial"] == pytest.approx(math.log(size))
    assert run.results.loss["initial"] == pytest.approx(math.log(size), abs=0.1)
    naive = lettrine.train(few_words, shape=SMALL, settings=replace(QUICK, init="naive", steps=1))
    assert naive.results.loss["initial"] > math.log(size) + 1


def test_a_diverging_run_keeps_its_last_good_weights(tmp_path: Path, few_words) -> None:
    settings = replace(QUICK, optimiser=Optimiser("sgd"), learning_rate=3e38)
    with pytest.raises(DivergedError, match=r"at step \d+; the last good weights are in .*lower the learning rate"):
        lettrine.train(few_words, out=tmp_path / "run", shape=SMALL, settings=settings, page=False)
    run = load_run(tmp_path / "run")
    assert run.status == "diverged"
    assert all(np.isfinite(value).all() for value in run.model.parameters.values())
    assert np.isfinite(run.model.evaluate(few_words).nats)


def test_a_run_folder_opens_as_it_was_closed(tmp_path: Path, few_words) -> None:
    trained = lettrine.train(few_words, out=tmp_path / "run", shape=SMALL, settings=QUICK, page=False)
    opened = lettrine.load(tmp_path / "run")
    contexts = np.random.default_rng(0).integers(0, trained.model.vocabulary.size, (50, 3), dtype=np.int32)
    engine = choose_engine("reference")
    assert np.array_equal(*(engine.logits(r.model.config, r.model.parameters, contexts) for r in (trained, opened)))
    assert opened.settings == trained.settings
    assert opened.settings.eval_every == 30
    assert opened.data == trained.data
    assert opened.results == trained.results
    assert opened.sample(20, seed=1) == trained.sample(20, seed=1)
    assert opened.sample(300, seed=1, new=True) == trained.sample(300, seed=1, new=True)
    assert not set(opened.sample(300, temperature=0.5, new=True)) & set(few_words)
    with pytest.raises(ConfigError, match="no training words"):
        opened.model.sample(3, new=True)
    assert sorted(word for part in load_splits(opened) for word in part) == sorted(few_words)
    assert sorted(path.name for path in (tmp_path / "run").iterdir() if path.name != "report.html") == [
        "history.safetensors",
        "model.safetensors",
        "run.json",
        "trainer.safetensors",
        "words.txt",
    ]


def test_a_run_goes_to_torch_is_trained_on_there_and_comes_back(tmp_path: Path, few_words) -> None:
    trained = lettrine.train(few_words, out=tmp_path / "run", shape=replace(SMALL, norm="batch"), settings=QUICK, page=False)
    twin = CharMLP(trained.model.config, trained.model.parameters)
    examples = windows(few_words, trained.model.vocabulary, 3)
    contexts, targets = torch.from_numpy(examples.contexts), torch.from_numpy(examples.targets).long()
    optimizer = torch.optim.AdamW(twin.parameters(), lr=0.01)
    for _ in range(30):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(twin(contexts), targets).backward()
        optimizer.step()
    back = replace(trained.model, parameters=twin.to_parameters())
    twin.eval()
    loss = torch.nn.functional.cross_entropy(twin(contexts), targets).item()
    assert back.evaluate(few_words).nats == pytest.approx(loss, rel=1e-5)
    assert back.evaluate(few_words).nats < trained.model.evaluate(few_words).nats
    assert trained.model.evaluate(few_words).nats == pytest.approx(load_run(tmp_path / "run").model.evaluate(few_words).nats)


def test_a_folder_with_a_run_or_with_other_things_is_left_alone(tmp_path: Path, few_words) -> None:
    lettrine.train(few_words, out=tmp_path / "run", shape=SMALL, settings=replace(QUICK, steps=1), page=False)
    before = (tmp_path / "run" / "model.safetensors").read_bytes()
    with pytest.raises(RunExistsError, match="already holds a run"):
        lettrine.train(few_words, out=tmp_path / "run", shape=SMALL, settings=QUICK, page=False)
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("precious")
    with pytest.raises(RunExistsError, match="not empty"):
        lettrine.train(few_words, out=tmp_path / "other", shape=SMALL, settings=QUICK, page=False)
    (tmp_path / "file").write_text("")
    with pytest.raises(RunExistsError, match="is a file"):
        lettrine.train(few_words, out=tmp_path / "file", shape=SMALL, settings=QUICK, page=False)


def edit(path: Path, **changes) -> None:
    value = json.loads(path.read_text())
    path.write_text(json.dumps(value | changes))


def edit_config(path: Path, **changes) -> None:
    edit(path, config=json.loads(path.read_text())["config"] | changes)


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (lambda run: (run / "run.json").unlink(), "run.json is missing"),
        (lambda run: (run / "run.json").write_text("{"), "not valid JSON"),
        (lambda run: (run / "run.json").write_text("[]"), "holds a list"),
        (lambda run: edit(run / "run.json", format=99), "newer lettrine"),
        (lambda run: edit(run / "run.json", format="x"), "has format 'x'"),
        (lambda run: edit(run / "run.json", config={"hidden": "200"}), "cannot be read"),
        (lambda run: edit(run / "run.json", vocabulary=["a"]), "cannot be read"),
        (lambda run: edit(run / "run.json", vocabulary=["a", "b"]), "3 characters but a network for"),
        (lambda run: edit(run / "run.json", settings={"batch": "x"}), "cannot be read"),
        (lambda run: edit(run / "run.json", results={"loss": 3}), "run.json cannot be read"),
        (lambda run: (run / "model.safetensors").unlink(), "model.safetensors is missing"),
        (lambda run: (run / "model.safetensors").write_bytes(b"\xff" * 50), "not a whole safetensors file"),
        (lambda run: (run / "model.safetensors").write_bytes((run / "model.safetensors").read_bytes()[:-9]), "not a whole"),
        (lambda run: edit_config(run / "run.json", hidden=[17]), "does not fit"),
    ],
)
def test_a_damaged_run_is_named(tmp_path: Path, few_words, damage, match: str) -> None:
    lettrine.train(few_words, out=tmp_path / "run", shape=SMALL, settings=replace(QUICK, steps=1), page=False)
    damage(tmp_path / "run")
    with pytest.raises(RunDamagedError, match=match):
        load_run(tmp_path / "run")


def test_changed_words_are_noticed_on_resume(tmp_path: Path, few_words, interrupted_after) -> None:
    interrupted_after(5)
    lettrine.train(few_words, out=tmp_path / "run", shape=SMALL, settings=QUICK, page=False)
    (tmp_path / "run" / "words.txt").write_text("\n".join(few_words[1:]))
    with pytest.raises(RunDamagedError, match=r"words\.txt was changed"):
        lettrine.resume(tmp_path / "run", page=False)


def test_precise_statistics_are_those_of_all_examples() -> None:
    config = MLPConfig(9, 2, 3, (5, 4), activation="tanh", norm="batch", output_norm=True)
    rng = np.random.default_rng(0)
    parameters = initialise(config, SCHEMES["naive"], rng, np.float64)
    contexts = rng.integers(0, 9, (5000, 2), dtype=np.int32)  # more than one chunk
    precise = precise_norms(config, parameters, contexts)
    x = parameters["embedding.weight"][contexts].reshape(5000, -1) @ parameters["layers.0.weight"].T
    np.testing.assert_allclose(precise["norms.0.running_mean"], x.mean(axis=0), rtol=1e-10)
    np.testing.assert_allclose(precise["norms.0.running_var"], x.var(axis=0, ddof=1), rtol=1e-10)
    h = np.tanh((x - x.mean(0)) / np.sqrt(x.var(0, ddof=1) + 1e-5)) @ parameters["layers.1.weight"].T
    np.testing.assert_allclose(precise["norms.1.running_mean"], h.mean(axis=0), rtol=1e-9, atol=1e-12)
    assert parameters["norms.0.running_mean"].sum() == 0.0


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"steps": -1}, "steps got -1"),
        ({"batch": -1}, "batch got -1"),
        ({"learning_rate": -0.1}, "learning rate got -0.1"),
        ({"learning_rate": math.nan}, "learning rate got nan"),
        ({"schedule": "linear"}, "expected one of constant"),
        ({"engine": "gpu"}, "expected one of auto"),
        ({"init": "xavier"}, "expected one of naive"),
        ({"keep": "first"}, "expected one of best"),
        ({"threads": 0}, "threads got 0"),
        ({"seed": -1}, "seed got -1"),
    ],
)
def test_settings_outside_their_range_are_refused(wrong, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        Settings(**wrong)


def test_what_is_left_open_is_chosen_by_the_number_of_examples() -> None:
    chosen = Settings(learning_rate=0.02).resolved(100_000)
    assert chosen.steps == round(40 * 5**-0.75 * 100_000 / 256)
    assert chosen.eval_every == chosen.steps // 20
    assert chosen.optimiser.decay == pytest.approx(3.0 / (0.02 * chosen.steps))
    assert Settings(optimiser=Optimiser("adamw", weight_decay=0.3)).resolved(1000).optimiser.decay == 0.3
    assert Settings(optimiser=Optimiser("sgd")).resolved(1000).optimiser.decay == 0.0
    assert Settings(steps=3).resolved(10**9).steps == 3


def test_settings_survive_json() -> None:
    settings = Settings(optimiser=Optimiser("sgd", momentum=0.5, l2={"hidden": 0.1}), init=SCHEMES["deep"], fractions=(0.7, 0.2))
    assert Settings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings


@pytest.mark.needs_names
@pytest.mark.slow
def test_the_default_command_learns_the_published_names(names) -> None:
    run = lettrine.train(names)
    assert run.results.loss["test"] <= 1.94
    assert run.results.loss["train"] > 1.8  # and has not learned them by heart


@pytest.mark.slow
def test_the_default_command_does_not_overfit_the_shipped_list() -> None:
    run = api.train()
    assert run.results.loss["dev"] < run.results.loss["counts_dev"] - 0.02
    assert run.health is not None
    assert run.health.exit_code == 0
