"""Every public name of Python is called with every sort of wrong value in every place: an answer, or an error of ours."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from strangers import check_message

import lettrine
from lettrine import health
from lettrine.arguments import checked
from lettrine.engine.base import Optimiser
from lettrine.engine.choice import choose_engine
from lettrine.errors import LONGEST, ArgumentError, ConfigError, LettrineError
from lettrine.health.findings import Finding, Outcome, Report
from lettrine.health.range_test import sweep
from lettrine.health.trace import Facts, ModuleInfo, ParameterInfo
from lettrine.inference.sampling import Sampling
from lettrine.model.config import MLPConfig, parse_hidden
from lettrine.recipes.catalogue import find_recipe
from lettrine.text.corpora import load_corpus
from lettrine.text.vocabulary import Vocabulary
from lettrine.text.windows import windows
from lettrine.text.words import from_words, read_words, split
from lettrine.tools.comparison import compare_runs
from lettrine.training.api import Shape
from lettrine.training.diagnosis import load_health
from lettrine.training.folder import load_splits
from lettrine.training.lr_range import lr_range, lr_range_of_run
from lettrine.training.settings import Settings

torch = pytest.importorskip("torch")

from lettrine.torch import CharMLP  # noqa: E402

WRONG = {
    "None": None,
    "True": True,
    "minus one": -1,
    "zero": 0,
    "five": 5,
    "fraction": 1.5,
    "nan": float("nan"),
    "inf": float("inf"),
    "minus inf": float("-inf"),
    "a googol": 10**100,
    "too long to be printed": 10**5000,
    "complex": 1j,
    "empty": "",
    "word": "hot",
    "escapes": "\x1b[31m\0\ud800",
    "long": "x" * 100_000,
    "bytes": b"hot",
    "list": [],
    "mixed": ["anna", 3, None],
    "tuple": (1,),
    "mapping": {},
    "strange mapping": {None: "hot"},
    "object": object(),
    "class": Path,
    "path": Path("absent"),
    "numpy int": np.int64(3),
    "numpy float": np.float32(0.5),
    "numpy bool": np.True_,
    "numpy nan": np.float64("nan"),
    "array": np.arange(3.0),
    "strings": np.array(["a", "b"]),
    "tensor": torch.ones(2),
    "module": torch.nn.Identity(),
    "surrogate": "\udc80",
}

WORDS = ["anna", "bob", "carla", "dora", "emil", "fritz", "gerda", "hanna", "ida", "jonas"] * 3
SHAPE = Shape(context=2, embedding=2, hidden=(3,))
SETTINGS = Settings(steps=2, batch=4, engine="reference")


@pytest.fixture(scope="module")
def things(tmp_path_factory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("arguments") / "run"
    run = lettrine.train(WORDS, out=folder, shape=SHAPE, settings=SETTINGS)
    model = torch.nn.Linear(3, 2)
    return {
        "run": run,
        "folder": folder,
        "words": folder / "words.txt",
        "trace": run.health.trace,
        "vocabulary": run.model.vocabulary,
        "config": run.model.config,
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
        "batch": (torch.randn(4, 3), torch.tensor([0, 1, 0, 1])),
        "loss": torch.nn.functional.cross_entropy,
    }


def session() -> lettrine.Session:
    return lettrine.Session(WORDS, shape=SHAPE, settings=SETTINGS)


# What is public -> arguments that are right, as the names of fixtures' things or values. One after another is replaced.
PUBLIC: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "Initialisation": (lettrine.Initialisation, {}),
    "MLPConfig": (MLPConfig, {"vocabulary_size": 5}),
    "Optimiser": (Optimiser, {}),
    "Settings": (Settings, {}),
    "Shape": (Shape, {}),
    "Sampling": (Sampling, {}),
    "train": (lettrine.train, {"words": WORDS, "shape": SHAPE, "settings": SETTINGS}),
    "Session": (lettrine.Session, {"words": WORDS, "shape": SHAPE, "settings": SETTINGS}),
    "Session.resumed": (lettrine.Session.resumed, {"path": "folder"}),
    "Trainer.advance": (lambda **given: session().trainer.advance(**{"steps": 1, **given}), {}),
    "Trainer.change": (
        lambda **given: session().trainer.change(**{"eval_every": 3, **given}),
        {"learning_rate": 0.1, "batch": 4, "steps": 9, "schedule": "cosine", "l2": {}, "scale": {}},
    ),
    "tune": (
        lettrine.tune,
        {
            "words": WORDS,
            "out": "search",
            "trials": 1,
            "minutes": 0.01,
            "jobs": 1,
            "shape": SHAPE,
            "settings": SETTINGS,
            "page": False,
        },
    ),
    "score": (lettrine.score, {"words": WORDS, "run": "folder"}),
    "resume": (lettrine.resume, {"path": "folder"}),
    "load": (lettrine.load, {"path": "folder"}),
    "Run": (lettrine.Run, dict.fromkeys(("path", "status", "settings", "data", "results", "model"))),
    "Run.sample": (lambda run, **given: run.sample(**given), {"run": "run", "count": 2, "temperature": 1.0, "new": True}),
    "model.sample": (lambda run, **given: run.model.sample(**given), {"run": "run", "count": 2, "seed": 1}),
    "model.score": (lambda run, **given: run.model.score(**given), {"run": "run", "words": ["anna"]}),
    "model.evaluate": (lambda run, **given: run.model.evaluate(**given), {"run": "run", "words": ["anna"]}),
    "read_words": (read_words, {"path": "words"}),
    "from_words": (from_words, {"words": WORDS}),
    "split": (split, {"words": WORDS}),
    "windows": (windows, {"words": WORDS, "vocabulary": "vocabulary", "context": 2}),
    "load_corpus": (load_corpus, {"name": "first-names"}),
    "Vocabulary": (Vocabulary, {"characters": ("a", "b")}),
    "Vocabulary.from_words": (Vocabulary.from_words, {"words": WORDS}),
    "parse_hidden": (parse_hidden, {"text": "3"}),
    "choose_engine": (choose_engine, {}),
    "Run.save_page": (lambda run, **given: run.save_page(**given), {"run": "run", "path": "page.html"}),
    "load_splits": (load_splits, {"run": "run"}),
    "load_health": (load_health, {"path": "folder"}),
    "lr_range of words": (lr_range, {"words": WORDS, "shape": SHAPE, "settings": SETTINGS, "steps": 30}),
    "lr_range of a run": (lr_range_of_run, {"path": "folder", "steps": 30}),
    "find_recipe": (find_recipe, {"name": "naive"}),
    "compare_runs": (compare_runs, {"paths": ["folder"]}),
    "health.watch": (health.watch, {"model": "model", "optimizer": "optimizer"}),
    "health.autowatch": (
        lambda **given: health.autowatch(**given).close(),
        {"show": False, "every": 1, "classes": 2, "on_finding": None, "stop_on": None},
    ),
    "health.checkup": (
        health.checkup,
        {"model": "model", "batches": [], "loss_fn": "loss", "optimizer": "optimizer", "minutes": 0.001, "progress": False},
    ),
    "health.assert_healthy": (
        health.assert_healthy,
        {"model": "model", "batches": [], "loss_fn": "loss", "optimizer": "optimizer", "minutes": 0.001},
    ),
    "health.check_initial": (health.check_initial, {"model": "model", "batch": "batch", "loss_fn": "loss"}),
    "health.initial": (health.initial, {"model": "model", "batch": "batch", "loss_fn": "loss"}),
    "health.lr_range": (
        health.lr_range,
        {"model": "model", "optimizer": "optimizer", "loss_fn": "loss", "batches": [], "steps": 30},
    ),
    "health.examine": (health.examine, {"trace": "trace"}),
    "health.check": (health.check, {"name": "of-a-test"}),
    "health.Schedule": (health.Schedule, {}),
    "health.Recorder": (health.Recorder, {}),
    "health.Report": (Report, {"findings": (), "outcomes": (), "trace": "trace"}),
    "health.Outcome": (Outcome, {"check": "leak", "status": "passed"}),
    "health.Finding": (
        Finding,
        {
            **dict.fromkeys(("id", "message", "why", "remedy", "reference"), "x"),
            "severity": "info",
            "where": (),
            "steps": (0, 1),
            "value": 1.0,
            "limit": 2.0,
        },
    ),
    "Report.save": (lambda run, **given: run.health.save(**given), {"run": "run", "path": "health.txt"}),
    "Trace.output": (lambda trace, **given: trace.output(**given), {"trace": "trace", "name": "layers.0", "stat": "std"}),
    "Trace.gradient": (lambda trace, **given: trace.gradient(**given), {"trace": "trace", "name": "layers.0", "stat": "std"}),
    "Trace.parameter": (
        lambda trace, **given: trace.parameter(**given),
        {"trace": "trace", "name": "layers.0.weight", "stat": "std"},
    ),
    "Trace.norm": (lambda trace, **given: trace.norm(**given), {"trace": "trace", "name": "norms.0", "stat": "mean_gap"}),
    "ModuleInfo": (ModuleInfo, {"name": "a", "kind": "Tanh", "role": "activation"}),
    "ParameterInfo": (ParameterInfo, {"name": "a.weight", "module": "a", "shape": (2, 3)}),
    "Facts": (Facts, {}),
    "sweep": (sweep, {"step": lambda rate: rate, "steps": 30}),
    "Recorder.record_loss": (lambda **given: health.Recorder().record_loss(**given), {"step": 1, "loss": 0.5}),
    "Recorder.record_dev": (lambda **given: health.Recorder().record_dev(**given), {"step": 1, "loss": 0.5}),
    "Recorder.record": (lambda **given: health.Recorder().record(**given), {"step": 1, "outputs": {}, "loss": 0.5}),
    "init.calibrate": (lettrine.init.calibrate, {"model": "model", "batch": "batch", "loss_fn": "loss"}),
    "CharMLP": (CharMLP, {"config": "config"}),
}


def parameters_of(name: str) -> list[str]:
    function, right = PUBLIC[name]
    found = inspect.signature(function).parameters.values()
    named = [each.name for each in found if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)]
    return list(dict.fromkeys([each for each in (*named, *right) if each not in ("run", "trace") or name == each]))


def call(of: str, things: dict[str, Any], changed: dict[str, Any]) -> Any:
    function, right = PUBLIC[of]
    given = {key: things.get(value, value) if isinstance(value, str) else value for key, value in right.items()} | changed
    return function(**given)


def check(where: str, error: LettrineError) -> None:
    check_message(str(error))
    assert len(str(error)) <= LONGEST, where
    assert "expected" in str(error) or "; " in str(error), f"{where}: no remedy in {error}"


def test_the_table_has_every_public_name() -> None:
    constants = {"__version__", "health", "init"}
    exported = set(lettrine.__all__) - constants
    exported |= {f"health.{name}" for name in set(health.__all__) - {"Skip", "CHECKS", "Trace"}}  # an answer, a table, a record
    exported |= {f"init.{name}" for name in lettrine.init.__all__} - {"init.Calibration", "init.LayerScale"}  # what is returned
    assert exported <= set(PUBLIC)


@pytest.mark.parametrize(("name", "parameter"), [(name, each) for name in PUBLIC for each in parameters_of(name)])
def test_a_wrong_value_is_answered_or_refused_in_our_words(name: str, parameter: str, things, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    registered = set(health.CHECKS)
    for label, value in WRONG.items():
        if callable(value) and parameter in ("on_progress", "loss_fn", "step", "model", "start"):
            continue  # it is called, and what comes of that is the caller's own
        try:
            call(name, things, {parameter: value})
        except LettrineError as error:
            check(f"{name}({parameter}={label})", error)
        except Exception as error:  # noqa: BLE001
            pytest.fail(f"{name}({parameter}={label}) raised {type(error).__name__}: {error!s:.200}")
        finally:
            for each in set(health.CHECKS) - registered:
                del health.CHECKS[each]


@pytest.mark.parametrize("name", sorted(set(PUBLIC) - {"Recorder.record_loss"}))  # called at every step, so not looked into
def test_missing_unknown_and_too_many_arguments(name: str, things) -> None:
    function, _ = PUBLIC[name]
    with pytest.raises(LettrineError, match="no_such_thing"):
        call(name, things, {"no_such_thing": 1})
    if "<lambda>" in str(function):
        return
    with pytest.raises(ArgumentError, match="too many positional arguments"):
        function(*range(50))
    named = [each for each in inspect.signature(function).parameters.values() if each.kind is not each.VAR_KEYWORD]
    if needed := [each for each in named if each.default is each.empty]:
        with pytest.raises(ArgumentError, match=f"missing a required (keyword-only )?argument: '{needed[0].name}'.*it takes"):
            function()


def test_the_refusal_names_what_was_given_what_was_expected_and_where_to_read() -> None:
    for wrong, told in (
        (lambda: Sampling(temperature="hot"), "temperature got 'hot'; expected a number, see help(Sampling)"),
        (lambda: MLPConfig(5, hidden="x"), "hidden got 'x'; expected a tuple of whole numbers, see help(MLPConfig)"),
        (lambda: Settings(seed=10**5000), "seed got a whole number of 16,610 bits; expected a whole number, see help(Settings)"),
        (lambda: Settings(fractions=0.8), "fractions got 0.8; expected a pair of numbers, see help(Settings)"),
        (lambda: Settings(health=None), "health got None; expected True or False, see help(Settings)"),
        (lambda: Settings(batch_size=3), "got an unexpected keyword argument 'batch_size'; did you mean batch?; see help"),
        (lambda: lettrine.train(5), "words got 5; expected a string or a path or a list of strings or a lettrine WordList"),
    ):
        with pytest.raises(ArgumentError) as caught:
            wrong()
        assert told in str(caught.value)
    assert issubclass(ArgumentError, ConfigError)
    assert issubclass(ArgumentError, TypeError), "what Python code expects too"


def test_numbers_of_numpy_are_numbers() -> None:
    settings = Settings(steps=np.int32(7), batch=np.uint8(4), learning_rate=np.float32(0.5), health=np.False_)
    assert settings == Settings(steps=7, batch=4, learning_rate=0.5, health=False)
    assert [type(each) for each in (settings.steps, settings.learning_rate, settings.health)] == [int, float, bool]
    assert MLPConfig(np.int64(5), hidden=np.array([3, 4])) == MLPConfig(5, hidden=(3, 4))
    assert MLPConfig(5, hidden=[3, 4]).hidden == (3, 4)
    assert Sampling(temperature=np.float64(0.5), top_k=np.int16(3)) == Sampling(temperature=0.5, top_k=3)
    assert Sampling(temperature=1).temperature == 1
    with pytest.raises(ArgumentError):
        Settings(steps=7.0)
    with pytest.raises(ArgumentError):
        Settings(steps=True)
    with pytest.raises(ArgumentError):
        MLPConfig(5, hidden=np.array([3.5]))


def test_checking_leaves_a_function_what_it_was() -> None:
    @checked
    def public(first: int, *rest: str, last: float = 0.5, **more: bool) -> object:
        """What it does."""
        return first, rest, last, more

    assert public.__doc__ == "What it does."
    assert str(inspect.signature(public)).startswith("(first: 'int'")
    assert public(np.int64(1), "a", "b", last=2, x=np.True_) == (1, ("a", "b"), 2, {"x": True})
    for args, more in (((1, 2), {}), ((1,), {"x": 1}), ((1,), {"last": "b"}), ((), {})):
        with pytest.raises(ArgumentError):
            public(*args, **more)
