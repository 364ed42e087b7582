"""Tiny tasks, each sick or cured by one switch."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

functional = nn.functional


def pairs(count: int = 6, rows: int = 16, seed: int = 0) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Twenty features, five classes: the largest of the first five."""
    generator = torch.Generator().manual_seed(seed)
    return [((x := torch.randn(rows, 20, generator=generator)), x[:, :5].argmax(1)) for _ in range(count)]


def tokens(count: int = 6, rows: int = 8, length: int = 13, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(1, 11, (rows, length), generator=generator) for _ in range(count)]


def short_texts(count: int = 6, rows: int = 8, length: int = 10, seed: int = 0) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Texts of different lengths, padded with 0."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for _ in range(count):
        x = torch.randint(1, 20, (rows, length), generator=generator)
        lengths = torch.randint(3, length + 1, (rows,), generator=generator)
        lengths[0] = length
        x[torch.arange(length) >= lengths[:, None]] = 0
        made.append((x, torch.randint(4, (rows,), generator=generator)))
    return made


def mlp() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 5))


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=3e-3)


class Last(nn.Module):
    """A recurrent net that answers at its last place; time is axis 1."""

    def __init__(self, *, batch_first: bool) -> None:
        super().__init__()
        self.rnn = nn.LSTM(6, 16, batch_first=batch_first)
        self.out = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.rnn(x)[0][:, -1])


class Every(nn.Module):
    """A recurrent net that answers at every place; time is axis 0, as torch has it."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(6, 16)
        self.out = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.rnn(x)[0])


class Language(nn.Module):
    """A small transformer that foretells the next token."""

    def __init__(self, *, causal: bool = True, batch_first: bool = True) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 32)
        self.place = nn.Parameter(torch.randn(14, 32) * 0.1)
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=batch_first)
        self.body = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.out = nn.Linear(32, 11)
        self.causal, self.batch_first = causal, batch_first

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.embed(x) + self.place[: x.shape[1]]
        length = x.shape[1 if self.batch_first else 0]
        mask = nn.Transformer.generate_square_subsequent_mask(length) if self.causal else None
        return self.out(self.body(h, mask=mask))


class Conv(nn.Module):
    """A convolution over tokens, padded on the left only if it is causal."""

    def __init__(self, *, causal: bool) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 16)
        self.conv = nn.Conv1d(16, 16, 3, padding=0 if causal else 1)
        self.out = nn.Linear(16, 11)
        self.causal = causal

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.embed(x).transpose(1, 2)
        return self.out(torch.relu(self.conv(functional.pad(h, (2, 0)) if self.causal else h)).transpose(1, 2))


class Masked(nn.Module):
    """Attention over padded texts."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 32)
        self.attention = nn.MultiheadAttention(32, 4, batch_first=True)
        self.out = nn.Linear(32, 4)
        self.how = how

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h, there = self.embed(x), x != 0
        mask = {"right": ~there, "inverted": there & (torch.arange(x.shape[1]) > 0)}.get(self.how)
        h = self.attention(h, h, h, key_padding_mask=mask)[0]
        weights = there.float()[..., None]
        return self.out((h * weights).sum(1) / weights.sum(1))


class Dropping(nn.Module):
    """Dropout called as a function."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.first, self.out, self.how = nn.Linear(20, 64), nn.Linear(64, 5), how

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.relu(self.first(x))
        given: dict[str, Any] = {"forgotten": {}, "meant": {"training": True}, "right": {"training": self.training}}.get(
            self.how, {}
        )
        if self.how == "attention":
            q = h.view(-1, 1, 8, 8)
            return self.out(functional.scaled_dot_product_attention(q, q, q, dropout_p=0.3).reshape(-1, 64))
        return self.out(functional.dropout(h, 0.3, **given))


class Norms(nn.Module):
    """Two layers whose outputs differ widely, under one batch norm or two."""

    def __init__(self, *, shared: bool) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(20, 64), nn.Linear(64, 64), nn.Linear(64, 5)
        self.norm = nn.BatchNorm1d(64)
        self.other = self.norm if shared else nn.BatchNorm1d(64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c(torch.relu(self.other(self.b(torch.relu(self.norm(self.a(x) * 5 + 3))))))


class Twins(nn.Module):
    """One tower with a batch norm for two inputs of one kind."""

    def __init__(self) -> None:
        super().__init__()
        self.tower = nn.Sequential(nn.Linear(10, 32), nn.BatchNorm1d(32), nn.ReLU())
        self.out = nn.Linear(64, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(torch.cat([self.tower(x[:, :10]), self.tower(x[:, 10:])], 1))


class Hidden(nn.Module):
    """Layers in a plain list."""

    def __init__(self, *, listed: bool) -> None:
        super().__init__()
        made = [nn.Linear(20, 20) for _ in range(2)]
        self.layers = nn.ModuleList(made) if listed else made
        self.out = nn.Linear(20, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return self.out(x)


class Cut(nn.Module):
    """A body whose output may be detached."""

    def __init__(self, *, detached: bool) -> None:
        super().__init__()
        self.body, self.out, self.detached = nn.Linear(20, 32), nn.Linear(32, 5), detached

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.relu(self.body(x))
        return self.out(h.detach() if self.detached else h)
