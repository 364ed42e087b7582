"""Activations of other libraries are told by what they do, not by what they are called."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812
from verdicts import batches, classes, watched  # noqa: E402

from lettrine.torch.capture.elementwise import activation_by_values  # noqa: E402


class Shape(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def new_gelu(x):
    return 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)))


SHAPES = [
    (new_gelu, "gelu"),
    (lambda x: x * torch.sigmoid(1.702 * x), "gelu"),
    (lambda x: x * x.sigmoid(), "silu"),
    (lambda x: x * F.softplus(x).tanh(), "mish"),
    (lambda x: x.clamp(min=0), "relu"),
    (lambda x: x.clamp(0, 6), "relu6"),
    (lambda x: torch.where(x > 0, x, 0.01 * x), "leaky-relu"),
    (lambda x: 2 * torch.sigmoid(2 * x) - 1, "tanh"),
    (lambda x: 1 / (1 + (-x).exp()), "sigmoid"),
    (lambda x: x * F.relu6(x + 3) / 6, "hardswish"),
    (lambda x: x / (1 + x.abs()), "softsign"),
]


@pytest.mark.parametrize(("function", "key"), SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_known_by_their_values(function, key, dtype):
    x = (3 * torch.randn(64, 12, generator=torch.Generator().manual_seed(0))).to(dtype)
    assert activation_by_values(Shape(function), x, function(x)) == key


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x,
        lambda x: 2 * x,
        lambda x: x**2,
        lambda x: x.relu() ** 2,
        lambda x: x.softmax(1),
        lambda x: F.layer_norm(x, x.shape[1:]),
        lambda x: F.dropout(x, 0.5),
        lambda x: x.flip(0),
        lambda x: x.sin(),
        lambda x: F.leaky_relu(x, 0.2),
    ],
)
def test_what_is_none(function):
    x = 3 * torch.randn(64, 12, generator=torch.Generator().manual_seed(0))
    assert activation_by_values(Shape(function), x, function(x)) == ""


def test_what_cannot_be_told():
    x = torch.randn(64, 12)
    assert activation_by_values(Shape(torch.tanh), 0.1 * x, torch.tanh(0.1 * x)) == ""  # near 0 most shapes are alike
    assert activation_by_values(nn.Sequential(nn.ReLU()), x, x.relu()) == ""  # its child will be met by itself
    assert activation_by_values(Shape(torch.relu_), x, torch.relu_(x)) == ""  # in place: the input is gone


def test_in_a_network():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 24), Shape(lambda x: 3 * x), Shape(new_gelu), nn.Linear(24, 4))
    report = watched(model, batches(*classes()), lambda model, x, y: F.cross_entropy(model(x), y))
    info = {each.name: (each.role, each.activation) for each in report.trace.modules}
    assert info["2"] == ("activation", "gelu")
    assert info["1"] == ("other", "")
    assert report.trace.output("2", "dead")[0] == 0.0  # judged like any GELU
