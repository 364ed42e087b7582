"""A small detector whose places are never an object, and whose target network is never filled."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from trainings import checked  # noqa: E402

from lettrine import health  # noqa: E402
from lettrine.health import limits_wiring as limits  # noqa: E402
from lettrine.health.findings import Finding  # noqa: E402


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(3)


class Detector(nn.Module):
    """Sixteen places: whether something is there, and where."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.there, self.where = nn.Linear(8, 24), nn.Linear(24, 16), nn.Linear(24, 16)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        h = torch.tanh(self.body(x))
        return self.there(h), self.where(h)


def detected(share: float, *, steps: int = 45, first: int = 0) -> dict[str, Finding]:
    """share: of the places that are objects, from step `first` on."""
    model = Detector()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    with health.watch(model, optimiser) as watch:
        for step in range(steps):
            there = (torch.rand(16, 16) < (share if step >= first else 0)).float()
            logits, offset = model(torch.randn(16, 8))
            found = functional.binary_cross_entropy_with_logits(logits, there)
            loss = found + (functional.l1_loss(offset, torch.randn(16, 16), reduction="none") * there).sum() / 16
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    return {each.id: each for each in checked(watch.report()).findings}


def test_no_place_is_an_object() -> None:
    found = detected(0.0)["target-constant"]
    assert found.where == ("there",)
    assert "where, which is compared with targets as well, got a gradient of exactly 0" in found.message
    assert "anchors" in found.remedy


@pytest.mark.parametrize(("share", "first"), [(0.1, 0), (0.004, 0), (0.1, 15)])
def test_few_places_are_objects(share: float, first: int) -> None:
    assert "target-constant" not in detected(share, first=first)


def copied(period: int, steps: int = 100) -> dict[str, Finding]:
    """Values learned from a copy that is filled every `period` steps."""
    net = nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 4))
    other = copy.deepcopy(net)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)
    with health.watch(nn.ModuleDict({"net": net, "other": other}), optimiser) as watch:
        for step in range(steps):
            value = net(torch.randn(16, 6)).gather(1, torch.randint(4, (16, 1)))[:, 0]
            with torch.no_grad():
                target = torch.randn(16) + 0.9 * other(torch.randn(16, 6)).max(1).values
            loss = functional.mse_loss(value, target)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
            if step % period == period - 1:
                other.load_state_dict(net.state_dict())
    return {each.id: each for each in checked(watch.report()).findings}


def test_a_copy_that_is_never_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "UNCOPIED_REMARK", 40)
    assert copied(1_000)["never-moved"].severity == "info"
    monkeypatch.setattr(limits, "UNCOPIED_STEPS", 40)
    found = copied(1_000)["never-moved"]
    assert (found.severity, found.where) == ("warning", ("other",))
    assert "was never written" in found.message
    assert "never-moved" not in copied(30)
