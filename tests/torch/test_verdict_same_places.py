"""Networks that answer the same at all places of a sequence, and those that do so for a reason."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812
from verdicts import watched  # noqa: E402

PLACES = 6


class Unrolled(nn.Module):
    """One vector of a sequence, at each of the places that are to be predicted. places: whether each gets its own vector, too."""

    def __init__(self, *, places, out=2, quiet=False):
        super().__init__()
        torch.manual_seed(0)
        self.read, self.body, self.head = nn.Linear(8, 24), nn.Linear(24, 24), nn.Linear(24, out)
        self.place = nn.Parameter(torch.randn(PLACES, 24)) if places else None
        if quiet:
            nn.init.zeros_(self.head.weight)

    def forward(self, x):
        every = self.read(x)[:, None].expand(-1, PLACES, -1)
        every = every if self.place is None else every + self.place
        return self.head(torch.relu(self.body(torch.relu(every))))


def report(model, *, kind="numbers", still=False, blind=False):
    """still: the targets are the same at all places. blind: the inputs are all the same."""
    torch.manual_seed(1)
    x = torch.randn(256, 8)
    y = x[:, :1, None] + 0.5 * x[:, None, 2:4] * torch.arange(PLACES)[:, None]
    y = y.mean(1, keepdim=True).expand(-1, PLACES, -1) if still else y
    given, labels = torch.ones_like(x) if blind else x, (y[:, :, 0] > 0).long()

    def loss(model, rows, _):
        if kind == "classes":
            return F.cross_entropy(model(given[rows]).reshape(-1, 2), labels[rows].reshape(-1))
        return F.mse_loss(model(given[rows]), y[rows])

    def pairs():
        while True:
            for rows in torch.randperm(256).split(32):
                yield rows, rows

    return watched(model, pairs(), loss, steps=80, rate=3e-3)


def told(found):
    return [each.message for each in found.findings if each.id == "no-learning" and "same answer at all" in each.message]


@pytest.mark.parametrize("kind", ["numbers", "classes"])
def test_one_answer_at_all_places(kind):
    (message,) = told(report(Unrolled(places=False), kind=kind))
    assert message.startswith(f"head gives the same answer at all {PLACES} places of a sequence")
    assert told(report(Unrolled(places=True), kind=kind)) == []


def test_what_is_meant_or_another_fault():
    assert told(report(Unrolled(places=False), still=True)) == []  # nothing to tell from place to place
    assert told(report(Unrolled(places=False), blind=True)) == []  # one answer to everything
    assert told(report(Unrolled(places=True, quiet=True))) == []  # all 0 at the first look only
