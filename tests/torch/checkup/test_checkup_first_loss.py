"""The first loss, and what it is made of. Sick in one known place, and cured."""

from __future__ import annotations

from functools import partial
from math import log
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from checkup_tasks import (  # noqa: E402
    pairs,
)
from checkup_verdicts import the, tried  # noqa: E402
from torch import nn  # noqa: E402


class TestFirstLoss:
    def test_reference_is_the_entropy_of_the_shares(self) -> None:
        target = torch.tensor([0, 0, 0, 1])
        report = tried("first-loss", nn.Linear(3, 2), [(torch.randn(4, 3), target)])
        seen = report.trace.seen("experiment:first-loss")[0]
        assert seen.figure("reference") == pytest.approx(-0.75 * log(0.75) - 0.25 * log(0.25), abs=1e-4)

    @pytest.mark.parametrize(
        ("end", "loss_fn"),
        [
            (nn.LogSoftmax(1), nn.functional.nll_loss),
            (nn.Softmax(1), lambda out, y: nn.functional.nll_loss(out.log(), y)),
            (nn.Sequential(nn.Flatten(0), nn.Sigmoid()), lambda out, y: nn.functional.binary_cross_entropy(out, y.float())),
            (nn.Flatten(0), lambda out, y: nn.functional.binary_cross_entropy_with_logits(out, y.float())),
        ],
    )
    def test_reference_is_the_entropy_however_the_network_ends(self, end: nn.Module, loss_fn: Any) -> None:
        target = torch.tensor([0, 0, 0, 1])
        model = nn.Sequential(nn.Linear(3, 2 if isinstance(end, nn.Softmax | nn.LogSoftmax) else 1), end)
        report = tried("first-loss", model, [(torch.randn(4, 3), target)], loss_fn)
        seen = report.trace.seen("experiment:first-loss")[0]
        assert seen.figure("reference") == pytest.approx(-0.75 * log(0.75) - 0.25 * log(0.25), abs=1e-4)

    def test_reference_is_the_variance_of_the_targets(self) -> None:
        target = torch.tensor([[1.0], [2.0], [3.0], [6.0]])
        report = tried("first-loss", nn.Linear(3, 1), [(torch.randn(4, 3), target)], nn.MSELoss())
        assert report.trace.seen("experiment:first-loss")[0].figure("reference") == pytest.approx(3.5, abs=1e-4)

    def test_broadcast(self) -> None:
        model = nn.Linear(20, 1)
        wrong = [(x, x.sum(1)) for x, _ in pairs()]
        found = the(tried("first-loss", model, wrong, nn.MSELoss()), "broadcast")
        assert "(16, 1)" in found.message
        assert "(16,)" in found.message
        right = [(x, y[:, None]) for x, y in wrong]
        assert "broadcast" not in {each.id for each in tried("first-loss", model, right, nn.MSELoss()).findings}

    def test_a_broadcast_of_maps(self) -> None:
        batches = [(x.reshape(16, 1, 4, 5), x.reshape(16, 4, 5)) for x, _ in pairs()]
        model = nn.Conv2d(1, 1, 3, padding=1)
        assert the(tried("first-loss", model, batches, nn.MSELoss()), "broadcast").severity == "critical"
        right = [(x, y[:, None]) for x, y in batches]
        assert "broadcast" not in {each.id for each in tried("first-loss", model, right, nn.MSELoss()).findings}

    def test_targets_out_of_reach(self) -> None:
        batches = [(x, 5 + 3 * x[:, :1]) for x, _ in pairs()]
        found = the(tried("first-loss", nn.Sequential(nn.Linear(20, 1), nn.Sigmoid()), batches, nn.MSELoss()), "target-range")
        assert found.where == ("1",)

    def test_targets_under_which_a_loss_has_no_floor(self) -> None:
        grades = [(x, (2 * x[:, :1]).clamp(0, 4).round()) for x, _ in pairs()]
        found = the(tried("first-loss", nn.Linear(20, 1), grades, nn.BCEWithLogitsLoss()), "target-range")
        assert "go from 0 to 4" in found.message or "go from 0 to 3" in found.message
        right = [(x, y / 4) for x, y in grades]
        assert "target-range" not in {
            each.id for each in tried("first-loss", nn.Linear(20, 1), right, nn.BCEWithLogitsLoss()).findings
        }

    def test_targets_of_which_one_part_alone_is_asked_for_by_a_binary_cross_entropy(self) -> None:
        """A box: the first number is its place among four, the others are its measures."""

        def detection(z: torch.Tensor, y: torch.Tensor, *, scale: float = 1.0) -> torch.Tensor:
            there = scale * nn.functional.one_hot(y[:, 0].long(), 4).float()
            return nn.functional.binary_cross_entropy_with_logits(z[:, :4], there) + nn.functional.mse_loss(z[:, 4:], y[:, 1:])

        boxes = [(x, torch.cat([torch.arange(len(x))[:, None] % 4.0, 3 * x[:, :2]], 1)) for x, _ in pairs()]
        right = tried("first-loss", nn.Linear(20, 6), boxes, detection)
        assert "target-range" not in {each.id for each in right.findings}
        wrong = tried("first-loss", nn.Linear(20, 6), boxes, partial(detection, scale=2.0))
        assert "25 % of these are beyond (they go from 0 to 2)" in the(wrong, "target-range").message

    def test_a_cross_entropy_written_by_hand_has_no_floor_either(self) -> None:
        def clamped(p: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            p = p.clamp(1e-7, 1 - 1e-7)
            return -(y * p.log() + (1 - y) * (1 - p).log()).mean()

        def guarded(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            p = z.sigmoid()
            return -(y * torch.log(p + 1e-7) + (1 - y) * torch.log(1 - p + 1e-7)).sum(1).mean()

        def poisson(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            rate = z.exp()
            return (rate - y * torch.log(rate + 1e-7)).mean()  # counts belong under this one

        counts = [(x, torch.arange(len(x))[:, None] % 9.0) for x, _ in pairs()]
        yes_no = [(x, (y > 4).float()) for x, y in counts]

        def ids(loss_fn: Any, batches: Any) -> list[str]:
            return [each.id for each in tried("first-loss", nn.Linear(20, 1), batches, loss_fn).findings]

        for loss_fn in (clamped, guarded):
            assert "target-range" in ids(loss_fn, counts)
            assert "target-range" not in ids(loss_fn, yes_no)
        assert "target-range" not in ids(poisson, counts)

    def test_values_that_are_not_finite(self) -> None:
        class Root(nn.Module):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return (x - 10).sqrt()

        model = nn.Sequential(nn.Linear(20, 5), Root(), nn.Linear(5, 5))
        found = the(tried("first-loss", model, pairs()), "non-finite")
        assert found.where == ("1",)
        assert "sqrt (test_checkup_first_loss.py:" in found.message


class Norming(nn.Module):
    """A network that standardises its inputs itself."""

    def __init__(self, x: torch.Tensor, *, used: bool) -> None:
        super().__init__()
        self.mean, self.std, self.used = x.mean(0), x.std(0), used
        self.body = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body((x - self.mean) / self.std if self.used else x).squeeze(1)


@pytest.mark.parametrize("used", [True, False])
def test_inputs_that_the_network_standardises_itself(used: bool) -> None:
    """Standardised twice they would be next to nothing, and the answer the mean: better than a network on its way to it."""
    torch.manual_seed(0)
    sizes = torch.logspace(0, 3, 20)
    batches = [(sizes * (x + 5), x[:, 0] + 2) for x, _ in pairs(12, 32)]
    model = Norming(torch.cat([x for x, _ in batches]), used=used)
    report = tried("scales", model, batches, nn.functional.mse_loss, torch.optim.Adam(model.parameters(), 2e-3))
    assert ("input-scale" in [each.id for each in report.findings]) is not used
