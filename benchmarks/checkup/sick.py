"""Small tasks that are sick in one known place, each beside its cure: the check-up must name the place, and stay silent on the
cure.

Re-created from kinds of public bug reports. A builder takes `cured` and returns (model, batches, loss_fn, optimizer).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from benchmarks.checkup.data import pictures, short_texts, texts, waves
from benchmarks.checkup.data import table as rows_of
from benchmarks.checkup.healthy import F, Made, adamw, next_token
from torch import Tensor, nn

from lettrine import health
from lettrine.torch.checkup import task


@dataclass(frozen=True)
class Case:
    """kind: the finding's id that is right. where: a name that must be among its places; "" for the whole task."""

    name: str
    kind: str
    where: str
    build: Callable[[bool], Made]


CASES: list[Case] = []


def case(name: str, kind: str, where: str = "") -> Callable[[Callable[[bool], Made]], Callable[[bool], Made]]:
    def register(build: Callable[[bool], Made]) -> Callable[[bool], Made]:
        CASES.append(Case(name, kind, where, build))
        return build

    return register


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


@case("softmax over the batch", "batch-mixing")
def _(cured: bool) -> Made:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x).log_softmax(1 if cured else 0)

    net = Net()
    return net, rows_of(), F.nll_loss, adamw(net)


@case("LSTM that takes the batch for time", "batch-mixing", "rnn")
def _(cured: bool) -> Made:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.out = nn.LSTM(4, 24, batch_first=cured), nn.Linear(24, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.rnn(x)[0][:, -1])

    net = Net()
    return net, waves(), F.cross_entropy, adamw(net, 3e-3)


@case("transformer that takes the batch for time", "batch-mixing", "layers.0.self_attn")
def _(cured: bool) -> Made:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inside, self.place = nn.Linear(4, 32), nn.Parameter(torch.randn(24, 32) * 0.1)
            self.body = nn.TransformerEncoder(
                nn.TransformerEncoderLayer(32, 4, 64, batch_first=cured), 1, enable_nested_tensor=False
            )
            self.out = nn.Linear(32, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.body(self.inside(x) + self.place).mean(1))

    net = Net()
    return net, waves(), F.cross_entropy, adamw(net)


@case("heads merged by a view that mixes the batch", "batch-mixing")
def _(cured: bool) -> Made:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inside, self.out = nn.Linear(4, 32), nn.Linear(32, 4)

        def forward(self, x: Tensor) -> Tensor:
            b, t, _ = x.shape
            h = torch.relu(self.inside(x)).transpose(0, 1).contiguous()  # (T, B, 32)
            h = h.transpose(0, 1) if cured else h.view(b, t, 32)
            return self.out(h.mean(1))

    net = Net()
    return net, waves(), F.cross_entropy, adamw(net, 3e-3)


@case("features standardised over the batch, in eval mode too", "batch-mixing")
def _(cured: bool) -> Made:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(16, 32), nn.Linear(32, 4)

        def forward(self, x: Tensor) -> Tensor:
            h = self.a(x)
            axis = 1 if cured else 0
            h = (h - h.mean(axis, keepdim=True)) / (h.std(axis, keepdim=True) + 1e-5)
            return self.b(torch.relu(h))

    net = Net()
    return net, rows_of(), F.cross_entropy, adamw(net)


@case("outputs (N, 1), targets (N,)", "broadcast")
def _(cured: bool) -> Made:
    net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 1))
    batches = [(x, x[:, :3].sum(1, keepdim=True) if cured else x[:, :3].sum(1)) for x, _ in rows_of()]
    return net, batches, nn.MSELoss(), adamw(net)


@case("outputs (N,), targets (N, 1), L1", "broadcast")
def _(cured: bool) -> Made:
    net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 1), nn.Flatten(0))
    batches = [(x, x[:, :3].sum(1, keepdim=not cured)) for x, _ in rows_of()]
    return net, batches, nn.L1Loss(), adamw(net)


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


