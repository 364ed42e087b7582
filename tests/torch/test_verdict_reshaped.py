"""Views instead of a transposition, errors made larger, steps read after padding: small trainings, sick and cured."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from verdicts import batches, classes, net, numbers, watched


def ids(report):
    return {finding.id for finding in report.findings if finding.severity != "info"}


class Attention(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.embed, self.qkv, self.out, self.how = nn.Embedding(9, 12), nn.Linear(12, 36), nn.Linear(12, 9), how

    def forward(self, x: Tensor) -> Tensor:
        batch, time = x.shape
        parts = self.qkv(self.embed(x)).chunk(3, 2)
        if self.how == "split":
            q, k, v = (each.reshape(batch, 3, time, 4) for each in parts)
        else:
            q, k, v = (each.view(batch, time, 3, 4).transpose(1, 2) for each in parts)
        scores = (q @ k.transpose(2, 3)).masked_fill(torch.ones(time, time).triu(1).bool(), -torch.inf)
        y = scores.softmax(-1) @ v  # (B, H, T, D)
        return self.out(y.reshape(batch, time, 12) if self.how == "join" else y.transpose(1, 2).reshape(batch, time, 12))


def following(model, x, _):
    return functional.cross_entropy(model(x[:, :-1]).flatten(0, 1), x[:, 1:].flatten())


@pytest.mark.parametrize(("how", "named"), [("join", {"future-leak"}), ("split", {"future-leak"}), ("", set())])
def test_heads_without_a_transposition(how, named):
    x = torch.randint(9, (256, 8))
    assert ids(watched(Attention(how), batches(x, x), following)) == named


class Moments(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.see, self.gru, self.last, self.how = nn.Linear(6, 8), nn.GRU(8, 8, batch_first=True), nn.Linear(8, 4), how

    def forward(self, x: Tensor) -> Tensor:
        moments = [self.see(x + place) for place in range(5)]
        if self.how == "cat":
            y = torch.cat(moments, 0).view(len(x), 5, 8)
        elif self.how == "stack":
            y = torch.stack(moments, 0).reshape(len(x), 5, 8)
        else:
            y = torch.stack(moments, 1)
        return self.last(self.gru(y)[0][:, -1])


@pytest.mark.parametrize("how", ["cat", "stack", ""])
def test_moments_laid_one_after_another(how):
    report = watched(Moments(how), batches(*classes()), lambda model, x, y: functional.cross_entropy(model(x), y))
    assert ("batch-mixing" in {each.id for each in report.findings}) is bool(how)


@pytest.mark.parametrize(
    ("loss", "out", "data"),
    [
        (lambda model, x, y: -functional.cross_entropy(model(x), y), 4, classes),
        (lambda model, x, y: -functional.mse_loss(model(x)[:, 0], y), 1, numbers),
    ],
)
def test_an_error_that_is_made_larger(loss, out, data):
    assert "wrong-direction" in ids(watched(net(out=out), batches(*data()), loss))
    assert "wrong-direction" not in ids(watched(net(out=out), batches(*data()), lambda model, x, y: -loss(model, x, y)))


class Mood(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.embed, self.rnn, self.last, self.how = nn.Embedding(9, 8), nn.LSTM(8, 8, batch_first=True), nn.Linear(8, 2), how

    def forward(self, x: Tensor) -> Tensor:
        y, (h, _) = self.rnn(self.embed(x))
        last = (
            h[0] if self.how == "states" else y[:, -1] if self.how == "outputs" else y[torch.arange(len(x)), (x != 0).sum(1) - 1]
        )
        return self.last(last)


@pytest.mark.parametrize("how", ["states", "outputs", ""])
def test_steps_read_after_padding(how):
    x = torch.randint(1, 9, (256, 20))
    x[torch.arange(20) >= torch.randint(2, 12, (256, 1))] = 0
    report = watched(Mood(how), batches(x, x[:, 0] % 2), lambda model, x, y: functional.cross_entropy(model(x), y))
    assert [each.words["used"] for each in report.trace.seen("padded end")] == ([how] if how else [])
