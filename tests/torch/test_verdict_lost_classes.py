"""A rare class under losses of overlap: one ratio for all classes, one for each pixel, and one for each class."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from verdicts import watched

EACH_CLASS, TOGETHER, EACH_PIXEL = (0, 2, 3), (0, 1, 2, 3), (1,)


def pictures(count: int = 64) -> list[tuple[Tensor, Tensor]]:
    """Half of each picture is of class 1, and two of its 256 pixels of class 2, hardly brighter."""
    generator = torch.Generator().manual_seed(0)
    kind = torch.zeros(count, 16, 16, dtype=torch.long)
    kind[:, :8] = 1
    kind[:, 3, 3:5] = 2
    x = torch.tensor([0.0, 1.0, 1.4])[kind] + 0.3 * torch.randn(count, 16, 16, generator=generator)
    return [(x[at : at + 16, None], kind[at : at + 16]) for at in range(0, count, 16)]


def dice(axes: tuple[int, ...]):
    def loss(model: nn.Module, x: Tensor, kind: Tensor) -> Tensor:
        said, true = model(x).softmax(1), F.one_hot(kind, 3).permute(0, 3, 1, 2).float()
        overlap = 2 * (said * true).sum(axes) / (said.sum(axes) + true.sum(axes) + 1e-5)
        return 1 - overlap.mean()

    return loss


@pytest.mark.parametrize(
    ("axes", "words"), [(TOGETHER, "of all 3 classes together"), (EACH_PIXEL, "each pixel"), (EACH_CLASS, "")]
)
def test_a_class_that_gets_lost(axes, words):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 1))
    found = {each.id: each for each in watched(model, pictures(), dice(axes), steps=120, rate=1e-2).findings}
    assert ("majority-class" in found) is bool(words)
    if words:
        finding = found["majority-class"]
        assert (finding.severity, finding.where) == ("warning", ("2",))
        assert words in finding.message
        assert "0 % of the pixels of class 2 (0.8 % of all)" in finding.message


def test_a_class_that_is_found_all_the_same():
    torch.manual_seed(0)
    easy = [(x + 4.0 * (kind == 2)[:, None], kind) for x, kind in pictures()]
    model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 1))

    def both(model: nn.Module, x: Tensor, kind: Tensor) -> Tensor:
        return dice(TOGETHER)(model, x, kind) + 10 * F.cross_entropy(model(x), kind)

    assert "majority-class" not in {each.id for each in watched(model, easy, both, steps=200, rate=3e-2).findings}
