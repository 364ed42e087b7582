"""More kinds of networks, made without looking at what the health check says of them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional


class Mixer(nn.Module):
    """MLP-Mixer (Tolstikhin et al. 2021): patches mixed across places, then across channels."""

    def __init__(self, *, width: int = 32, layers: int = 3) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 3, 3)
        self.blocks = nn.ModuleList(
            nn.ModuleDict(
                {
                    "norm1": nn.LayerNorm(width),
                    "places": nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16)),
                    "norm2": nn.LayerNorm(width),
                    "channels": nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)),
                }
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 8)

    def forward(self, x: Tensor) -> Tensor:
        h = self.patches(x).flatten(2).transpose(1, 2)  # (B, 16, width)
        for block in self.blocks:
            h = h + block["places"](block["norm1"](h).transpose(1, 2)).transpose(1, 2)
            h = h + block["channels"](block["norm2"](h))
        out: Tensor = self.head(self.norm(h).mean(1))
        return out


class NextBlock(nn.Module):
    """Depthwise 5 x 5, norm, wide pointwise, GELU, pointwise, skip (Liu et al. 2022)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 5, padding=2, groups=width)
        self.norm = nn.GroupNorm(1, width)
        self.up, self.act, self.down = nn.Conv2d(width, 3 * width, 1), nn.GELU(), nn.Conv2d(3 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.down(self.act(self.up(self.norm(self.depthwise(x)))))
        return out


class Next(nn.Module):
    """A small ConvNeXt."""

    def __init__(self, *, width: int = 16, layers: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 2, 2)
        self.blocks = nn.Sequential(*(NextBlock(width) for _ in range(layers)))
        self.head = nn.Linear(width, 8)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.blocks(self.stem(x)).mean((2, 3)))
        return out


class DeepMLP(nn.Module):
    """Six hidden layers as He et al. 2015 initialise them, with dropout."""

    def __init__(self, activation: Callable[[], nn.Module] = nn.ReLU, *, layers: int = 6, classes: int = 10) -> None:
        super().__init__()
        body: list[nn.Module] = []
        inputs = 20
        for _ in range(layers):
            linear = nn.Linear(inputs, 64)
            nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
            nn.init.zeros_(linear.bias)
            body += [linear, activation(), nn.Dropout(0.1)]
            inputs = 64
        self.body, self.head = nn.Sequential(*body), nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.body(x))
        return out


class UNet(nn.Module):
    """Down once, up once, with a skip connection and batch norm; a class for each pixel."""

    def __init__(self, *, width: int = 12, bias: bool = False) -> None:
        super().__init__()

        def double(inputs: int, outputs: int) -> nn.Sequential:
            layers: list[nn.Module] = []
            for each in (inputs, outputs):
                layers += [nn.Conv2d(each, outputs, 3, padding=1, bias=bias), nn.BatchNorm2d(outputs), nn.ReLU()]
            return nn.Sequential(*layers)

        self.down, self.pool, self.middle = double(3, width), nn.MaxPool2d(2), double(width, 2 * width)
        self.up = nn.ConvTranspose2d(2 * width, width, 2, 2)
        self.merge, self.head = double(2 * width, width), nn.Conv2d(width, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.down(x)
        out: Tensor = self.head(self.merge(torch.cat((fine, self.up(self.middle(self.pool(fine)))), 1)))
        return out


class Bag(nn.Module):
    """fastText (Joulin et al. 2016): the mean of the words' embeddings, and one layer."""

    def __init__(self, *, hidden: bool = False) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(300, 24)
        self.hidden = nn.Sequential(nn.Linear(24, 24), nn.ReLU()) if hidden else nn.Identity()
        self.head = nn.Linear(24, 6)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.hidden(self.bag(x)))
        return out