class Stack(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        made = [nn.Linear(16, 16) for _ in range(2)]
        self.layers: Any = {"list": made, "module list": nn.ModuleList(made)}.get(how)
        self.scale: Any = nn.Parameter(torch.ones(16)) if how != "tensor" else torch.ones(16, requires_grad=True)
        self.parts = {"first": made[0]} if how == "dict" else None
        if how == "module dict":
            self.parts = nn.ModuleDict({"first": made[0]})  # type: ignore[assignment]
        self.out = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers or (self.parts or {}).values():
            x = torch.tanh(layer(x))
        return self.out(x * self.scale)


for _sick, _well, _where in (
    ("list", "module list", "layers[0].weight"),
    ("dict", "module dict", "parts['first'].weight"),
    ("tensor", "list of none", "scale"),
):

    @case(f"layers in a plain {_sick}", "unregistered", _where)
    def _(cured: bool, sick: str = _sick, well: str = _well) -> Made:
        net = Stack(well if cured else sick)
        return net, rows_of(), F.cross_entropy, adamw(net)


@case("dropout called without training", "eval-dropout")
def _(cured: bool) -> Made:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(16, 64), nn.Linear(64, 4)

        def forward(self, x: Tensor) -> Tensor:
            h = torch.relu(self.a(x))
            return self.b(F.dropout(h, 0.5, training=self.training) if cured else F.dropout(h, 0.5))

    net = Net()
    return net, rows_of(), F.cross_entropy, adamw(net)


@case("attention that drops in eval mode", "eval-dropout", "attend")
def _(cured: bool) -> Made:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.attend, self.out = nn.Embedding(41, 32), Attention(), nn.Linear(32, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.attend(self.embed(x), rate=0.3 if self.training or not cured else 0.0).mean(1))

    net = Net()
    return net, [(x, x[:, 0] % 3) for x in texts()], F.cross_entropy, adamw(net)


@case("dropout module made anew in each pass", "eval-dropout")
def _(cured: bool) -> Made:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.drop, self.b = nn.Linear(16, 64), nn.Dropout(0.5), nn.Linear(64, 4)

        def forward(self, x: Tensor) -> Tensor:
            drop = self.drop if cured else nn.Dropout(0.5)
            return self.b(drop(torch.relu(self.a(x))))

    net = Net()
    return net, rows_of(), F.cross_entropy, adamw(net)


@case("one batch norm in three places", "shared-norm", "norm")
def _(cured: bool) -> Made:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = (
                nn.Conv2d(1, 16, 3, padding=1),
                nn.Conv2d(16, 16, 3, padding=1),
                nn.Conv2d(16, 16, 3, padding=1),
            )
            self.norm = nn.BatchNorm2d(16)
            self.second, self.third = (nn.BatchNorm2d(16), nn.BatchNorm2d(16)) if cured else (self.norm, self.norm)
            self.out = nn.Linear(16, 10)

        def forward(self, x: Tensor) -> Tensor:
            x = torch.relu(self.norm(self.a(x)))
            x = F.max_pool2d(torch.relu(self.second(self.b(x))), 2)
            return self.out(torch.relu(self.third(self.c(x))).mean((2, 3)))

    net = Net()
    return net, pictures(12, 1, rows=32), F.cross_entropy, torch.optim.SGD(net.parameters(), 0.02, 0.9)


@case("fresh layers frozen", "frozen-random", "0.0.weight")
def _(cured: bool) -> Made:
    body = nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2)
    )
    net = nn.Sequential(body, nn.Flatten(), nn.Linear(96, 10))
    if not cured:
        body.requires_grad_(requires_grad=False)
    wanted = [each for each in net.parameters() if each.requires_grad]
    return net, pictures(12, 1, rows=32), F.cross_entropy, torch.optim.SGD(wanted, 0.02, 0.9)


@case("head added after the optimiser was made", "not-optimised", "2.weight")
def _(cured: bool) -> Made:
    net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 9))
    optimizer = adamw(net)
    net[2] = nn.Linear(32, 4)
    return net, rows_of(), F.cross_entropy, adamw(net) if cured else optimizer


@case("features detached on the way", "no-gradient", "a.weight")
def _(cured: bool) -> Made:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(16, 32), nn.Linear(32, 4)

        def forward(self, x: Tensor) -> Tensor:
            h = torch.relu(self.a(x))
            return self.b(h if cured else torch.tensor(h.detach().numpy()))

    net = Net()
    return net, rows_of(), F.cross_entropy, adamw(net)


