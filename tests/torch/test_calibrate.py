"""`lettrine.init.calibrate` on all kinds of modules, against what can be known beforehand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

import lettrine  # noqa: E402
from lettrine import health  # noqa: E402
from lettrine.engine import calibration  # noqa: E402
from lettrine.errors import ArgumentError, HealthError  # noqa: E402
from lettrine.model.config import MLPConfig  # noqa: E402
from lettrine.model.initialisation import NAIVE, initialise  # noqa: E402
from lettrine.torch.model import CharMLP  # noqa: E402

CLASSES = 7


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(11, 24)
        block = nn.TransformerEncoderLayer(24, 4, 48, dropout=0.1, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(block, 3, enable_nested_tensor=False)
        self.norm, self.head = nn.LayerNorm(24), nn.Linear(24, CLASSES)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.norm(self.blocks(self.table(tokens))).mean(1))


def mlp() -> tuple[nn.Module, Any]:
    layers = [nn.Sequential(nn.Linear(20, 20), nn.ReLU()) for _ in range(12)]
    return nn.Sequential(*layers, nn.Linear(20, CLASSES)), torch.randn(256, 20)


def conv() -> tuple[nn.Module, Any]:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.GELU(), nn.Conv2d(8, 12, 3, stride=2), nn.ReLU(),
        nn.Conv2d(12, 12, 3, groups=3), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, CLASSES),
    ), torch.randn(64, 3, 12, 12)  # fmt: skip


def transformer() -> tuple[nn.Module, Any]:
    return Transformer(), torch.randint(0, 11, (64, 10))


def language() -> tuple[nn.Module, Any]:
    config = MLPConfig(CLASSES, context=4, embedding=6, hidden=(30, 20), activation="tanh", direct=True)
    return CharMLP(config), torch.randint(0, CLASSES, (128, 4))


BUILD: dict[str, Callable[[], tuple[nn.Module, Any]]] = {
    "mlp": mlp,
    "conv": conv,
    "transformer": transformer,
    "language": language,
}


def spoiled(kind: str, factor: float = 6.0) -> tuple[nn.Module, Any, Tensor]:
    """A module all of whose matrices are far too large."""
    torch.manual_seed(1)
    model, inputs = BUILD[kind]()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(factor)
    return model, inputs, torch.randint(0, CLASSES, (len(inputs),))


def spreads(model: nn.Module, inputs: Any) -> dict[str, float]:
    seen: dict[str, float] = {}

    def listen(name: str) -> Callable[..., None]:
        def hear(_: nn.Module, __: Any, output: Tensor) -> None:
            seen[name] = float(output.detach().std())

        return hear

    handles = [
        module.register_forward_hook(listen(name))
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    ]
    model.train()
    model(inputs)
    for handle in handles:
        handle.remove()
    return seen


@pytest.mark.parametrize("kind", BUILD)
def test_every_layer_ends_at_unit_spread_and_the_loss_at_a_guess(kind: str) -> None:
    model, inputs, targets = spoiled(kind)
    done = lettrine.init.calibrate(model, (inputs, targets), functional.cross_entropy)
    found = spreads(model, inputs)
    loose = 0.1 if kind == "transformer" else 1e-3  # dropout draws anew
    last = {"mlp": "12", "conv": "9", "transformer": "head", "language": "output"}[kind]
    for name, value in found.items():
        if name not in (last, "direct"):
            assert value == pytest.approx(1.0, rel=loose), name
    assert done.uniform == pytest.approx(math.log(CLASSES), rel=1e-5)
    assert done.loss[1] == pytest.approx(done.uniform, abs=0.03)
    assert float(functional.cross_entropy(model(inputs), targets).detach()) == pytest.approx(done.loss[1], abs=0.02)
    assert done.loss[0] > done.uniform + 0.1
    assert str(done).count("\n") == len(done.layers) + 1


def test_attention_projections_are_scaled_too() -> None:
    model, inputs, targets = spoiled("transformer")
    done = lettrine.init.calibrate(model, (inputs, targets), functional.cross_entropy)
    names = [layer.name for layer in done.layers]
    for block in range(3):
        for part in ("query", "key", "value", "out_proj"):
            assert f"blocks.layers.{block}.self_attn.{part}" in names
    attention = model.blocks.layers[0].self_attn
    with torch.no_grad():
        given = model.blocks.layers[0].norm1(model.table(inputs))
        made = functional.linear(given, attention.in_proj_weight, attention.in_proj_bias)
    for part in made.chunk(3, dim=-1):
        assert float(part.std()) == pytest.approx(1.0, rel=1e-3)


def test_it_is_what_the_engines_do() -> None:
    """The two were written apart: numpy on named arrays, torch on hooks."""
    config = MLPConfig(
        CLASSES, context=4, embedding=6, hidden=(30, 20), activation="gelu", norm="batch", hidden_bias=True, direct=True
    )
    parameters = initialise(config, NAIVE, np.random.default_rng(2))
    random = np.random.default_rng(3)
    contexts = random.integers(0, CLASSES, (200, 4)).astype(np.int32)
    targets = random.integers(0, CLASSES, 200).astype(np.int32)
    ours = calibration.calibrate(config, parameters, contexts, targets)
    model = CharMLP(config, parameters)
    batch = (torch.from_numpy(contexts).long(), torch.from_numpy(targets).long())
    theirs = lettrine.init.calibrate(model, batch, functional.cross_entropy)
    for name, value in model.to_parameters().items():
        if "running" not in name:
            np.testing.assert_allclose(
                value, ours.parameters[name], rtol=2e-2 if name.startswith(("output", "direct")) else 1e-3, atol=1e-6
            )
    assert theirs.loss == pytest.approx(ours.loss, rel=1e-3)


def test_nothing_but_weights_changes() -> None:
    model, inputs, targets = spoiled("conv")
    model[1].eval()
    functional.cross_entropy(model(inputs), targets).backward()
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    norms = {name: value.clone() for name, value in model[1].named_parameters()}
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    modes, random = [module.training for module in model.modules()], torch.get_rng_state()
    lettrine.init.calibrate(model, (inputs, targets), functional.cross_entropy)
    assert all(torch.equal(value, buffers[name]) for name, value in model.named_buffers())
    assert all(torch.equal(value, norms[name]) for name, value in model[1].named_parameters())
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), gradients, strict=True))
    assert modes == [module.training for module in model.modules()]
    assert torch.equal(random, torch.get_rng_state())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_an_exception_leaves_the_weights_alone() -> None:
    model, inputs, targets = spoiled("mlp")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    calls = iter(range(10))

    def loss_fn(output: Tensor, target: Tensor) -> Tensor:
        if next(calls) == 2:
            raise RuntimeError("late")
        return functional.cross_entropy(output, target)

    with pytest.raises(RuntimeError, match="late"):
        lettrine.init.calibrate(model, (inputs, targets), loss_fn)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(CLASSES, 16)
        self.memory = nn.LSTM(16, 16, batch_first=True)
        self.frozen = nn.Linear(16, 16)
        self.frozen.requires_grad_(False)
        self.computed = nn.utils.parametrizations.weight_norm(nn.Linear(16, 16))
        self.zero = nn.Linear(16, 16)
        nn.init.zeros_(self.zero.weight)
        nn.init.zeros_(self.zero.bias)
        self.head = nn.Linear(16, CLASSES, bias=False)
        self.head.weight = self.table.weight

    def forward(self, tokens: Tensor) -> Tensor:
        h, _ = self.memory(self.table(tokens))
        h = self.computed(self.frozen(h[:, -1]))
        return self.head(h + self.zero(h))


def test_what_must_not_be_scaled_is_left_and_says_so() -> None:
    torch.manual_seed(0)
    model = Tied()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    tokens = torch.randint(0, CLASSES, (64, 5))
    done = lettrine.init.calibrate(model, (tokens, tokens[:, 0]), functional.cross_entropy)
    notes = {layer.name: layer.note for layer in done.layers}
    assert notes == {
        "memory": "left: recurrent",
        "frozen": "left: frozen",
        "computed": "left: its weight is computed",
        "zero": "left: its outputs are all alike",
        "head": "left: shares its weight with an embedding",
    }
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert "left: frozen" in str(done)


def test_what_cannot_be_calibrated_is_refused() -> None:
    model, inputs, targets = spoiled("mlp")
    with pytest.raises(HealthError, match="expected a number above 0"):
        lettrine.init.calibrate(model, (inputs, targets), functional.cross_entropy, std=0.0)
    with pytest.raises(ArgumentError, match="expected a pair"):
        lettrine.init.calibrate(model, inputs, functional.cross_entropy)
    with pytest.raises(HealthError, match="one number"):
        lettrine.init.calibrate(model, (inputs, targets), lambda a, b: functional.cross_entropy(a, b, reduction="none"))
    with pytest.raises(HealthError, match="not finite"):
        lettrine.init.calibrate(model, (inputs * math.nan, targets), functional.cross_entropy)


def test_initial_says_how_large_each_weight_should_be() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(30, 100),
        nn.Tanh(),
        nn.Linear(100, 200),
        nn.BatchNorm1d(200),
        nn.ReLU(),
        nn.Linear(200, 50),
        nn.Linear(50, CLASSES),
    )
    with torch.no_grad():
        model[0].weight.normal_(0, 1)
    found = health.initial(model, (torch.randn(64, 30), torch.randint(0, CLASSES, (64,))), functional.cross_entropy)
    first, second, third, last = found.layers
    assert (first.activation, first.fan_in, first.gain) == ("tanh", 30, pytest.approx(5 / 3))
    assert first.should_be == pytest.approx(5 / 3 / math.sqrt(30))
    assert first.is_std == pytest.approx(1.0, rel=0.05)
    assert first.factor == pytest.approx(math.sqrt(30) * 3 / 5, rel=0.05)
    assert first.output == pytest.approx(math.sqrt(30), rel=0.1)
    assert (second.activation, second.gain) == ("relu", pytest.approx(math.sqrt(2)))  # through the batch norm
    assert (third.activation, third.gain) == ("", 1.0)
    assert last.last
    assert "smaller" in str(found).splitlines()[-1]
    assert found.report.trace.outputs


def test_convolutions_count_their_kernel() -> None:
    model, inputs, targets = spoiled("conv", factor=1.0)
    found = health.initial(model, (inputs, targets), functional.cross_entropy)
    assert [layer.fan_in for layer in found.layers] == [27, 72, 36, 12]
    assert [layer.activation for layer in found.layers] == ["gelu", "relu", "tanh", ""]


def test_matrices_that_attention_and_lstms_use_themselves_are_listed() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
    x = torch.randn(8, 10, 32)
    rows = {row.name: row for row in health.initial(layer, (x, torch.zeros_like(x)), functional.mse_loss).layers}
    assert list(rows) == ["self_attn.in_proj_weight", "self_attn.out_proj.weight", "linear1", "linear2"]
    inner = rows["self_attn.in_proj_weight"]
    assert (inner.fan_in, inner.should_be) == (32, pytest.approx(1 / math.sqrt(32)))
    assert inner.is_std == pytest.approx(math.sqrt(2 / (32 + 96)), rel=0.03)  # torch's own start: Glorot over the three together
    assert math.isnan(inner.output)
    with torch.no_grad():
        attended = layer.self_attn(x, x, x)[0]
    assert rows["self_attn.out_proj.weight"].output == pytest.approx(float(attended.std()), rel=1e-5)

    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.cell, self.head = nn.Embedding(9, 5), nn.LSTM(5, 7, batch_first=True), nn.Linear(7, 9)

        def forward(self, words: torch.Tensor) -> torch.Tensor:
            return self.head(self.cell(self.embedding(words))[0][:, -1])

    batch = torch.randint(0, 9, (6, 4)), torch.randint(0, 9, (6,))
    layers = health.initial(Words(), batch, functional.cross_entropy).layers
    assert [(row.name, row.fan_in) for row in layers] == [("cell.weight_ih_l0", 5), ("cell.weight_hh_l0", 7), ("head", 7)]
