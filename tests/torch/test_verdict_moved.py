"""Batch norms whose statistics move on in a frozen part of the network."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from lettrine import health  # noqa: E402


class Tuned(nn.Module):
    """An encoder with norms, and a head."""

    def __init__(self, *, pictures: bool) -> None:
        super().__init__()
        if pictures:
            layers = [nn.Unflatten(1, (2, 2, 2)), nn.Conv2d(2, 16, 2), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten()]
        else:
            layers = [nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(16, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))[:, 0]


def rows(count: int, shift: float = 0.0) -> tuple[Tensor, Tensor]:
    """Inputs around a mean, and a number that depends on them."""
    generator = torch.Generator().manual_seed(count)
    x = torch.randn(count, 8, generator=generator) + shift
    return x, x[:, 0] + torch.relu(x[:, 1]) - 0.5 * x[:, 2]


def tuned(
    seen: tuple[Tensor, Tensor],
    held: tuple[Tensor, Tensor],
    *,
    pictures: bool = False,
    still: bool = False,
    fresh: bool = False,
    whole: bool = False,
) -> list[health.Finding]:
    """Train on rows around 0, then freeze the encoder and train the head on others. still: with the encoder in eval mode; fresh:
    its statistics are forgotten first; whole: the encoder learns too.
    """
    torch.manual_seed(0)
    model, (x, y) = Tuned(pictures=pictures), rows(512)
    first = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(200):
        chosen = torch.randint(len(x), (32,))
        first.zero_grad()
        functional.mse_loss(model(x[chosen]), y[chosen]).backward()
        first.step()
    model.body.requires_grad_(whole)
    if fresh:
        next(each for each in model.modules() if isinstance(each, nn.BatchNorm1d | nn.BatchNorm2d)).reset_running_stats()
    optimiser = torch.optim.Adam((each for each in model.parameters() if each.requires_grad), lr=3e-3)
    with health.watch(model, optimiser) as watch:
        for step in range(120):
            model.train()
            if still:
                model.body.eval()
            chosen = torch.randint(len(seen[0]), (24,))
            loss = functional.mse_loss(model(seen[0][chosen]), seen[1][chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
            if step % 20 == 19:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(functional.mse_loss(model(held[0]), held[1]))
    report = watch.report()
    assert report.trace.facts.errors == ()
    return [each for each in report.findings if "are frozen, but" in each.message]


@pytest.mark.parametrize("pictures", [False, True])
def test_batches_of_one_side_alone(pictures: bool) -> None:
    x, y = rows(512)
    side = (x[:, 0] > 0.5) & (x[:, 1] > 0)
    part = x[side], y[side]
    (found,) = tuned(part, rows(300), pictures=pictures)
    assert found.id == "norm-statistics"
    assert found.severity == "warning"
    assert found.where == ("body.2" if pictures else "body.1",)
    assert "model.body.eval()" in found.remedy
    assert tuned(part, rows(300), pictures=pictures, still=True) == []


def test_statistics_that_may_move() -> None:
    far, other = rows(400, 3.0), rows(300, 3.0)
    assert tuned(far, other) == []  # on purpose: held-out data are of the new kind, too
    assert tuned(rows(40), rows(300)) == []  # the same kind: few rows, a held-out loss above that of training
    assert tuned(far, rows(300), fresh=True) == []  # statistics that hold nothing yet
    assert tuned(far, rows(300), whole=True) == []  # what learns goes with its statistics