@case("Adam's eps in half precision", "eps-underflow")
def _(cured: bool) -> Made:
    net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4)).half()
    batches = [(x.half(), y) for x, y in rows_of()]
    return (
        net,
        batches,
        lambda out, y: F.cross_entropy(out.float(), y),
        torch.optim.Adam(net.parameters(), 1e-3, eps=1e-4 if cured else 1e-8),
    )


@case("a layer's weight kept as a plain tensor, trained by hand", "save-load", "shift")
def _(cured: bool) -> Made:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out = nn.Linear(16, 4)
            self.register_buffer("shift", torch.zeros(16), persistent=cured)

        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                self.shift = 0.5 * self.shift + 0.5 * x.detach().mean(0)
            return self.out(x - self.shift)

    net = Net()
    return net, [(x + 2, y) for x, y in rows_of()], F.cross_entropy, adamw(net)


@case("one of two inputs forgotten", "unused-input")
def _(cured: bool) -> Made:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.out = nn.Linear(8, 16), nn.Linear(8, 16), nn.Linear(32, 4)

        def forward(self, left: Tensor, right: Tensor) -> Tensor:
            return self.out(torch.relu(torch.cat([self.a(left), self.b(right if cured else left)], 1)))

    net = Net()
    return net, [((x[:, :8], x[:, 8:]), y) for x, y in rows_of()], F.cross_entropy, adamw(net)


@case("pixels from 0 to 255", "input-scale")
def _(cured: bool) -> Made:
    net = nn.Sequential(nn.Flatten(), nn.Linear(144, 64), nn.Tanh(), nn.Linear(64, 10))
    batches = [(((0.3 * x + 0.5).clamp(0, 1) * 255) if not cured else x, y) for x, y in pictures(12, 1, rows=32)]
    return net, batches, F.cross_entropy, torch.optim.SGD(net.parameters(), 0.05, 0.9)


@case("targets in the thousands", "target-scale")
def _(cured: bool) -> Made:
    net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 1))
    factor, shift = (1.0, 0.0) if cured else (5000.0, 20000.0)
    return net, [(x, factor * x[:, :3].sum(1, keepdim=True) + shift) for x, _ in rows_of()], F.mse_loss, adamw(net)


@case("targets beyond a sigmoid", "target-range")
def _(cured: bool) -> Made:
    net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 1), nn.Identity() if cured else nn.Sigmoid())
    return net, [(x, 3 * x[:, :1] + 4) for x, _ in rows_of()], F.mse_loss, adamw(net)


@case("a column that is the label", "leak")
def _(cured: bool) -> Made:
    net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
    batches = []
    for x, y in rows_of():
        if not cured:
            x[:, 5] = y.float()
        batches.append((x, y))
    return net, batches, F.cross_entropy, adamw(net)


@case("batches sorted by class", "sorted-data")
def _(cured: bool) -> Made:
    net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
    x, y = (torch.cat(each) for each in zip(*rows_of(), strict=True))
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(1)) if cured else y.argsort(stable=True)
    return net, list(zip(x[order].split(32), y[order].split(32), strict=True)), F.cross_entropy, adamw(net)


@case("workers that draw the same", "repeated-batch")
def _(cured: bool) -> Made:
    net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
    batches = rows_of()
    return net, batches if cured else [batches[i // 2] for i in range(12)], F.cross_entropy, adamw(net)


@case("targets all of one class", "target-constant")
def _(cured: bool) -> Made:
    net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
    return net, [(x, y if cured else torch.zeros_like(y)) for x, y in rows_of()], F.cross_entropy, adamw(net)


@case("targets in another order than inputs", "shuffled-targets")
def _(cured: bool) -> Made:
    net = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 4))
    x, y = (torch.cat(each) for each in zip(*rows_of(rows=64, count=16), strict=True))
    if not cured:
        y = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(1))]
    return net, list(zip(x.split(64), y.split(64), strict=True)), F.cross_entropy, adamw(net, 3e-3)


