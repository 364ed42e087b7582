"""Networks on a GPU, where there is one; and what holds for one is counted here without it: between sampled steps nothing is
computed, and nothing is waited for.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from lettrine import health
from lettrine.health.trace import OUTPUT_STATS, PARAMETER_STATS

cuda = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
STEPS = 60
BUSY = {step + late for step in (0, 1, 2, 3, 4, 6, 9, 13, 19, 28, 42) for late in (0, 1)}  # sampled; its loss comes with the next


class Elsewhere(Tensor):
    """A tensor that says it lives on another device."""

    is_cpu = False


class Operations(TorchDispatchMode):
    """Counts all that is computed, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[function.name()] += 1
        return function(*args, **(kwargs or {}))


def counted(*, watched: bool) -> tuple[list[Counter[str]], set[int]]:
    """What each step computes, and which steps were sampled."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 3))
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2, foreach=False)
    watch = health.watch(model, optimiser, fast=False)
    if watched:
        watch.start()
    found = []
    for _ in range(STEPS):
        x = torch.randn(32, 6)
        with Operations() as operations:
            loss = functional.cross_entropy(model(x), x[:, :3].argmax(dim=1))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            if watched:
                watch.loss(loss.as_subclass(Elsewhere))
        found.append(operations.counts)
    watch.close()
    return found, set(watch.trace().steps.tolist()) if watched else set()


def test_between_sampled_steps_nothing_is_computed_or_waited_for() -> None:
    plain, _ = counted(watched=False)
    watched, sampled = counted(watched=True)
    assert 5 < len(sampled) < STEPS / 2
    for step in set(range(STEPS)) - sampled - {each + 1 for each in sampled}:  # the loss of a sampled step is its last word
        more = watched[step] - plain[step]
        assert set(more) <= {"aten::alias", "aten::detach"}, (step, more)
        assert more.total() <= 4, "the loss is kept where it lives"
    assert any("_local_scalar_dense" in name for step in sampled for name in watched[step] - plain[step]), "sampled steps do"


def network(kind: str) -> nn.Module:
    torch.manual_seed(0)
    if kind == "convolutions":
        return nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 10))
    if kind == "transformer":
        layer = nn.TransformerEncoderLayer(64, 4, 128, dropout=0.0, batch_first=True)
        return nn.Sequential(
            nn.Flatten(1, 2), nn.Linear(8, 64), nn.TransformerEncoder(layer, 2), nn.Flatten(), nn.Linear(512, 10)
        )
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 10))


def on_device(kind: str, device: str, *, watched: bool, half: bool, strict: bool = False) -> tuple[Any, list[Tensor]]:
    """strict: a step between two sampled ones in which anything waits for the device is an error."""
    model = network(kind).to(device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    scaler = torch.amp.GradScaler(device, enabled=half)
    watch = health.watch(model, optimiser)
    if watched:
        watch.start()
    data = torch.Generator().manual_seed(1)
    batches = [torch.randn(64, 1, 8, 8, generator=data) for _ in range(STEPS)]
    for step, x in enumerate(batches):
        x, y = x.to(device), x.flatten(1)[:, :10].argmax(1).to(device)  # noqa: PLW2901
        if strict:
            torch.cuda.set_sync_debug_mode("default" if step in BUSY else "error")
        with torch.autocast(device, torch.float16, enabled=half):
            loss = functional.cross_entropy(model(x), y)
        optimiser.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimiser)
        scaler.update()
        if watched:
            watch.loss(loss)
        if strict:
            torch.cuda.set_sync_debug_mode("default")
    watch.close()
    return (watch.report() if watched else None), [each.detach().cpu() for each in model.parameters()]


@pytest.mark.parametrize("kind", ["perceptron", "convolutions", "transformer"])
@pytest.mark.parametrize(
    ("device", "half"), [("cpu", False), pytest.param("cuda", False, marks=cuda), pytest.param("cuda", True, marks=cuda)]
)
def test_watching_changes_nothing_and_breaks_nothing(device: str, kind: str, *, half: bool) -> None:
    torch.backends.cudnn.deterministic = True
    report, weights = on_device(kind, device, watched=True, half=half)
    _, plain = on_device(kind, device, watched=False, half=half)
    assert all(torch.equal(*pair) for pair in zip(weights, plain, strict=True))
    assert report.trace.facts.errors == ()
    assert not [each for each in report.outcomes if each.status == "failed"]
    assert not [each.message for each in report.findings if each.severity != "info"]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("kind", ["perceptron", "convolutions", "transformer"])
def test_figures_are_those_of_the_processor(kind: str) -> None:
    there, _ = on_device(kind, "cuda", watched=True, half=False)
    here, _ = on_device(kind, "cpu", watched=True, half=False)
    assert there.trace.steps.tolist() == here.trace.steps.tolist()
    for name in here.trace.outputs:
        for stat in OUTPUT_STATS:
            one, two = there.trace.output(name, stat)[:3], here.trace.output(name, stat)[:3]
            np.testing.assert_allclose(one, two, rtol=2e-2, atol=1e-3, err_msg=f"{name} {stat}")
    for name in here.trace.parameter_stats:
        for stat in PARAMETER_STATS:
            one, two = there.trace.parameter(name, stat)[:3], here.trace.parameter(name, stat)[:3]
            np.testing.assert_allclose(one, two, rtol=5e-2, atol=1e-3, err_msg=f"{name} {stat}")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_nothing_waits_for_the_device_between_sampled_steps() -> None:
    on_device("perceptron", "cuda", watched=True, half=False, strict=True)
