"""`check_initial` sees what is wrong before training, and leaves nothing behind."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lettrine import health
from lettrine.errors import LettrineError

X, Y = torch.linspace(-1.0, 1.0, 32 * 6).reshape(32, 6), torch.arange(32) % 5


class Stateful(nn.Module):
    """Counts its calls in a buffer that it replaces, draws from every generator, drops out, keeps running statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.drop = nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5)
        self.second = nn.utils.parametrizations.spectral_norm(nn.Linear(8, 5))
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls = self.calls + 1
        noise = random.random() + np.random.rand()  # noqa: NPY002, S311  the global generators, on purpose
        return self.second(self.drop(torch.relu(self.norm(self.first(x))))) + noise


def state(model: nn.Module) -> dict[str, Any]:
    return {
        "tensors": {name: tensor.clone() for name, tensor in model.state_dict().items()},
        "gradients": {name: parameter.grad for name, parameter in model.named_parameters()},
        "values": {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()},
        "modes": [module.training for module in model.modules()],
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state()[1].tolist(),  # noqa: NPY002
        "python": random.getstate(),
        "hooks": sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()),
        "buffers": [id(buffer) for buffer in model.buffers()],
    }


def unchanged(before: dict[str, Any], after: dict[str, Any]) -> None:
    for name, tensor in before["tensors"].items():
        assert torch.equal(tensor, after["tensors"][name]), name
    for name, gradient in before["gradients"].items():
        assert gradient is after["gradients"][name], name
        assert gradient is None or torch.equal(before["values"][name], after["values"][name]), name
    assert torch.equal(before["torch"], after["torch"])
    for key in ("modes", "numpy", "python", "hooks", "buffers"):
        assert before[key] == after[key], key


@pytest.mark.parametrize("fails", [False, True])
def test_everything_is_restored_bit_by_bit(fails: bool) -> None:
    model = Stateful()
    functional.cross_entropy(model(X), Y).backward()
    model.norm.eval()
    model.first.bias.grad = None
    before = state(model)

    def criterion(output: Tensor, target: Tensor) -> Tensor:
        if fails:
            raise ZeroDivisionError
        return functional.cross_entropy(output, target)

    x = X.clone().requires_grad_()
    if fails:
        with pytest.raises(ZeroDivisionError):
            health.check_initial(model, (x, Y), criterion)
    else:
        report = health.check_initial(model, (x, Y), criterion)
        assert report.trace.facts.errors == ()
        assert report.trace.step_stats["training"].tolist() == [1.0]
    unchanged(before, state(model))
    assert x.grad is None


def test_a_confidently_wrong_start_is_named_and_a_sound_one_is_not() -> None:
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(6, 40), nn.Tanh(), nn.Linear(40, 5))
    assert health.check_initial(model, (X, Y), functional.cross_entropy).healthy
    with torch.no_grad():
        model[2].weight.mul_(100.0)
    report = health.check_initial(model, (X, Y), functional.cross_entropy)
    assert "initial-loss" in [finding.id for finding in report.findings]
    trace = report.trace
    assert trace.facts.classes == 5
    with torch.no_grad():
        assert trace.step_stats["loss"][0] == pytest.approx(functional.cross_entropy(model(X), Y).item(), rel=1e-6)
    assert math.isnan(trace.parameter("0.weight", "update_data")[0])
    assert np.isfinite(trace.parameter("0.weight", "gradient_data")[0])


def test_inputs_by_name_and_by_place() -> None:
    bilinear = nn.Bilinear(6, 6, 5)
    report = health.check_initial(bilinear, ((X, X), Y), functional.cross_entropy)
    assert report.trace.facts.errors == ()
    named = health.check_initial(nn.Linear(6, 5), ({"input": X}, Y), functional.cross_entropy)
    assert named.trace.facts.batch_size == 32


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: health.check_initial(nn.Linear(6, 5), X, functional.cross_entropy), "expected a pair"),
        (lambda: health.check_initial(nn.LazyLinear(5), (X, Y), functional.cross_entropy), "call the model once"),
        (lambda: health.check_initial(nn.Linear(6, 5), (X, Y), lambda o, _: o), r"a loss of shape \(32, 5\)"),
        (lambda: health.check_initial(nn.Linear(6, 5), (X, Y), lambda o, _: o.sum().item()), "a loss of type float"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*(Lazy modules|lazy)")
def test_what_cannot_be_examined_is_refused_in_words(call: Any, told: str) -> None:
    with pytest.raises(LettrineError, match=told):
        call()
