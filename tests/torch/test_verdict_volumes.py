"""A small flow whose log-volume has the right sign, or the wrong one."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from trainings import checked  # noqa: E402

from lettrine import health  # noqa: E402


class Flow(nn.Module):
    """Scales and moves each half by what the other half says."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList(nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 4)) for _ in range(2))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        volume = x.new_zeros(len(x))
        for part in self.parts:
            kept, moved = x.chunk(2, 1)
            scale, shift = part(kept).chunk(2, 1)
            scale = 2 * torch.tanh(scale)
            x, volume = torch.cat([moved * scale.exp() + shift, kept], 1), volume + scale.sum(1)
        return x, volume


def trained(form: str) -> list[health.Finding]:
    torch.manual_seed(3)
    flow = Flow()
    optimiser = torch.optim.Adam(flow.parameters(), lr=3e-2)
    prior = torch.distributions.Normal(torch.zeros(4), torch.ones(4))
    spread = 0.15 if form == "narrow data" else 1.0
    with health.watch(flow, optimiser) as watch:
        for _ in range(48):
            x = spread * torch.randn(64, 4) @ torch.tensor([[1.0, 0.5, 0, 0], [0, 1, 0.5, 0], [0, 0, 1, 0.5], [0, 0, 0, 1]])
            code, volume = flow(x)
            if form == "by hand":
                loss = (0.5 * code.pow(2).sum(1) + volume).mean()
            elif form == "distribution":
                loss = -(prior.log_prob(code).sum(1) - volume).mean()
            else:
                loss = -(prior.log_prob(code).sum(1) + volume).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    return [each for each in checked(watch.report()).findings if each.id == "wrong-direction"]


@pytest.mark.parametrize("form", ["by hand", "distribution"])
def test_a_log_volume_with_the_wrong_sign(form: str) -> None:
    (found,) = trained(form)
    assert found.value < 0.05
    assert "sign of the log-volume" in found.remedy


@pytest.mark.parametrize("form", ["wide data", "narrow data"])
def test_a_log_volume_with_the_right_sign(form: str) -> None:
    assert trained(form) == []
