"""Numbers of classes learned as amounts, and amounts that are whole numbers."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional as F  # noqa: E402, N812
from verdicts import batches, net, watched  # noqa: E402

from lettrine.torch.graph.data.numbered import numbered  # noqa: E402


@pytest.mark.parametrize("how", ["named", "amounts", "classes", "untold"])
def test_numbers_of_classes_under_a_squared_error(how):
    """named: six groups of inputs, numbered without an order; amounts: numbered along a line; untold: by chance."""
    torch.manual_seed(0)
    kinds = torch.arange(1536) % 6
    middles = torch.tensor([0, 3, 1, 4, 2, 5]) if how != "amounts" else torch.arange(6)
    x = 2.0 * middles[kinds][:, None] * torch.ones(6) / 4 + 0.3 * torch.randn(1536, 6)
    order = torch.randperm(1536)
    x, y = x[order], kinds[torch.randperm(1536)] if how == "untold" else kinds[order]
    if how == "classes":
        report = watched(net(out=6), batches(x, y), lambda model, x, y: F.cross_entropy(model(x), y), steps=150)
    else:
        report = watched(net(out=1), batches(x, y.float()[:, None]), lambda model, x, y: F.mse_loss(model(x), y), steps=150)
    told = [each for each in report.findings if each.id == "other-loss"]
    assert len(told) == (how == "named")
    if told:
        assert (told[0].severity, told[0].where) == ("warning", ("2",))
        assert "6 outputs and use cross_entropy" in told[0].remedy


def test_numbered():
    line = torch.arange(60).double()[:, None].numpy()
    halves = np.repeat(np.arange(6.0), 10)[:, None]
    figures = numbered([line], [halves])
    assert (figures["numbers"], figures["nearer"]) == (6, 0)  # amounts in their order
    assert figures["kept"] == pytest.approx(1, abs=0.2)
    mixed = np.array([0, 3, 1, 5, 2, 4])[halves.astype(int)]
    assert numbered([line], [mixed])["nearer"] > 0.2
    for other in (halves / 2, halves + 3, halves * 2, halves > 2):  # no whole numbers, not from 0 or 1 on, gaps, only two
        assert numbered([line], [other.astype(float)]) == {}
