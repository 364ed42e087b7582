"""Healthy programs on letters and symbols."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Orthogonal(torch.optim.Optimizer):
    """Momentum whose matrices are made orthogonal before a step."""

    def __init__(self, params: list[nn.Parameter], lr: float, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                kept = self.state[p].setdefault("momentum", torch.zeros_like(p))
                kept.lerp_(p.grad, 1 - group["momentum"])
                x = p.grad.lerp(kept, group["momentum"])
                x = x / (x.norm() + 1e-7)
                tall = x.shape[0] > x.shape[1]
                x = x.T if tall else x
                for _ in range(5):
                    square = x @ x.T
                    x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
                p.add_(x.T if tall else x, alpha=-group["lr"] * max(1, p.shape[0] / p.shape[1]) ** 0.5)


class Small(nn.Module):
    """A language model of one block: rotary places are not needed for 16 letters, learnt ones do."""

    def __init__(self, letters: int) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(letters, 48), nn.Embedding(16, 48)
        self.qkv, self.join = nn.Linear(48, 144, bias=False), nn.Linear(48, 48, bias=False)
        self.wide, self.narrow = nn.Linear(48, 192, bias=False), nn.Linear(192, 48, bias=False)
        self.head = nn.Linear(48, letters)
        nn.init.zeros_(self.join.weight)
        nn.init.zeros_(self.narrow.weight)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x) + self.place.weight[: x.shape[1]]
        q, k, v = (part.unflatten(2, (3, 16)).transpose(1, 2) for part in self.qkv(F.rms_norm(h, (48,))).chunk(3, 2))
        h = h + self.join(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        h = h + self.narrow(F.relu(self.wide(F.rms_norm(h, (48,)))).square())
        return self.head(F.rms_norm(h, (48,))).transpose(1, 2)


@healthy(project="KellerJordan/Muon", source="github.com/KellerJordan/Muon")
def matrices_by_orthogonal_steps(doctor: Doctor, seed: int) -> Score:
    """One optimiser for the matrices, Adam for the rest; the ends of both branches start at 0."""
    stream, letters = data.characters(700, seed)
    held, _ = data.characters(100, seed + 50)
    model = Small(letters)
    inner = [model.qkv.weight, model.join.weight, model.wide.weight, model.narrow.weight]
    outer = [*model.embed.parameters(), *model.place.parameters(), *model.head.parameters()]
    optimizers = [Orthogonal(inner, lr=0.02), torch.optim.Adam(outer, lr=4e-3, betas=(0.9, 0.95))]
    x, y = next(data.windows(held, 16, 300, 1, seed))
    with doctor.watch(model, optimizers) as watch:
        for step, (a, b) in enumerate(data.windows(stream, 16, 48, 250, seed)):
            for each in optimizers:
                each.zero_grad()
            loss = F.cross_entropy(model(a), b)
            loss.backward()
            for each in optimizers:
                each.step()
            watch.loss(loss)
            if step % 50 == 49:
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(x), y))
    with torch.no_grad():
        return below(F.cross_entropy(model(x), y), 1.0)


class Detective(nn.Module):
    """A small writer that fills gaps and a reader that says which letters are not the true ones."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(29, 24)
        self.writer = nn.GRU(24, 16, bidirectional=True, batch_first=True)
        self.reader = nn.GRU(24, 48, bidirectional=True, batch_first=True)
        self.filled, self.false = nn.Linear(32, 28), nn.Linear(96, 1)

    def fill(self, x: Tensor) -> Tensor:
        return self.filled(self.writer(self.embed(x))[0])

    def doubt(self, x: Tensor) -> Tensor:
        return self.false(self.reader(self.embed(x))[0])[..., 0]


@healthy(project="lucidrains/electra-pytorch", source="github.com/lucidrains/electra-pytorch")
def letters_that_were_replaced(doctor: Doctor, seed: int) -> Score:
    """The better the writer, the harder the reader's task: the sum of the losses says little."""
    stream, _ = data.characters(700, seed)
    held, _ = data.characters(100, seed + 50)
    generator = torch.Generator().manual_seed(seed)
    model = Detective()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)

    def replaced(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        gap = torch.rand(x.shape, generator=generator) < 0.15
        logits = model.fill(x.masked_fill(gap, 28))
        drawn = torch.multinomial(logits.detach().softmax(2).flatten(0, 1), 1, generator=generator).view_as(x)
        return F.cross_entropy(logits[gap], x[gap]), torch.where(gap, drawn, x), gap

    with doctor.watch(model, optimizer) as watch:
        for x, _ in data.windows(stream, 20, 32, 300, seed):
            written, changed, _ = replaced(x)
            loss = written + 10.0 * F.binary_cross_entropy_with_logits(model.doubt(changed), (changed != x).float())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            watch.loss(loss)
    x, _ = next(data.windows(held, 20, 200, 1, seed))
    with torch.no_grad():
        _, changed, _ = replaced(x)
        doubt, false = model.doubt(changed), changed != x
    return above((doubt[false][:, None] > doubt[~false]).float().mean(), 0.85)


class Linear(nn.Module):
    """Attention without a softmax, read from left to right: logits (B, T, symbols)."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(16, 48), nn.Parameter(0.02 * torch.randn(20, 48))
        self.qkv = nn.ModuleList(nn.Linear(48, 144) for _ in range(2))
        self.net = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(48), nn.Linear(48, 96), nn.GELU(), nn.Linear(96, 48)) for _ in range(2)
        )
        self.norm = nn.ModuleList(nn.LayerNorm(48) for _ in range(3))
        self.out = nn.Linear(48, 16)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x) + self.place[: x.shape[1]]
        before = torch.ones(x.shape[1], x.shape[1]).tril()
        for qkv, net, norm in zip(self.qkv, self.net, self.norm, strict=False):
            q, k, v = qkv(norm(h)).unflatten(2, (12, 12)).transpose(1, 2).chunk(3, 1)
            weight = (F.elu(q) + 1) @ (F.elu(k) + 1).transpose(2, 3) * before
            h = h + (weight @ v / (weight.sum(3, keepdim=True) + 1e-6)).transpose(1, 2).flatten(2)
            h = h + net(h)
        return self.out(self.norm[2](h))


@healthy(project="idiap/fast-transformers", source="github.com/idiap/fast-transformers")
def symbols_copied_by_linear_attention(doctor: Doctor, seed: int) -> Score:
    """Six symbols, a mark, the six again: only the second half can be known, its loss alone counts."""
    generator = torch.Generator().manual_seed(seed)

    def draw(count: int) -> tuple[Tensor, Tensor]:
        first = torch.randint(1, 16, (count, 6), generator=generator)
        whole = torch.cat([first, torch.zeros(count, 1, dtype=torch.long), first], 1)
        target = whole[:, 1:].clone()
        target[:, :6] = -100
        return whole[:, :-1], target

    model = Linear()
    optimizer = torch.optim.RAdam(model.parameters(), lr=4e-3)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(400):
            x, y = draw(48)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x).transpose(1, 2), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    x, y = draw(200)
    with torch.no_grad():
        said = model(x).argmax(2)
    return above((said == y)[y >= 0].float().mean(), 0.8)
