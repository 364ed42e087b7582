"""The networks of the clinic: small ones of the kinds people train."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class CharMLP(nn.Module):
    """Embedding, hidden layers, logits: the network of makemore part 3, for contexts of letters."""

    def __init__(
        self,
        activation: Callable[[], nn.Module] = nn.Tanh,
        *,
        layers: int = 4,
        norm: bool = False,
        width: int = 100,
        context: int = 6,
        bias: bool | None = None,
        dropout: float = 0.0,
        gain: float = 5 / 3,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(27, 10)
        body: list[nn.Module] = []
        inputs = 10 * context
        for _ in range(layers):
            linear = nn.Linear(inputs, width, bias=not norm if bias is None else bias)
            nn.init.normal_(linear.weight, std=gain / inputs**0.5)
            if linear.bias is not None:
                nn.init.zeros_(linear.bias)
            body += [linear, *([nn.BatchNorm1d(width)] if norm else []), activation()]
            body += [nn.Dropout(dropout)] if dropout else []
            inputs = width
        self.body = nn.Sequential(*body)
        self.head = nn.Linear(inputs, 27)
        with torch.no_grad():
            self.head.weight.mul_(0.3)

    def forward(self, x: Tensor) -> Tensor:  # (B, T)
        out: Tensor = self.head(self.body(self.embedding(x).flatten(1)))
        return out


class VectorMLP(nn.Module):
    """Hidden layers with torch's own initialisation, for vectors."""

    def __init__(
        self, activation: Callable[[], nn.Module], *, layers: int = 3, width: int = 64, inputs: int = 20, outputs: int = 10
    ) -> None:
        super().__init__()
        body: list[nn.Module] = []
        for _ in range(layers):
            body += [nn.Linear(inputs, width), activation()]
            inputs = width
        self.body = nn.Sequential(*body)
        self.head = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.body(x))
        return out


class ConvNet(nn.Module):
    """Plain convolutions without normalisation."""

    def __init__(self, activation: Callable[[], nn.Module] = nn.ReLU, *, layers: int = 3, channels: int = 16) -> None:
        super().__init__()
        body: list[nn.Module] = []
        inputs = 3
        for layer in range(layers):
            body += [nn.Conv2d(inputs, channels, 3, padding=1, stride=2 if layer == 0 else 1), activation()]
            inputs = channels
        self.body = nn.Sequential(*body)
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.head = nn.Linear(4 * channels, 8)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.pool(self.body(x)).flatten(1))
        return out


class Block(nn.Module):
    """Two convolutions with batch norm around a skip connection (He et al. 2016)."""

    def __init__(self, inputs: int, channels: int, stride: int, *, bias: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride, 1, bias=bias)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=bias)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.short = (
            nn.Identity()
            if stride == 1 and inputs == channels
            else nn.Sequential(nn.Conv2d(inputs, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))
        )

    def forward(self, x: Tensor) -> Tensor:
        inner: Tensor = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out: Tensor = self.relu(inner + self.short(x))
        return out


class ResNet(nn.Module):
    """A small residual network."""

    def __init__(self, *, channels: int = 12, bias: bool = False) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, 1, 1, bias=bias)
        self.bn = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.blocks = nn.Sequential(
            Block(channels, channels, 2, bias=bias),
            Block(channels, 2 * channels, 2, bias=bias),
            Block(2 * channels, 2 * channels, 1, bias=bias),
        )
        self.head = nn.Linear(2 * channels, 8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.relu(self.bn(self.stem(x))))
        out: Tensor = self.head(x.mean((2, 3)))
        return out


class Recurrent(nn.Module):
    """Next letter at each place with an LSTM or GRU."""

    def __init__(self, kind: str = "LSTM", *, width: int = 64, layers: int = 1) -> None:
        super().__init__()
        self.embedding = nn.Embedding(27, 16)
        self.rnn: nn.Module = getattr(nn, kind)(16, width, layers, batch_first=True)
        self.head = nn.Linear(width, 27)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.rnn(self.embedding(x))[0])
        return out


class Attention(nn.Module):
    """Causal self-attention."""

    def __init__(self, width: int, heads: int, *, causal: bool) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.heads, self.causal = heads, causal

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        q, k, v = self.qkv(x).view(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        out: Tensor = self.out(y.transpose(1, 2).reshape(batch, length, width))
        return out


class Layer(nn.Module):
    """Pre-norm transformer layer."""

    def __init__(self, width: int, heads: int, *, causal: bool, dropout: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads, causal=causal)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropout(self.attention(self.norm1(x)))
        out: Tensor = x + self.dropout(self.mlp(self.norm2(x)))
        return out


class Transformer(nn.Module):
    """A small pre-norm language model, initialised as GPT-2 is."""

    def __init__(self, *, width: int = 48, layers: int = 3, context: int = 16, causal: bool = True, dropout: float = 0.0) -> None:
        super().__init__()
        self.tokens = nn.Embedding(27, width)
        self.places = nn.Embedding(context, width)
        self.layers = nn.Sequential(*(Layer(width, 4, causal=causal, dropout=dropout) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 27, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
                if getattr(module, "bias", None) is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        h = self.tokens(x) + self.places(torch.arange(x.shape[1]))
        out: Tensor = self.head(self.norm(self.layers(h)))
        return out


class Encoder(nn.Module):
    """torch's own pre-norm encoder over letters, classifying the next one."""

    def __init__(self, *, width: int = 32, context: int = 6) -> None:
        super().__init__()
        self.tokens = nn.Embedding(27, width)
        self.places = nn.Parameter(0.02 * torch.randn(context, width))
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.1, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, 27)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.encoder(self.tokens(x) + self.places)[:, -1])
        return out


class NormedMLP(nn.Module):
    """Layer norm and SiLU, for vectors."""

    def __init__(self, *, width: int = 64, layers: int = 4) -> None:
        super().__init__()
        body: list[nn.Module] = []
        inputs = 20
        for _ in range(layers):
            body += [nn.Linear(inputs, width), nn.LayerNorm(width), nn.SiLU()]
            inputs = width
        self.body = nn.Sequential(*body)
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.body(x))
        return out


class Separable(nn.Module):
    """Depthwise and pointwise convolutions with batch norm and ReLU6, as in MobileNet."""

    def __init__(self, *, channels: int = 16, layers: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, 2, 1, bias=False)
        body: list[nn.Module] = []
        for _ in range(layers):
            body += [nn.Conv2d(channels, channels, 3, 1, 1, groups=channels, bias=False), nn.BatchNorm2d(channels), nn.ReLU6()]
            body += [nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU6()]
        self.body = nn.Sequential(*body)
        self.head = nn.Linear(channels, 8)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.body(self.stem(x)).mean((2, 3)))
        return out


class Autoencoder(nn.Module):
    """Pictures through a bottleneck and back to values from 0 to 1."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(432, 96), nn.Tanh(), nn.Linear(96, 24), nn.Tanh())
        self.decoder = nn.Sequential(nn.Linear(24, 96), nn.Tanh(), nn.Linear(96, 432), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.decoder(self.encoder(x))
        return out
