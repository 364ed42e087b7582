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


def squared(share: float, *, steps: int = 160, every: int = 1, last: int = 0, masked: bool = True) -> dict[str, Finding]:
    """One head that says whether something is there, and where, both in squares. share: of the places that are objects, in one
    of `every` batches, and in the last batches. masked: whether places without an object need not say where.
    """
    model = nn.Sequential(nn.Linear(8, 24), nn.Tanh(), nn.Linear(24, 32))
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    with health.watch(model, optimiser) as watch:
        for step in range(steps):
            here = share if step % every == every - 1 or step >= steps - last else 0
            there = (torch.rand(16, 16) < here).float()
            said, offset = model(torch.randn(16, 8)).chunk(2, 1)
            missed = (offset - torch.randn(16, 16)).abs()
            loss = 5 * functional.mse_loss(said, there) + (missed * there if masked else missed).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    return {each.id: each for each in checked(watch.report()).findings}


def test_no_place_is_an_object_for_a_head_that_says_both() -> None:
    found = squared(0.0)["target-constant"]
    assert (found.severity, found.where) == ("warning", ("2",))
    assert "a single 1 among the 256 targets of a batch would add about 0.02" in found.message


@pytest.mark.parametrize(
    "objects",
    [
        {"share": 0.05},
        {"share": 0.05, "every": 77},  # in batches that no look met
        {"share": 0.05, "every": 1_000, "last": 1},  # the first objects have just come
        {"share": 0.0, "steps": 60},  # they may be rare
        {"share": 0.0, "masked": False},  # where is asked of all places
    ],
)
def test_objects_that_are_rare_or_may_be(objects: dict[str, float]) -> None:
    assert "target-constant" not in squared(**objects)  # type: ignore[arg-type]


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
