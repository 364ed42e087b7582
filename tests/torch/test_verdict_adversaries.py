"""Generators, critics and embeddings: what they cannot reach, and what became one, beside healthy ones that look alike."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from trainings import checked, named  # noqa: E402

from lettrine import health  # noqa: E402
from lettrine.health.findings import Finding  # noqa: E402


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(3)


class Scaled(nn.Module):
    """Numbers from -1 to 1 brought to 0 to 255."""

    def forward(self, x: Tensor) -> Tensor:
        return (torch.tanh(x) + 1) * 127.5


def played(
    last: nn.Module | None, low: float, high: float, *, hinge: nn.Module | None = None, **ways: bool
) -> dict[str, Finding]:
    """A generator that ends in `last`, and data from low to high. apart: one backward pass for data, one for what is made.
    noisy: data and answers get noise. one: a single optimiser, as of two parts of one network."""
    maker = nn.Sequential(nn.Linear(4, 24), nn.ReLU(), nn.Linear(24, 8), *([last] if last is not None else []))
    judge = nn.Sequential(nn.Linear(8, 24), nn.LeakyReLU(0.2), nn.Linear(24, 1), *([hinge] if hinge is not None else []))
    made = torch.optim.Adam(maker.parameters(), lr=1e-3)
    judged = torch.optim.Adam(judge.parameters(), lr=1e-3)
    hinged = ways.get("hinged", False)

    def error(score: Tensor, sign: int) -> Tensor:
        if hinged:
            return functional.relu(1 - sign * score).mean() if sign > 0 else (1 + score).clamp(min=0).mean()
        return functional.softplus(-sign * score).mean()

    with health.watch(nn.ModuleDict({"maker": maker, "judge": judge}), [made, judged]) as watch:
        for _ in range(12):
            real = low + (high - low) * (torch.rand(32, 8) < 0.4).float()
            fake = maker(torch.randn(32, 4)).detach()
            if ways.get("noisy"):
                real, fake = real + 0.1 * torch.randn_like(real), fake + 0.1 * torch.randn_like(fake)
            judged.zero_grad()
            if ways.get("apart"):
                error(judge(real), 1).backward()
                loss = error(judge(fake), -1)
            else:
                loss = error(judge(real), 1) + error(judge(fake), -1)
            loss.backward()
            judged.step()
            made.zero_grad()
            (-judge(maker(torch.randn(32, 4))).mean()).backward()
            made.step()
            watch.loss(loss)
    return named(checked(watch.report()))


@pytest.mark.parametrize(
    ("last", "low", "high"),
    [(nn.Sigmoid(), 0, 255), (nn.Sigmoid(), -1, 1), (nn.Tanh(), -0.4, 2.8)],
)
@pytest.mark.parametrize("apart", [False, True])
def test_data_out_of_a_generators_reach(last: nn.Module, low: float, high: float, apart: bool) -> None:
    found = played(last, low, high, apart=apart)["target-range"]
    assert found.where == ("maker",)
    assert "judge is shown data" in found.message


@pytest.mark.parametrize(
    ("last", "low", "high", "noisy"),
    [
        (nn.Sigmoid(), 0, 1, False),
        (nn.Tanh(), 0, 1, False),
        (nn.Tanh(), -1, 1, True),
        (None, 0, 255, False),
        (Scaled(), 0, 255, False),
    ],
)
def test_data_within_reach(last: nn.Module | None, low: float, high: float, noisy: bool) -> None:
    assert "target-range" not in played(last, low, high, noisy=noisy)


def test_a_hinge_out_of_reach() -> None:
    found = played(nn.Tanh(), -1, 1, hinge=nn.Sigmoid(), hinged=True)["target-range"]
    assert found.where == ("judge.2",)
    assert "sigmoid" in found.remedy


@pytest.mark.parametrize("hinge", [None, nn.Tanh()])
def test_a_hinge_within_reach(hinge: nn.Module | None) -> None:
    assert "target-range" not in played(nn.Tanh(), -1, 1, hinge=hinge, hinged=True)


def embedded(rate: float, form: str = "hardest", *, steps: int = 24) -> dict[str, Finding]:
    """Vectors of four kinds, told apart by a margin."""
    net = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 8))
    optimiser = torch.optim.Adam(net.parameters(), lr=rate)
    generator = torch.Generator().manual_seed(5)
    kinds = torch.randn(4, 12, generator=generator)
    with health.watch(net, optimiser) as watch:
        for _ in range(steps):
            y = torch.arange(32) % 4
            x = 0.6 * kinds[y] + torch.randn(32, 12, generator=generator)
            vectors = net(x)
            if form == "triplets":
                loss = functional.triplet_margin_loss(vectors[:12], vectors[4:16], vectors[1:13], margin=0.5)
            elif form == "pairs":
                apart = functional.pairwise_distance(vectors[:16], vectors[torch.randperm(16, generator=generator)])
                loss = (apart - 1).square().mean()
            else:
                apart = (vectors[:, None] - vectors[None]).square().sum(2).clamp(min=1e-9).sqrt()
                alike = y[:, None] == y
                loss = functional.relu((apart - 1e9 * ~alike).amax(1) - (apart + 1e9 * alike).amin(1) + 0.5).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    return named(checked(watch.report()))


def test_vectors_that_became_one() -> None:
    found = embedded(0.1, steps=100)["no-learning"]
    assert found.value < 0.02
    assert "learning rate" in found.remedy


@pytest.mark.parametrize(("rate", "form"), [(1e-3, "hardest"), (3e-3, "triplets"), (3e-3, "pairs")])
def test_vectors_that_stay_apart(rate: float, form: str) -> None:
    assert embedded(rate, form) == {}
