"""Losses that only pull vectors together, and triplets written by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from verdicts import batches, net, watched

from lettrine import health

Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]


def groups() -> tuple[Tensor, Tensor]:
    """Eight groups of examples."""
    generator = torch.Generator().manual_seed(2)
    y = torch.randint(8, (512,), generator=generator)
    return 1.5 * torch.randn(8, 6, generator=generator)[y] + 0.3 * torch.randn(512, 6, generator=generator), y


def loud(
    loss: Loss, make: Callable[[], nn.Module] = lambda: net(out=8), steps: int = 150, rate: float = 3e-3
) -> list[health.Finding]:
    torch.manual_seed(0)
    report = watched(make(), batches(*groups(), 64), loss, steps=steps, rate=rate)
    return [each for each in report.findings if each.id in ("no-learning", "other-loss") and each.severity != "info"]


def seen(x: Tensor) -> Tensor:
    """Another view of each example."""
    return x + 0.3 * torch.randn_like(x)


def pulled(model: nn.Module, x: Tensor, _: Tensor) -> Tensor:
    return (model(seen(x)) - model(seen(x))).pow(2).sum(1).mean()


def test_nothing_but_distances() -> None:
    (finding,) = loud(pulled)
    assert (finding.id, finding.severity) == ("no-learning", "warning")
    assert "All vectors that Sequential gives come together" in finding.message

    def kept_apart(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return pulled(model, x, y) + 5 * (1 - model(x).std(0)).relu().mean()

    assert loud(kept_apart) == []
    assert loud(lambda model, x, y: pulled(model, x, y) + F.cross_entropy(model(x), y)) == []


class Siamese(nn.Module):
    """Gives codes, and says from one what the other will be."""

    def __init__(self, *, norms: bool) -> None:
        super().__init__()
        norm = nn.BatchNorm1d if norms else nn.Identity
        self.encoder = nn.Sequential(nn.Linear(6, 32), norm(32), nn.ReLU(), nn.Linear(32, 8), norm(8))
        self.predictor = nn.Sequential(nn.Linear(8, 16), norm(16), nn.ReLU(), nn.Linear(16, 8))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        code = self.encoder(x)
        return self.predictor(code), code


def siamese(*, stopped: bool) -> Loss:
    def loss(model: nn.Module, x: Tensor, _: Tensor) -> Tensor:
        (one, code), (two, other) = model(seen(x)), model(seen(x))
        code, other = (code.detach(), other.detach()) if stopped else (code, other)
        return -(F.cosine_similarity(one, other).mean() + F.cosine_similarity(two, code).mean()) / 2

    return loss


def test_one_direction_for_all() -> None:
    (finding,) = loud(siamese(stopped=False), lambda: Siamese(norms=False), steps=300, rate=1e-2)
    assert "gives all examples the same direction" in finding.message
    assert "stop the gradient" in finding.remedy

    def classified(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return siamese(stopped=False)(model, x, y) + F.cross_entropy(model(x)[0], y)

    assert loud(classified, lambda: Siamese(norms=False), steps=100) == []
    assert loud(siamese(stopped=True), lambda: Siamese(norms=True), steps=300, rate=1e-2) == []


def triplets(order: str, form: str = "sum") -> Loss:
    def loss(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        like = [int((y == kind).nonzero()[-1]) for kind in y]  # the last of its group in the batch
        unlike = torch.stack([(y != kind).nonzero()[0, 0] for kind in y])
        three = {"a": model(x), "p": model(x[like]), "n": model(x[unlike])}
        anchor, positive, negative = (three[each] for each in order)
        near, far = ((anchor - each).pow(2).sum(1) for each in (positive, negative))
        return ((near - far + 1.0) if form == "sum" else (near + 1.0 - far)).relu().mean()

    return loss


@pytest.mark.parametrize("form", ["sum", "margin between"])
def test_triplets_by_hand(form: str) -> None:
    (finding,) = loud(triplets("anp", form), steps=100)
    assert (finding.id, finding.severity) == ("no-learning", "warning")
    assert "lay nearer to their negative" in finding.message
    assert loud(triplets("apn", form), steps=100) == []


def test_anchors_that_are_their_positives() -> None:
    (finding,) = loud(triplets("aan"), steps=100)
    assert finding.id == "other-loss"
    assert "The positive of each triplet is its anchor" in finding.message
