"""Run by test_second_device.py in a process of its own, since torch cannot forget a device."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from second import register, waits, without_float64
from torch import nn
from torch.nn import functional

import lettrine
from lettrine.health.trace import OUTPUT_STATS, PARAMETER_STATS
from lettrine.torch.engine import TorchEngine
from lettrine.torch.kept import packed, unpacked
from lettrine.training.folder import load_run
from lettrine.training.interrupt import Requests
from lettrine.training.session import Session

TORCH = Path(__file__).parents[1] / "torch"
sys.path[:0] = [str(TORCH), str(TORCH / "checkup")]
register()

from checkup_tasks import adam  # noqa: E402
from test_checkup_forms import FORMS, check, convolutions, perceptron, recurrent, transformer  # noqa: E402
from test_torch_cuda import BUSY, STEPS, network, on_device  # noqa: E402

from lettrine import health  # noqa: E402

KINDS = ["perceptron", "convolutions", "transformer"]


def test_the_two_devices_are_apart() -> None:
    there, here = torch.ones(3, device="second"), torch.ones(3)
    with pytest.raises(RuntimeError, match="same device"):
        there + here
    before = waits()
    assert (there + there.to("second")).sum().item() == 6
    there.cpu()
    assert waits() == before + 2
    here_random, there_random = torch.get_rng_state(), torch.second.get_rng_state()
    torch.randn(3, device="second")
    assert torch.equal(torch.get_rng_state(), here_random)
    assert not torch.equal(torch.second.get_rng_state(), there_random)


@pytest.mark.parametrize("kind", KINDS)
def test_watching_changes_nothing_and_sees_the_same(kind: str) -> None:
    """Nearly all is computed by the same kernels; attention is not fused there."""
    there, weights = on_device(kind, "second", watched=True, half=False)
    _, plain = on_device(kind, "second", watched=False, half=False)
    here, _ = on_device(kind, "cpu", watched=True, half=False)
    assert all(torch.equal(*pair) for pair in zip(weights, plain, strict=True))
    assert there.trace.facts.errors == ()
    assert not [each for each in there.outcomes if each.status == "failed"]
    assert [each.id for each in there.findings] == [each.id for each in here.findings]
    assert there.trace.steps.tolist() == here.trace.steps.tolist()
    assert set(there.trace.outputs) == set(here.trace.outputs)
    for name in here.trace.outputs:
        for stat in OUTPUT_STATS:
            one, two = there.trace.output(name, stat), here.trace.output(name, stat)
            np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-6, err_msg=f"{name} {stat}")
    for name in here.trace.parameter_stats:
        for stat in PARAMETER_STATS:
            one, two = there.trace.parameter(name, stat), here.trace.parameter(name, stat)
            np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-5, err_msg=f"{name} {stat}")


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_waited_for_between_sampled_steps(kind: str) -> None:
    model = network(kind).to("second")
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3)
    data = torch.Generator().manual_seed(1)
    counts = []
    with health.watch(model, optimiser) as watch:
        for _ in range(STEPS):
            x = torch.randn(64, 1, 8, 8, generator=data)
            y = x.flatten(1)[:, :10].argmax(1).to("second")
            before = waits()
            loss = functional.cross_entropy(model(x.to("second")), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
            counts.append(waits() - before)
    assert sum(counts) > 0, "sampled steps read their figures"
    assert [step for step, count in enumerate(counts) if count and step not in BUSY] == []


def test_a_sampled_step_of_a_language_model_waits_a_bounded_number_of_times() -> None:
    """Tokens and targets are compared in many ways; they are read once."""
    torch.manual_seed(0)
    model, batches, loss_fn = transformer()
    model.to("second")
    optimiser, counts = adam(model), []
    with health.watch(model, optimiser, every=1) as watch:
        for x, y in batches[:3]:
            before = waits()
            optimiser.zero_grad()
            loss = loss_fn(model(x.to("second")), y.to("second"))
            loss.backward()
            optimiser.step()
            watch.loss(loss)
            counts.append(waits() - before)
    assert max(counts) < 100, counts


@pytest.mark.parametrize("form", [form for form in FORMS if form is not recurrent])  # it would have to bring an LSTM of its own
def test_the_check_up_leaves_everything_as_it_was(form: Any) -> None:
    torch.manual_seed(1)  # as `check` does
    before = torch.second.get_rng_state()
    check(form, "second")
    assert torch.equal(torch.second.get_rng_state(), before)


@pytest.mark.parametrize("kind", KINDS)
def test_a_device_without_float64_is_watched_like_any_other(kind: str) -> None:
    with without_float64():
        there, _ = on_device(kind, "second", watched=True, half=False)
    here, _ = on_device(kind, "cpu", watched=True, half=False)
    assert there.trace.facts.errors == ()
    assert not [each for each in there.outcomes if each.status == "failed"]
    assert [each.id for each in there.findings] == [each.id for each in here.findings]
    assert {each.kind for each in there.trace.evidence} == {each.kind for each in here.trace.evidence}


def test_a_checkpoint_may_be_loaded_onto_it(tmp_path: Path) -> None:
    """As `torch.load(path, map_location=device)` does, with all that is in it; also where that device has no float64."""
    there, _ = on_device("perceptron", "second", watched=True, half=False)
    torch.save(packed(there.trace), tmp_path / "health.pt")
    with without_float64():
        kept = torch.load(tmp_path / "health.pt", map_location="second", weights_only=True)
        assert {each.device.type for each in kept["arrays"].values()} == {"second"}
        again = unpacked(kept)
    assert again.steps.tolist() == there.trace.steps.tolist()
    assert again.facts == there.trace.facts
    np.testing.assert_array_equal(again.loss.mean, there.trace.loss.mean)


@pytest.mark.parametrize("form", [perceptron, convolutions])
def test_the_check_up_needs_no_float64(form: Any) -> None:
    torch.manual_seed(1)
    model, batches, loss_fn = form()
    model.to("second")
    with without_float64():
        report = health.checkup(model, batches, loss_fn, adam(model), minutes=1.0, progress=False)
    assert [(each.check, each.reason) for each in report.outcomes if each.status == "failed"] == []
    [precision] = [each for each in report.outcomes if each.check == "precision"]
    assert precision.status == "not applicable"


def test_what_draws_there_is_set_back() -> None:
    """Calibrating and looking at the start draw dropout masks on the device."""
    model = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Dropout(0.5), nn.Linear(16, 3)).to("second")
    x, y = torch.randn(32, 6).to("second"), (torch.arange(32) % 3).to("second")
    before = torch.second.get_rng_state()
    health.check_initial(model, (x, y), functional.cross_entropy)
    assert torch.equal(torch.second.get_rng_state(), before)
    lettrine.init.calibrate(model, (x, y), functional.cross_entropy)
    assert torch.equal(torch.second.get_rng_state(), before)
    assert model(x).std().item() == pytest.approx(0.1, rel=1e-4)  # the last layer, with the masks that every pass had


def test_a_run_of_the_torch_engine(few_words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trained there, saved, gone on with, opened by whatever is here; the same as trained here."""
    shape = lettrine.Shape(hidden=(16,), embedding=4, dropout=0.2)
    settings = lettrine.Settings(steps=40, batch=32, engine="torch", prior="none")
    runs = []
    for device in ("second", "cpu"):
        monkeypatch.setattr("lettrine.training.session.choose_engine", lambda *_, device=device: TorchEngine(device))
        with Session(few_words, out=tmp_path / device, shape=shape, settings=settings) as session:
            session.trainer.advance(20)
        with Session.resumed(tmp_path / device) as session:
            session.finish(session.trainer.run(Requests()))
        runs.append(load_run(tmp_path / device))
    there, here = runs
    assert there.status == here.status == "finished"
    assert there.results is not None
    assert here.results is not None
    assert there.results.loss["test"] == pytest.approx(here.results.loss["test"], rel=1e-5)
    assert there.sample(5) == here.sample(5)