@case("a rate far too high", "learning-rate-too-high")
def _(cured: bool) -> Made:
    net = nn.Sequential(nn.Linear(16, 64), nn.Tanh(), nn.Linear(64, 4))
    return net, rows_of(), F.cross_entropy, torch.optim.SGD(net.parameters(), 0.1 if cured else 60.0, 0.9)


@case("a rate far too low", "learning-rate-too-low")
def _(cured: bool) -> Made:
    net = nn.Sequential(nn.Linear(16, 64), nn.Tanh(), nn.Linear(64, 4))
    return net, rows_of(), F.cross_entropy, torch.optim.SGD(net.parameters(), 0.1 if cured else 1e-5)


@case("weight decay stronger than the gradient", "weight-decay")
def _(cured: bool) -> Made:
    net = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 4))
    return net, rows_of(), F.cross_entropy, torch.optim.SGD(net.parameters(), 0.05, 0.9, weight_decay=1e-4 if cured else 0.8)


class WrongSquare(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * ctx.saved_tensors[0]  # the 2 is missing


class RightSquare(WrongSquare):
    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * 2 * ctx.saved_tensors[0]


@case("a backward pass with a factor missing", "wrong-backward")
def _(cured: bool) -> Made:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(16, 32), nn.Linear(32, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.b((RightSquare if cured else WrongSquare).apply(self.a(x)))

    net = Net()
    return net, rows_of(), F.cross_entropy, adamw(net)


@case("a difference of large numbers", "precision", "lost")
def _(cured: bool) -> Made:
    class Lost(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if cured else (x + 1e6) - 1e6

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.lost, self.b = nn.Linear(16, 32), Lost(), nn.Linear(32, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(torch.tanh(self.lost(self.a(x))))

    net = Net()
    return net, rows_of(), F.cross_entropy, adamw(net)


@case("softmax over one unit", "unused-input")
def _(cured: bool) -> Made:
    net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 1), nn.Sigmoid() if cured else nn.Softmax(1))
    return net, [(x, (x[:, :1] > 0).float()) for x, _ in rows_of()], F.binary_cross_entropy, adamw(net)


@case("logarithm of 0 in a layer", "non-finite", "logs")
def _(cured: bool) -> Made:
    class Logs(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.log(torch.relu(x) + (1.0 if cured else 0.0))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.logs, self.b = nn.Linear(16, 32), Logs(), nn.Linear(32, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.logs(self.a(x)))

    net = Net()
    return net, rows_of(), F.cross_entropy, adamw(net)


def table(part: str, options: dict[str, Any]) -> None:
    """Print one row a case, sick and cured, and the totals."""
    named = first = other = clean = count = 0
    for each in CASES:
        if part.lower() not in f"{each.name} {each.kind}".lower():
            continue
        count += 1
        loud, seconds = {}, {}
        for cured in (False, True):
            torch.manual_seed(1)
            begun = task.clock()
            report = health.checkup(*each.build(cured), **options)
            seconds[cured] = task.clock() - begun
            loud[cured] = [found for found in report.findings if found.severity != "info"]
            failed = [f"FAILED {o.check}: {o.reason}" for o in report.outcomes if o.status == "failed"]
            for text in failed:
                print(f"    {text}")
        right = [place for place, found in enumerate(loud[False]) if found.id == each.kind and _there(each.where, found.where)]
        named += bool(right)
        first += right[:1] == [0]
        other += bool(loud[False]) and not right
        clean += not loud[True]
        verdict = "named first" if right[:1] == [0] else "named" if right else "OTHER" if loud[False] else "MISSED"
        rest = [f"{found.id} {', '.join(found.where[:2])}" for place, found in enumerate(loud[False]) if place not in right]
        alarms = "; ".join(f"{found.id}: {found.message}" for found in loud[True])
        print(f"{each.name:<56} {each.kind:<22} {verdict:<12} {seconds[False]:5.1f} s  {'; '.join(rest)}", flush=True)
        if alarms:
            print(f"    CURED, AND STILL: {alarms}", flush=True)
    print(
        f"\n{count} faults: {named} named at the right place, {first} first; {other} called something else; {clean} of "
        f"{count} cures silent"
    )


def _there(wanted: str, where: tuple[str, ...]) -> bool:
    return not wanted or any(wanted in name for name in where)
