"""A list on disk trains the network, bit for bit, that it trains in memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lettrine
from lettrine.text import words as words_module
from lettrine.training import batches, mixing, session, trainer
from lettrine.training.folder import load_run
from lettrine.training.interrupt import Requests
from lettrine.training.session import Session

SHAPE, EXAMPLES = lettrine.Shape(hidden=(16,), embedding=4, context=5, norm="batch"), 3_000


@pytest.fixture
def path(few_words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A list that has more examples than are counted, measured or shuffled at once."""
    for module in (mixing, session, trainer):
        monkeypatch.setattr(module, "COUNTED", EXAMPLES, raising=False)
        monkeypatch.setattr(module, "MEASURED", EXAMPLES // 10, raising=False)
    monkeypatch.setattr(batches, "BLOCK", EXAMPLES // 4)
    path = tmp_path / "words.txt"
    path.write_text("\n".join(few_words * 3))
    return path


def trained(path: Path, **changes: Any) -> lettrine.Run:
    settings = lettrine.Settings(steps=60, batch=32, init="calibrated", precise_norm=True, **changes)
    return lettrine.train(path, shape=SHAPE, settings=settings, out=path.with_suffix(f".{words_module.BIG}"), page=False)


def test_the_same_run_bit_for_bit(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = trained(path)
    monkeypatch.setattr(words_module, "BIG", 1)
    disk = trained(path)
    assert memory.data == disk.data
    assert memory.data.examples["train"] > EXAMPLES
    assert 0.8 * EXAMPLES / 10 < memory.data.examples["dev"] <= EXAMPLES / 10
    assert memory.results is not None
    assert disk.results is not None
    assert memory.results.loss == disk.results.loss
    assert {len(memory.results.loss), memory.results.steps} == {len(disk.results.loss), 60}
    files = {each.name: each.read_bytes() for each in Path(memory.path or "").iterdir()}
    for name in ("words.txt", "model.safetensors", "counts.safetensors", "history.safetensors"):
        assert (Path(disk.path or "") / name).read_bytes() == files[name], name
    kept = [json.loads((Path(each.path or "") / "run.json").read_text()) for each in (memory, disk)]
    for each in kept:
        del each["results"]["seconds"], each["results"]["steps_per_second"]
    assert kept[0] == kept[1]


def test_it_goes_on_and_draws_new_words(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = trained(path)
    monkeypatch.setattr(words_module, "BIG", 1)
    folder = path.with_suffix(".cut")
    settings = lettrine.Settings(steps=60, batch=32, init="calibrated", precise_norm=True)
    with Session(path, shape=SHAPE, settings=settings, out=folder) as cut:
        cut.trainer.advance(23)
    with Session.resumed(folder) as session:
        run = session.finish(session.trainer.run(Requests()))
    for name, value in whole.model.parameters.items():
        np.testing.assert_array_equal(run.model.parameters[name], value)
    words = set(path.read_text().split("\n"))
    drawn = load_run(folder).sample(50, new=True)
    assert len(drawn) == 50
    assert not words & set(drawn)
    assert words & set(load_run(folder).sample(500, temperature=0.7))  # which would have come without that wish


def test_counts_alone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = trained(path, model="counts")
    monkeypatch.setattr(words_module, "BIG", 1)
    disk = trained(path, model="counts")
    assert (Path(disk.path or "") / "counts.safetensors").read_bytes() == (
        Path(memory.path or "") / "counts.safetensors"
    ).read_bytes()
