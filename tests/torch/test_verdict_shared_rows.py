"""Several columns in one table, with and without the offset of each, in small trainings."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from trainings import adam, checked, named, remarks

from lettrine import health

SIZES = torch.tensor([10, 6, 14, 8])


class Fields(nn.Module):
    def __init__(self, way: str) -> None:
        super().__init__()
        torch.manual_seed(3)
        rows = 200 if way == "roomy" else int(SIZES.max()) if way == "one kind" else int(SIZES.sum())
        self.table, self.say = nn.Embedding(rows, 8), nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
        self.offsets = SIZES.cumsum(0) - SIZES if way == "moved" else torch.zeros(4, dtype=torch.int64)

    def forward(self, fields: Tensor) -> Tensor:
        return self.say(self.table(fields + self.offsets).sum(1))[:, 0]


@pytest.mark.parametrize(("way", "told"), [("bare", True), ("moved", False), ("roomy", False), ("one kind", False)])
def test_columns_that_share_rows(way: str, told: bool) -> None:
    model, generator = Fields(way), torch.Generator().manual_seed(1)
    optimiser = adam(model)
    with health.watch(model, optimiser) as watch:
        for _ in range(60):
            fields = (torch.rand(64, 4, generator=generator) * SIZES).long()
            loss = functional.binary_cross_entropy_with_logits(model(fields), ((fields[:, 0] + fields[:, 2]) % 3 == 0).float())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    report = checked(watch.report())
    found = [each for each in {**remarks(report), **named(report)}.values() if "share their rows" in each.message]
    assert bool(found) is told
    if told:
        assert (found[0].severity, found[0].where) == ("warning", ("table",))
        assert "table has 38 rows, as many as its 4 columns" in found[0].message
        assert "none beyond row 13" in found[0].message
