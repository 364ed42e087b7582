"""Healthy models of the kinds that tutorials show, in plain PyTorch: sequences and texts."""

from __future__ import annotations

import torch
from benchmarks.checkup.data import short_texts, texts, waves
from benchmarks.checkup.making import F, Made, adamw, model, next_token
from torch import Tensor, nn


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase], *, bidirectional: bool = False) -> None:
        super().__init__()
        self.rnn = kind(4, 24, batch_first=True, bidirectional=bidirectional)
        self.out = nn.Linear(48 if bidirectional else 24, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.rnn(x)[0].mean(1))


@model("LSTM, classes of waves")
def _() -> Made:
    net = Recurrent(nn.LSTM)
    return net, waves(), F.cross_entropy, adamw(net, 3e-3)


@model("GRU in both directions, classes of waves")
def _() -> Made:
    net = Recurrent(nn.GRU, bidirectional=True)
    return net, waves(), F.cross_entropy, adamw(net, 3e-3)


class Words(nn.Module):
    """Time first, as the word language model among PyTorch's examples."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.drop, self.rnn, self.out = (
            nn.Embedding(41, 24),
            nn.Dropout(0.2),
            nn.LSTM(24, 24, 2, dropout=0.2),
            nn.Linear(24, 41),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.drop(self.rnn(self.drop(self.embed(x)))[0]))


@model("LSTM language model, time first")
def _() -> Made:
    net = Words()
    return net, [(x.T[:-1], x.T[1:]) for x in texts(rows=10)], next_token, adamw(net, 3e-3)


class Carried(nn.Module):
    """Its state is kept from batch to batch, without its graph."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.rnn, self.out = nn.Embedding(41, 24), nn.GRU(24, 24, batch_first=True), nn.Linear(24, 41)
        self.state: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        state = self.state if self.state is not None and self.state.shape[1] == len(x) else None
        h, last = self.rnn(self.embed(x), state)
        self.state = last.detach()
        return self.out(h)


@model("GRU language model that carries its state")
def _() -> Made:
    net = Carried()
    return net, [(x[:, :-1], x[:, 1:]) for x in texts()], next_token, adamw(net, 3e-3)


class Packed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.rnn, self.out = nn.Embedding(41, 24, padding_idx=0), nn.LSTM(24, 24, batch_first=True), nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        lengths = (x != 0).sum(1).cpu()
        packed = nn.utils.rnn.pack_padded_sequence(self.embed(x), lengths, batch_first=True, enforce_sorted=False)
        return self.out(self.rnn(packed)[1][0][-1])


@model("LSTM over packed texts")
def _() -> Made:
    net = Packed()
    return net, [(x, y) for x, _, y in short_texts()], F.cross_entropy, adamw(net, 3e-3)


class TextCNN(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(41, 24, padding_idx=0)
        self.convs = nn.ModuleList(nn.Conv1d(24, 16, k, padding=k // 2) for k in (2, 3, 4))
        self.out = nn.Linear(48, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x).transpose(1, 2)
        return self.out(torch.cat([torch.relu(conv(h)).amax(2) for conv in self.convs], 1))


@model("convolutions over padded texts")
def _() -> Made:
    net = TextCNN()
    return net, [(x, y) for x, _, y in short_texts()], F.cross_entropy, adamw(net, 3e-3)


class Seq2Seq(nn.Module):
    """nn.Transformer as its tutorial has it: time first, both masks."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(41, 32), nn.Parameter(torch.randn(20, 1, 32) * 0.1)
        self.body = nn.Transformer(32, 4, 1, 1, 64, dropout=0.1)
        self.out = nn.Linear(32, 41)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(len(target))
        pads = (source == 0).T
        source, target = self.embed(source) + self.place[: len(source)], self.embed(target) + self.place[: len(target)]
        return self.out(self.body(source, target, tgt_mask=mask, src_key_padding_mask=pads, memory_key_padding_mask=pads))


@model("nn.Transformer, time first, two sequences")
def _() -> Made:
    net = Seq2Seq()
    batches = [((x.T, torch.cat([torch.full((1, len(x)), 1), x.flip(1).T[:-1]])), x.flip(1).T) for x in texts(length=12)]
    return net, batches, next_token, adamw(net)


class Convolved(nn.Module):
    """A causal convolution over tokens, as WaveNet has it."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(41, 24)
        self.convs = nn.ModuleList(nn.Conv1d(24, 24, 2, dilation=d) for d in (1, 2, 4))
        self.out = nn.Linear(24, 41)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x).transpose(1, 2)
        for conv in self.convs:
            h = h + torch.relu(conv(F.pad(h, (conv.dilation[0], 0))))
        return self.out(h.transpose(1, 2))


@model("causal convolutions over tokens")
def _() -> Made:
    net = Convolved()
    return net, [(x[:, :-1], x[:, 1:]) for x in texts()], next_token, adamw(net, 3e-3)
