"""Attention that sees what it should not: the future, padding. And recurrent layers and convolutions that do."""

from __future__ import annotations

from collections.abc import Callable

import torch
from benchmarks.checkup.data import short_texts, texts, waves
from benchmarks.checkup.making import F, Made, adamw, next_token
from benchmarks.checkup.sick.case import case
from torch import Tensor, nn


class Attention(nn.Module):
    """Attention written out, with whatever mask it is given."""

    def __init__(self, width: int = 32, heads: int = 4) -> None:
        super().__init__()
        self.qkv, self.out, self.heads = nn.Linear(width, 3 * width), nn.Linear(width, width), heads

    def forward(self, x: Tensor, mask: Tensor | None = None, rate: float = 0.0) -> Tensor:
        b, t, c = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        h = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=rate)
        return self.out(h.transpose(1, 2).reshape(b, t, c))


class Decoder(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(41, 32), nn.Parameter(torch.randn(16, 32) * 0.1)
        self.norm, self.attend, self.out, self.how = nn.LayerNorm(32), Attention(), nn.Linear(32, 41), how

    def forward(self, x: Tensor) -> Tensor:
        t = x.shape[1]
        h = self.embed(x) + self.place[:t]
        shift = {"right": 0, "off by one": 1}.get(self.how)
        mask = None if shift is None else torch.ones(t, t, dtype=torch.bool).tril(shift)
        if self.how == "turned":
            mask = torch.ones(t, t, dtype=torch.bool).triu()
        return self.out(h + self.attend(self.norm(h), mask))


def _decoder(how: str) -> Callable[[bool], Made]:
    def build(cured: bool) -> Made:
        net = Decoder("right" if cured else how)
        return net, [(x[:, :-1], x[:, 1:]) for x in texts()], next_token, adamw(net, 3e-3)

    return build


for _how in ("none", "off by one", "turned"):
    case(f"decoder, causal mask {_how}", "future-leak", "attend")(_decoder(_how))


@case("recurrent language model in both directions", "future-leak", "rnn")
def _(cured: bool) -> Made:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.rnn = nn.Embedding(41, 24), nn.LSTM(24, 24, batch_first=True, bidirectional=not cured)
            self.out = nn.Linear(24 if cured else 48, 41)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.rnn(self.embed(x))[0])

    net = Net()
    return net, [(x[:, :-1], x[:, 1:]) for x in texts()], next_token, adamw(net, 3e-3)


@case("forecast by a convolution padded on both sides", "future-leak", "conv")
def _(cured: bool) -> Made:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.out = nn.Conv1d(4, 16, 5, padding=4 if cured else 2), nn.Conv1d(16, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            h = torch.relu(self.conv(x.transpose(1, 2)))
            return self.out(h[..., : x.shape[1]]).transpose(1, 2)

    net = Net()
    return net, [(x[:, :-1], x[:, 1:]) for x, _ in waves()], F.mse_loss, adamw(net, 3e-3)


class Reader(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.embed, self.attend, self.out, self.how = nn.Embedding(41, 32), Attention(), nn.Linear(32, 3), how

    def forward(self, x: Tensor) -> Tensor:
        there = x != 0
        mask = {"right": there[:, None, None, :], "queries": there[:, None, :, None], "inverted": ~there[:, None, None, :]}[
            self.how
        ]
        if self.how != "right":
            mask = mask | torch.eye(x.shape[1], dtype=torch.bool)  # so that no row is masked whole
        h = self.attend(self.embed(x), mask)
        weights = there[..., None].float()
        return self.out((h * weights).sum(1) / weights.sum(1))


@case("padding masked on the queries", "padding")
def _(cured: bool) -> Made:
    net = Reader("right" if cured else "queries")
    return net, [(x, y) for x, _, y in short_texts()], F.cross_entropy, adamw(net)


@case("padding mask inverted", "padding")
def _(cured: bool) -> Made:
    net = Reader("right" if cured else "inverted")
    return net, [(x, y) for x, _, y in short_texts()], F.cross_entropy, adamw(net)


@case("key_padding_mask inverted", "padding", "attend")
def _(cured: bool) -> Made:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.attend, self.out = (
                nn.Embedding(41, 32),
                nn.MultiheadAttention(32, 4, batch_first=True),
                nn.Linear(32, 3),
            )

        def forward(self, x: Tensor, mask: Tensor) -> Tensor:
            h = self.embed(x)
            h = self.attend(h, h, h, key_padding_mask=(mask == 0) if cured else (mask == 1))[0]
            return self.out((h * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))

    net = Net()
    batches = []
    for x, mask, y in short_texts():
        x[:, -1], mask[:, -1] = 0, 0  # no row is full, or an inverted mask would leave nothing
        batches.append(((x, mask), y))
    return net, batches, F.cross_entropy, adamw(net)


@case("mean over padded places", "padding")
def _(cured: bool) -> Made:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.attend, self.out = (
                nn.Embedding(41, 32),
                nn.MultiheadAttention(32, 4, batch_first=True),
                nn.Linear(32, 3),
            )

        def forward(self, x: Tensor) -> Tensor:
            pads = x == 0
            h = self.embed(x)
            h = self.attend(h, h, h, key_padding_mask=pads)[0]
            if not cured:
                return self.out(h.mean(1))
            return self.out(h.masked_fill(pads[..., None], 0).sum(1) / (~pads).sum(1, keepdim=True))

    net = Net()
    return net, [(x, y) for x, _, y in short_texts()], F.cross_entropy, adamw(net)
