"""Experiments that train and find something leave everything as it was, too, also where Ctrl-C comes in their middle."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from benchmarks.checkup.sick import CASES  # noqa: E402
from test_checkup_forms import state  # noqa: E402
from test_checkup_sandbox import assert_same  # noqa: E402

from lettrine.torch.checkup import EXPERIMENTS  # noqa: E402
from lettrine.torch.checkup.making import make_task  # noqa: E402
from lettrine.torch.checkup.runner import perform  # noqa: E402

FOUND_IN: Final = {
    "first-loss": "outputs (N, 1), targets (N,)",
    "parameters": "features detached on the way",
    "independence": "softmax over the batch",
    "causality": "decoder, causal mask none",
    "padding": "padding mask inverted",
    "alone": "sum over places divided by the length of the longest",
    "randomness": "dropout called without training",
    "optimiser": "Adam's eps in half precision",
    "step": "gradients clipped before they are unscaled",
    "data": "batches sorted by class",
    "answer": "a column that is the label",
    "save-load": "a layer's weight kept as a plain tensor, trained by hand",
    "inputs": "one of two inputs forgotten",
    "blanking": "first state of a recurrent net where the last is meant",
    "norm-statistics": "running statistics that never move",
    "shared-norm": "one batch norm in three places",
    "one-batch": "linear layers with nothing between them",
    "precision": "a difference of large numbers",
    "frozen": "fresh layers frozen",
    "scales": "targets in the thousands",
    "decay": "weight decay stronger than the gradient",
    "head": "softmax before cross-entropy",
    "last-state": "last state of a recurrent net, behind the padding",
    "padded-targets": "padding among the tags",
    "initialisation": "weights so small that signals die out",
    "learning-rate": "a rate far too high",
}
"""For each experiment a task in which it finds something. Two need what others found before: `start` and `targets`."""


WITHOUT_LOSS: Final = ("independence", "causality", "padding", "alone", "step", "data", "answer", "precision")
"""These ask for the loss once or never; test_checkup_sandbox.py interrupts them inside the model."""


class Interrupting:
    """A loss function that is interrupted at its n-th call. It counts in an array: a number of its own would be restored, too."""

    def __init__(self, loss_fn: Any) -> None:
        self.loss_fn, self.counted, self.at = loss_fn, np.zeros(1, int), -1

    @property
    def calls(self) -> int:
        return int(self.counted[0])

    def __call__(self, output: Any, target: Any) -> Any:
        self.counted[0] += 1
        if self.calls == self.at:
            raise KeyboardInterrupt
        return self.loss_fn(output, target)


def test_every_experiment_has_its_task() -> None:
    assert set(FOUND_IN) == set(EXPERIMENTS) - {"start", "targets"}


@pytest.mark.parametrize("name", FOUND_IN)
def test_what_finds_something_restores_everything(name: str) -> None:
    torch.manual_seed(1)
    model, batches, loss_fn, optimizer, *own = next(each for each in CASES if each.name == FOUND_IN[name]).build(False)
    interrupting = Interrupting(loss_fn)
    before = state(model, optimizer)
    task = make_task(model, batches, interrupting, optimizer, *own, minutes=9)
    begun = interrupting.calls
    _, outcome, _ = perform(EXPERIMENTS[name], task)
    assert outcome.status == "found", outcome
    assert_same(before, state(model, optimizer))
    taken = interrupting.calls - begun
    if taken < 2:
        assert name in WITHOUT_LOSS
        return
    interrupting.at = interrupting.calls + 1 + taken // 2
    with pytest.raises(KeyboardInterrupt):
        perform(EXPERIMENTS[name], task)
    assert_same(before, state(model, optimizer))