class Gated(nn.Module):
    """Causal dilated convolutions with gates, as in WaveNet (van den Oord et al. 2016), over letters."""

    def __init__(self, *, width: int = 32, layers: int = 4) -> None:
        super().__init__()
        self.tokens = nn.Embedding(27, width)
        self.filters = nn.ModuleList(nn.Conv1d(width, width, 2, dilation=2**each) for each in range(layers))
        self.gates = nn.ModuleList(nn.Conv1d(width, width, 2, dilation=2**each) for each in range(layers))
        self.mixes = nn.ModuleList(nn.Conv1d(width, width, 1) for _ in range(layers))
        self.head = nn.Linear(width, 27)

    def forward(self, x: Tensor) -> Tensor:
        h = self.tokens(x).transpose(1, 2)
        for place, (wave, gate, mix) in enumerate(zip(self.filters, self.gates, self.mixes, strict=True)):
            padded = functional.pad(h, (2**place, 0))
            h = h + mix(torch.tanh(wave(padded)) * torch.sigmoid(gate(padded)))
        out: Tensor = self.head(h.transpose(1, 2))
        return out


class ViT(nn.Module):
    """A vision transformer with a class token and torch's own layers."""

    def __init__(self, *, width: int = 32, layers: int = 2) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 3, 3)
        self.cls = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.places = nn.Parameter(0.02 * torch.randn(17, width))
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 8)

    def forward(self, x: Tensor) -> Tensor:
        h = self.patches(x).flatten(2).transpose(1, 2)
        h = torch.cat((self.cls.expand(len(h), -1, -1), h), 1) + self.places
        out: Tensor = self.head(self.norm(self.encoder(h)[:, 0]))
        return out


class PostNorm(nn.Module):
    """torch's default encoder, norm after each sublayer, mean over places."""

    def __init__(self, *, width: int = 32) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(27, width), nn.Parameter(0.02 * torch.randn(6, width))
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(6 * width, 27)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.encoder(self.tokens(x) + self.places).flatten(1))
        return out


class BiLSTM(nn.Module):
    """Both directions over the letters of a context, then the next one."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(27, 16)
        self.rnn = nn.LSTM(16, 48, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * 48, 27)

    def forward(self, x: Tensor) -> Tensor:
        _, (h, _) = self.rnn(self.tokens(x))
        out: Tensor = self.head(torch.cat((h[0], h[1]), 1))
        return out


class Forecast(nn.Module):
    """A GRU over a series, and its next value."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.GRU(1, 32, batch_first=True), nn.Linear(32, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.rnn(x)[0][:, -1])
        return out


class Factors(nn.Module):
    """Matrix factorisation with biases (Koren et al. 2009): no layer but tables."""

    def __init__(self) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(120, 8), nn.Embedding(80, 8)
        self.user_bias, self.item_bias = nn.Embedding(120, 1), nn.Embedding(80, 1)
        self.mean = nn.Parameter(torch.zeros(1))
        for table in (self.users, self.items):
            nn.init.normal_(table.weight, std=0.3)
        for table in (self.user_bias, self.item_bias):
            nn.init.zeros_(table.weight)

    def forward(self, x: Tensor) -> Tensor:
        user, item = x[:, 0], x[:, 1]
        out: Tensor = (self.users(user) * self.items(item)).sum(1, keepdim=True)
        return out + self.user_bias(user) + self.item_bias(item) + self.mean


class ConvAutoencoder(nn.Module):
    """Strided convolutions down to few values, transposed ones back."""

    def __init__(self, activation: Callable[[], nn.Module] = nn.ReLU) -> None:
        super().__init__()
        self.down = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1),
            activation(),
            nn.Conv2d(16, 16, 3, 1, 1),
            activation(),
            nn.Conv2d(16, 12, 3, 2, 1),
            activation(),
        )
        self.up = nn.Sequential(nn.ConvTranspose2d(12, 16, 4, 2, 1), activation(), nn.Conv2d(16, 16, 3, 1, 1), activation())
        self.head = nn.ConvTranspose2d(16, 3, 4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.up(self.down(x)))
        return out
