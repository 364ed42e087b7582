"""Whether targets belong to their inputs: relations that are there, and numbers that belong to nothing."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from checkup_verdicts import the, tried  # noqa: E402
from torch import nn  # noqa: E402

from lettrine.health.findings import Report  # noqa: E402
from lettrine.torch.checkup.ties import ORDERS, chance, cut_off  # noqa: E402

NUMBERS = {
    "noisy": lambda x, e: x[:, 0] + 3.0 * e,  # a tenth of the variance can be known
    "product": lambda x, e: x[:, 0] * x[:, 1] + 0.3 * e,
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", NUMBERS)
def test_numbers_that_belong_to_nothing(kind: str) -> None:
    named = [0, 0]
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        x, noise = torch.randn(768, 20, generator=generator), torch.randn(768, generator=generator)
        y = NUMBERS[kind](x, noise)[:, None]
        for shuffled, target in enumerate((y, y[torch.randperm(768, generator=generator)])):
            torch.manual_seed(seed)
            model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 1))
            batches = list(zip(x.split(48), target.split(48), strict=True))
            found = tried("targets", model, batches, nn.MSELoss()).findings
            named[shuffled] += [each.id for each in found] == ["shuffled-targets"]
    assert named[0] == 0
    assert named[1] >= 4


FINE = {
    "the product of two signs of 80": (80, lambda x: (x[:, :2].prod(1) > 0).long()),
    "the product of four signs": (20, lambda x: (x[:, :4].prod(1) > 0).long()),
    "a number of fast waves": (1, lambda x: torch.sin(300 * x)),
}


@pytest.mark.parametrize("kind", FINE)
def test_a_relation_that_is_fine(kind: str) -> None:
    """The network does not learn it in so few steps, yet it is there."""
    features, relation = FINE[kind]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2048, features, generator=generator)
    y = relation(x)

    def with_targets(target: torch.Tensor) -> Report:
        torch.manual_seed(0)
        numbers = target.is_floating_point()
        model = nn.Sequential(nn.Linear(features, 64), nn.ReLU(), nn.Linear(64, 1 if numbers else 2))
        batches = list(zip(x.split(32), target.split(32), strict=True))
        return tried("targets", model, batches, nn.MSELoss() if numbers else nn.CrossEntropyLoss())

    assert not with_targets(y).findings
    assert the(with_targets(y[torch.randperm(2048, generator=generator)]), "shuffled-targets").severity == "warning"


def test_codes_of_which_neighbours_are_not_alike() -> None:
    generator = torch.Generator().manual_seed(0)
    bits = torch.randint(2, (1024, 40), generator=generator) * 2.0 - 1
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(40, 32), nn.ReLU(), nn.Linear(32, 2))
    batches = list(zip(bits.split(32), (bits[:, :9].prod(1) > 0).long().split(32), strict=True))
    assert the(tried("targets", model, batches), "shuffled-targets").severity == "info"


def test_chance_of_known_orders() -> None:
    """Answers that are the targets fit no other order as well; those that are noise fit half of all orders better or worse."""
    y = torch.arange(100.0)[:, None]
    assert chance(y, y) == 1 / (ORDERS + 1)
    assert chance(-y, y) == 1.0
    orders = [torch.randperm(100, generator=torch.Generator().manual_seed(each)) for each in range(40)]
    shares = torch.tensor([chance(y[order], y) for order in orders])
    assert 0.3 < float(shares.mean()) < 0.7
    assert float(shares.std()) == pytest.approx(12**-0.5, abs=0.08)  # spread evenly between 0 and 1


def test_far_targets_decide_nothing() -> None:
    y = torch.cat([torch.linspace(-1, 1, 99), torch.tensor([1e6])])[:, None]
    assert float(cut_off(y).max()) == pytest.approx(2.6, abs=0.1)  # quartiles at -0.5 and 0.5
    rare = torch.cat([torch.zeros(90), torch.ones(10)])[:, None]
    assert torch.equal(cut_off(rare), rare.double())
