"""Scales whose logarithm is added to the loss with the right sign, and with the other one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from verdicts import batches, net, numbers, watched

from lettrine import health


def found(model: nn.Module, loss, rate: float = 3e-2) -> list[health.Finding]:
    x, y = numbers()
    report = watched(model, batches(x, y[:, None]), loss, steps=80, rate=rate)
    return [each for each in report.findings if each.id == "wrong-direction"]


def error(sign: float, form: str = "product"):
    """A prediction with an error bar."""

    def loss(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        mean, scale = model(x).chunk(2, 1)
        near = (y - mean) / scale.exp() if form == "quotient" else (y - mean) * (-scale).exp()
        return (0.5 * near.pow(2) + sign * scale).mean()

    return loss


@pytest.mark.parametrize("form", ["product", "quotient"])
def test_an_error_bar(form: str) -> None:
    (finding,) = found(net(out=2), error(-1, form))
    assert (finding.severity, finding.id) == ("critical", "wrong-direction")
    assert "error * exp(-s)" in finding.remedy
    assert found(net(out=2), error(1, form)) == []


class Flow(nn.Module):
    """Divides each half by what the other says, and gives the logarithm of its likelihood."""

    def __init__(self, sign: float) -> None:
        super().__init__()
        self.parts = nn.ModuleList(nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 6)) for _ in range(2))
        self.prior, self.sign = torch.distributions.Normal(torch.zeros(6), 2 * torch.ones(6)), sign

    def forward(self, x: Tensor) -> Tensor:
        volume = x.new_zeros(len(x))
        for part in self.parts:
            kept, moved = x.chunk(2, 1)
            scale, shift = part(kept).chunk(2, 1)
            x, volume = torch.cat([(moved - shift) * (-scale).exp(), kept], 1), volume - scale.sum(1)
        return self.prior.log_prob(x).sum(1) + self.sign * volume


def test_a_flow_that_gives_its_likelihood() -> None:
    torch.manual_seed(0)
    (finding,) = found(Flow(-1), lambda model, x, _: -model(x).mean())
    assert finding.value < finding.limit
    assert "sign of the logarithm" in finding.remedy
    assert found(Flow(1), lambda model, x, _: -model(x).mean()) == []


class Coder(nn.Module):
    """Draws a code, and reads the input from it."""

    def __init__(self) -> None:
        super().__init__()
        self.code, self.read = nn.Linear(6, 4), nn.Linear(2, 6)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, scale = self.code(x).chunk(2, 1)
        return self.read(mean + (0.5 * scale).exp() * torch.randn_like(mean)), mean, scale


def test_codes_drawn() -> None:
    """The divergence of a code from its prior pays for the entropy of what is drawn."""

    def loss(model: nn.Module, x: Tensor, _: Tensor) -> Tensor:
        out, mean, scale = model(x)
        kl = -0.5 * (1 + scale - mean.pow(2) - scale.exp()).sum(1)
        return ((out - x).pow(2).sum(1) + kl).mean()

    assert found(Coder(), loss) == []


def test_a_policy() -> None:
    """Its log-probabilities are weighted: the entropy is paid for as well, and narrows all the same."""

    class Policy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mean, self.scale = nn.Linear(6, 1), nn.Parameter(torch.zeros(1))

        def forward(self, x: Tensor) -> Tensor:
            return self.mean(x)

    def loss(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        mean = model(x)
        action = (mean + model.scale.exp() * torch.randn_like(mean)).detach()
        paid = -(action - y).pow(2)
        chosen = -0.5 * ((action - mean) / model.scale.exp()).pow(2) - model.scale
        return -(chosen * F.normalize(paid - paid.mean(), dim=0)).sum() - 0.01 * model.scale.mean()

    assert found(Policy(), loss) == []
