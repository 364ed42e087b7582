"""Same seed, same threads, same bits: every recipe, every kind of network, each engine; and what run.json needs to repeat it."""

from __future__ import annotations

import itertools
import json
import os
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import lettrine
from lettrine.activations import TRAINABLE
from lettrine.engine.base import Optimiser
from lettrine.engine.choice import choose_engine, native_built
from lettrine.model.config import NORMS
from lettrine.model.initialisation import SCHEMES
from lettrine.recipes.catalogue import RECIPES
from lettrine.recipes.runner import run_recipe
from lettrine.text.words import from_words
from lettrine.training.api import Shape
from lettrine.training.folder import read_description
from lettrine.training.run import Run
from lettrine.training.schedule import SCHEDULES
from lettrine.training.settings import Settings

ENGINES = [
    "reference",
    pytest.param("native", marks=pytest.mark.skipif(not native_built(), reason="no compiler built the native engine here")),
]
OPTIMISERS = (Optimiser("sgd"), Optimiser("sgd", momentum=0.9, l2={"hidden": 1e-4}), Optimiser("adamw"))
# Every activation with every norm; optimisers, schedules and schemes take turns beside them.
KINDS = [
    (activation, norm, optimiser, schedule, scheme)
    for (activation, norm), optimiser, schedule, scheme in zip(
        itertools.product(TRAINABLE, NORMS), itertools.cycle(OPTIMISERS), itertools.cycle(SCHEDULES), itertools.cycle(SCHEMES)
    )
]


def same(first: Run, second: Run) -> None:
    for name, value in first.model.parameters.items():
        np.testing.assert_array_equal(value, second.model.parameters[name], err_msg=name)
    assert first.results.loss == second.results.loss
    assert first.sample(20, seed=3) == second.sample(20, seed=3)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_every_recipe_gives_the_same_bits_again(recipe, engine: str, few_words) -> None:
    words = from_words(few_words[:60])
    first, second = (run_recipe(recipe, words, steps=3, engine=engine) for _ in range(2))
    np.testing.assert_array_equal(first.losses, second.losses)
    for name, value in first.model.parameters.items():
        np.testing.assert_array_equal(value, second.model.parameters[name], err_msg=name)
    assert first.figures == second.figures or np.isnan(list(itertools.chain(*first.figures.values()))).any()
    other = run_recipe(recipe, words, steps=3, engine=engine, seed=1)
    assert not np.array_equal(other.losses, first.losses), "the seed does something"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("activation", "norm", "optimiser", "schedule", "scheme"), KINDS, ids=lambda value: str(value)[:12])
def test_every_kind_of_network_gives_the_same_bits_again(
    activation, norm, optimiser, schedule, scheme, engine: str, few_words
) -> None:
    shape = Shape(
        context=3, embedding=4, hidden=(9, 7), activation=activation, norm=norm, direct=True, output_norm=norm == "batch"
    )
    settings = Settings(
        steps=25, batch=16, optimiser=optimiser, schedule=schedule, init=scheme, learning_rate=0.01, engine=engine
    )
    same(*(lettrine.train(few_words[:60], shape=shape, settings=settings) for _ in range(2)))


@pytest.mark.parametrize("engine", ENGINES)
def test_several_threads_repeat_themselves(engine: str, few_words) -> None:
    settings = Settings(steps=4, batch=512, threads=2, engine=engine)
    shape = Shape(hidden=(128, 64), norm="batch")
    same(*(lettrine.train(few_words[:40], shape=shape, settings=settings) for _ in range(2)))


@pytest.mark.skipif(not native_built(), reason="no compiler built the native engine here")
def test_the_native_engine_does_not_depend_on_threads(few_words) -> None:
    settings = Settings(steps=4, batch=512, engine="native")
    shape = Shape(hidden=(128, 64), norm="batch")
    same(*(lettrine.train(few_words[:40], shape=shape, settings=replace(settings, threads=threads)) for threads in (1, 3)))


SCRIPT = """
import hashlib, sys, lettrine
from lettrine.training.api import Shape
from lettrine.training.settings import Settings
run = lettrine.train(sys.argv[2:], shape=Shape(hidden=(16,)), settings=Settings(steps=30, engine=sys.argv[1]))
print(hashlib.sha256(b"".join(value.tobytes() for value in run.model.parameters.values())).hexdigest(), run.sample(5))
"""


@pytest.mark.parametrize("engine", ENGINES)
def test_another_process_gives_the_same_bits(engine: str, few_words) -> None:
    """Also where hashes of strings are drawn anew, as Python does at every start."""
    answers = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT, engine, *few_words[:50]],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(answers) == 1


@pytest.mark.parametrize("engine", ENGINES)
def test_run_json_holds_what_is_needed_to_repeat_the_run(tmp_path: Path, few_words, engine: str) -> None:
    settings = Settings(steps=12, batch=16, seed=7, split_seed=8, threads=2, engine=engine, fractions=(0.7, 0.2))
    first = lettrine.train(few_words, out=tmp_path / "first", shape=Shape(3, 4, (8,)), settings=settings)
    described = json.loads((tmp_path / "first" / "run.json").read_text())
    assert set(described["versions"]) == {"lettrine", "python", "numpy", "system"}
    assert described["versions"]["lettrine"] == lettrine.__version__
    assert described["versions"]["numpy"] == np.__version__
    assert described["versions"]["python"] == platform.python_version()
    assert described["engine"] == {"name": engine, "isa": getattr(choose_engine(engine), "isa", ""), "device": "cpu"}
    assert engine == "reference" or described["engine"]["isa"]
    assert described["data"]["digest"] == from_words(few_words).digest
    told = described["settings"]
    assert (told["seed"], told["split_seed"], told["threads"], told["fractions"]) == (7, 8, 2, [0.7, 0.2])
    assert (told["steps"], told["batch"], told["eval_every"]) == (12, 16, 1)
    assert told["optimiser"]["weight_decay"] is not None, "what was left open is written down as it was chosen"

    # And from that file and the words alone, the run is repeated.
    _, _, config, _, read, _ = read_description(tmp_path / "first")
    shape = Shape(**{name: value for name, value in vars(config).items() if name in Shape.__dataclass_fields__})
    second = lettrine.train(tmp_path / "first" / "words.txt", out=tmp_path / "second", shape=shape, settings=read)
    same(first, second)
    again = json.loads((tmp_path / "second" / "run.json").read_text())
    for key in ("config", "vocabulary", "settings", "engine", "versions"):
        assert again[key] == described[key]
    assert again["data"]["digest"] == described["data"]["digest"]
