"""A table of positions that is made with the model and added to nothing."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from verdicts import alarms, watched  # noqa: E402


class Places(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.randn(10, 16, generator=torch.Generator().manual_seed(2)))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.table


class Reader(nn.Module):
    """Says which of ten letters came at a place that is the same in all words."""

    def __init__(self, how: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.how, self.letters, self.places = how, nn.Embedding(8, 16), Places()
        self.attention, self.tell = nn.MultiheadAttention(16, 2, batch_first=True), nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.letters(x)
        if self.how == "called":
            x = self.places(x)
        elif self.how == "read":
            x = x + self.places.table[: x.shape[1]]
        return self.tell(self.attention(x, x, x)[0].mean(1))


@pytest.mark.parametrize("how", ["never", "called", "read"])
def test_positions_that_are_added_to_nothing(how: str) -> None:
    x = torch.randint(8, (1024, 10), generator=torch.Generator().manual_seed(1))
    data = list(zip(x.split(32), x[:, 3].split(32), strict=True))
    report = watched(Reader(how), data, lambda model, x, y: functional.cross_entropy(model(x), y), steps=250, rate=1e-3)
    found = [each for each in report.findings if "never used" in each.message]
    assert bool(found) is (how == "never")
    if found:
        assert (found[0].id, found[0].severity, found[0].where) == ("underfitting", "warning", ("places",))
        assert "x = self.places(x)" in found[0].remedy
        assert "underfitting" in alarms(report)
