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


class Maps(nn.Module):
    """Maps of 6 channels that are 4 high and 5 wide, brought into another shape and classified place by place."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.see, self.how = nn.Conv2d(1, 6, 3, padding=1), how
        self.last = nn.Linear({"rows": 24, "places": 6, "long": 6, "joined": 15}.get(how.removesuffix(" right"), 30), 2)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.see(x))  # (B, C, H, W)
        batch = len(y)
        changed = {
            "rows": lambda: y.view(batch, 5, 24),
            "rows right": lambda: y.permute(0, 3, 1, 2).reshape(batch, 5, 24),
            "places": lambda: y.reshape(batch, 20, 6),
            "places right": lambda: y.flatten(2).transpose(1, 2).reshape(batch, 20, 6),
            "long": lambda: y.view(-1, 6).view(batch, 20, 6),
            "long right": lambda: y.permute(0, 2, 3, 1).reshape(-1, 6).view(batch, 20, 6),
            "joined": lambda: y.view(batch, 8, 15),  # cut elsewhere than between axes, but none is exchanged
            "split": lambda: y.view(batch, 2, 3, 20).view(batch, 2, 2, 30).view(batch, 4, 30),
        }[self.how]()
        return self.last(changed).mean(1)


@pytest.mark.parametrize("how", ["rows", "places", "long"])
@pytest.mark.parametrize("right", [False, True])
def test_whole_axes_exchanged_and_joined(how, right):
    x = torch.randn(256, 1, 4, 5)
    report = watched(Maps(f"{how} right" if right else how), batches(x, (x.mean((1, 2, 3)) > 0).long()), crossed)
    found = [each for each in report.findings if each.id == "batch-mixing"]
    assert bool(found) is not right
    assert right or "mixes places" in found[0].message


@pytest.mark.parametrize("how", ["joined", "split"])
def test_views_that_exchange_no_axes(how):
    x = torch.randn(256, 1, 4, 5)
    report = watched(Maps(how), batches(x, (x.mean((1, 2, 3)) > 0).long()), crossed)
    assert "batch-mixing" not in {each.id for each in report.findings}


def crossed(model, x, y):
    return functional.cross_entropy(model(x), y)


class Distances(nn.Module):
    """Attention with scores by distance, shifted by a column of padding as in Transformer-XL, or by a row less as in XLNet."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.see, self.out, self.how = nn.Linear(6, 8), nn.Linear(8, 4), how
        self.places = nn.Parameter(0.1 * torch.randn(8, 10 if how in ("cut", "cut wrongly") else 5))

    def forward(self, x: Tensor) -> Tensor:
        h = self.see(x)
        scores = h @ self.places  # (B, T, T), or (B, T, 2 T) where its first row is cut off, as in XLNet
        if self.how in ("cut", "cut wrongly"):
            turned = scores.reshape(len(x), 10, 5)
            shifted = turned[:, 1:].reshape(len(x), 5, 9)[..., :5] if self.how == "cut" else turned[:, 1:6]
            return self.out(((h @ h.transpose(1, 2) + shifted).softmax(2) @ h)[:, -1])
        if self.how == "cat":
            shifted = torch.cat([torch.zeros(len(x), 5, 1), scores], 2)
        elif self.how == "pad":
            shifted = functional.pad(scores, (1, 0))
        else:
            shifted = h[..., :6] + 0  # (B, T, T + 1) of values of its own: a view mixes them
        shifted = shifted.view(len(x), 6, 5)[:, 1:]
        return self.out(((h @ h.transpose(1, 2) + shifted).softmax(2) @ h)[:, -1])


@pytest.mark.parametrize("how", ["cat", "pad", "values", "cut", "cut wrongly"])
def test_scores_shifted_to_distances(how):
    x = torch.randn(256, 5, 6)
    report = watched(Distances(how), batches(x, x[:, -1, :4].argmax(1)), lambda net, x, y: functional.cross_entropy(net(x), y))
    assert bool(report.trace.seen("reshaped")) == (how in ("values", "cut wrongly"))


class Seeing(nn.Module):
    """Reads pictures (B, H, W, C) after a view or a transposition."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.see, self.say = how, nn.Conv2d(3, 4, 3), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 3, 1, 2) if self.how == "permute" else x.reshape(len(x), 3, 16, 12)
        return self.say(self.see(x).tanh().mean((2, 3)))


def pictures(kind: str) -> Tensor:
    """Smooth pictures, such whose memory holds one colour after the other, or noise."""
    noise = torch.randn(64, 3, 4, 4, generator=torch.Generator().manual_seed(4))
    x = functional.interpolate(noise, size=(16, 12), mode="bilinear")
    if kind == "noise":
        return torch.randn(64, 16, 12, 3)
    return x.reshape(64, 16, 12, 3) if kind == "colours first" else x.permute(0, 2, 3, 1).contiguous()


@pytest.mark.parametrize(
    ("kind", "how", "told"),
    [("smooth", "view", True), ("smooth", "permute", False), ("colours first", "view", False), ("noise", "view", False)],
)
def test_pictures_viewed_instead_of_transposed(kind, how, told):
    x, y = pictures(kind), torch.randn(64, 1)
    report = watched(Seeing(how), batches(x, y), lambda model, x, y: functional.mse_loss(model(x), y))
    assert any("(32, 3, 16, 12) of (32, 16, 12, 3)" in each.message for each in report.findings) == told
