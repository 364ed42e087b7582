"""CUDA graphs: replays run no Python. Here a capture is played on the processor."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from trainings import adam, batches, mlp

from lettrine import health
from lettrine.errors import HealthError
from lettrine.torch.capture import copies


@pytest.fixture
def capturing(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether a graph is being captured: one entry, to be set. Tensors say that they are on a graphics card meanwhile."""
    now = [False]
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: now[0])
    true = copies.measurable
    assert true(torch.ones(2))
    monkeypatch.setattr(Tensor, "is_cuda", property(lambda _: now[0]))
    return now


def step(model: torch.nn.Module, optimiser: torch.optim.Optimizer, seed: int) -> Tensor:
    (x, y), *_ = batches(1, seed=seed)
    loss = functional.cross_entropy(model(x), y)
    loss.backward()
    optimiser.step()
    optimiser.zero_grad()
    return loss


def test_a_captured_step_is_refused_with_a_clear_word(capturing: list[bool], caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    model = mlp()
    optimiser = adam(model)
    with caplog.at_level(logging.WARNING, logger="lettrine.health"), health.watch(model, optimiser, every=1) as watch:
        for seed in range(8):  # to warm up
            step(model, optimiser, seed)
        capturing[0] = True
        step(model, optimiser, 8)
        capturing[0] = False
        for _ in range(200):  # replays
            watch.loss(1.0)
    report = watch.report()
    assert report.trace.facts.errors == ()
    assert not report.healthy
    assert "Not judged" in str(report)
    assert "a CUDA graph was captured: its replays run without Python" in " ".join(str(report).split())
    assert len(report.trace.steps) < 12


def test_nothing_but_replays_says_why_nothing_was_recorded(capturing: list[bool]) -> None:
    model = mlp()
    optimiser = adam(model)
    with health.watch(model, optimiser) as watch:
        capturing[0] = True
        (x, y), *_ = batches(1)
        functional.cross_entropy(model(x), y).backward()
        capturing[0] = False
    with pytest.raises(HealthError, match="CUDA graph"):
        watch.report()
