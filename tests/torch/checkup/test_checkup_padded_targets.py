"""Padded places that count in the loss, in the forms in which models and losses come."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from checkup_verdicts import figure, the  # noqa: E402
from torch import nn  # noqa: E402

from lettrine import health  # noqa: E402

functional = nn.functional
LENGTH = 22


def texts(rows: int = 24, longest: int = 6, *, shift: bool = False) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Tokens from 1 on with a tag each, 0 at the end of rows. shift: the targets are the next tokens."""
    generator = torch.Generator().manual_seed(3)
    made = []
    for _ in range(8):
        there = torch.arange(LENGTH) < torch.randint(2, longest + 1, (rows, 1), generator=generator)
        x = torch.randint(1, 20, (rows, LENGTH), generator=generator) * there
        made.append((x[:, :-1], x[:, 1:]) if shift else (x, (x % 3 + 1) * there))
    return made


class Tagger(nn.Module):
    """An answer for each place. loses: with labels it returns its loss, as transformers do."""

    def __init__(self, width: int = 20, *, classes_second: bool = False, counted: bool = True) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.embed, self.hidden, self.out = nn.Embedding(20, 16), nn.Linear(16, 32), nn.Linear(32, width)
        self.classes_second, self.counted = classes_second, counted

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> Any:
        logits = self.out(torch.relu(self.hidden(self.embed(x))))
        if labels is not None:
            left_out = -100 if self.counted else 0
            return {
                "loss": functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=left_out),
                "logits": logits,
            }
        return logits.transpose(1, 2) if self.classes_second else logits


def over_places(logits: torch.Tensor, y: torch.Tensor, ignored: int) -> torch.Tensor:
    return functional.cross_entropy(logits.flatten(0, 1), y.flatten(), ignore_index=ignored)


def tried(model: nn.Module, batches: Any, loss_fn: Any) -> health.Report:
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    return health.checkup(model, batches, loss_fn, optimizer, only=["padded-targets"], progress=False, minutes=3)


@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize("form", ["flat", "classes second", "next token", "whole"])
def test_class_numbers(form: str, counted: bool) -> None:
    ignored = -100 if counted else 0
    model, batches = Tagger(classes_second=form == "classes second", counted=counted), texts(shift=form == "next token")
    loss_fn: Any = lambda logits, y: over_places(logits, y, ignored)  # noqa: E731
    given: Any = batches
    if form == "classes second":
        loss_fn = nn.CrossEntropyLoss(ignore_index=ignored)
    if form == "whole":
        given = [{"x": x, "labels": y} for x, y in batches]
        loss_fn = lambda model, batch: model(**batch)["loss"]  # noqa: E731
    report = tried(model, given, loss_fn)
    if not counted:
        assert report.outcomes[0].status == "passed"
        assert figure(report, "padded-targets", "share") == 0.0
        return
    found = the(report, "padding-counted")
    assert found.severity == ("info" if form == "next token" else "warning")  # random texts teach nothing
    assert figure(report, "padded-targets", "share") == pytest.approx(figure(report, "padded-targets", "padded"), abs=0.1)
    assert "on real places, tried for" in found.message
    assert "ignore_index=0" in found.remedy


def test_the_share_of_a_loss_that_is_known() -> None:
    """A sum of all answers has the gradient 1 at every place: the share is that of the padded places."""
    report = tried(Tagger(1), texts(), lambda out, y: out.sum() + 0.0 * y.sum())
    assert figure(report, "padded-targets", "share") == pytest.approx(figure(report, "padded-targets", "padded"), rel=1e-6)


def test_numbers_are_a_remark() -> None:
    batches = [(x, x / 10.0) for x, _ in texts()]
    found = the(tried(Tagger(1), batches, lambda out, y: (out[..., 0] - y).square().mean()), "padding-counted")
    assert found.severity == "info"  # nothing can be left out by a program
    masked = tried(Tagger(1), batches, lambda out, y: ((out[..., 0] - y).square() * (y > 0)).sum() / (y > 0).sum())
    assert masked.outcomes[0].status == "passed"


def test_little_padding_and_none() -> None:
    loss_fn: Any = lambda logits, y: over_places(logits, y, -100)  # noqa: E731
    generator = torch.Generator().manual_seed(3)
    full = [(x, x % 3) for x in (torch.randint(1, 20, (24, LENGTH), generator=generator) for _ in range(8))]
    few = [(x.clone(), y.clone()) for x, y in full]
    for x, y in few:
        x[:4, -3:], y[:4, -3:] = 0, 0
    for batches, reason in ((full, "no padded places"), (few, "% of the places")):
        outcome = tried(Tagger(), batches, loss_fn).outcomes[0]
        assert (outcome.status, reason in outcome.reason) == ("not applicable", True)
