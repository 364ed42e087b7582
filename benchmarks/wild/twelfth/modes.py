"""Faults of masks and modes: letters that see the next one, a batch attended to as if it were time, eval mode in mid-epoch."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="future-leak",
    project="huggingface/transformers",
    source="github.com/huggingface/transformers/issues/48745",
)
def decoder_that_builds_no_causal_mask(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A model of letters with turned places is told to be a decoder, and builds the mask of an encoder."""
    stream, letters = data.characters(900, seed)

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norms = nn.ModuleList(nn.LayerNorm(48) for _ in range(2))
            self.qkv, self.mix = nn.Linear(48, 144), nn.Linear(48, 48)
            self.body = nn.Sequential(nn.Linear(48, 96), nn.GELU(), nn.Linear(96, 48))
            pace = 100 ** (-torch.arange(6) / 6) * torch.arange(32.0)[:, None]
            self.register_buffer("turns", torch.stack([pace.cos(), pace.sin()]))

        def turn(self, x: Tensor) -> Tensor:
            """Queries or keys (N, heads, T, 12), turned by their places."""
            cos, sin = self.get_buffer("turns")[:, : x.shape[2]]
            left, right = x.chunk(2, 3)
            return torch.cat([left * cos - right * sin, left * sin + right * cos], 3)

        def forward(self, x: Tensor) -> Tensor:
            q, k, v = (each.unflatten(2, (4, 12)).transpose(1, 2) for each in self.qkv(self.norms[0](x)).chunk(3, 2))
            seen = F.scaled_dot_product_attention(self.turn(q), self.turn(k), v, is_causal=cured)
            x = x + self.mix(seen.transpose(1, 2).flatten(2))
            return x + self.body(self.norms[1](x))

    class Letters(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.blocks, self.out = nn.Embedding(letters, 48), nn.Sequential(Block(), Block()), nn.Linear(48, letters)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.blocks(self.embed(x))).transpose(1, 2)

    model = Letters()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    cut = len(stream) - 3000
    batches = data.windows(stream[:cut], 24, 16, 350, seed)
    doctor.task(model, list(data.windows(stream[:cut], 24, 16, 8, seed)), F.cross_entropy, optimizer)
    held_x, held_y = next(iter(data.windows(stream[cut:], 24, 256, 1, seed)))
    fit(doctor, model, optimizer, F.cross_entropy, batches, data.Split(held_x, held_y, held_x, held_y))
    with torch.no_grad():
        return below(F.cross_entropy(model(held_x[:, :14])[..., -1], held_y[:, 13]), 0.85)


@fault(
    kind="batch-mixing",
    also=("padding", "underfitting"),
    project="songyangco/GETNext",
    source="github.com/songyangco/GETNext/issues/2",
)
def walks_attended_to_across_walkers(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Walks are (walkers, moments), the encoder takes moments first: walkers attend to each other, and places go by walker."""
    generator = torch.Generator().manual_seed(seed)
    home, work = torch.randint(20, (2, 1600, 1), generator=generator)
    way = torch.tensor([0, 1, 0, 2, 1, 0, 1, 2])
    visits = torch.where(way == 0, home, torch.where(way == 1, work, (home + work) % 20))
    stray = torch.rand(1600, 8, generator=generator) < 0.05
    visits = torch.where(stray, torch.randint(20, (1600, 8), generator=generator), visits)
    start = torch.randint(3, (1600, 1), generator=generator)
    walks = visits.gather(1, (start + torch.arange(6)) % 8)
    rows = data.split(walks[:, :5], walks[:, 1:], seed)

    class Walks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.place = nn.Embedding(20, 32), nn.Parameter(0.3 * torch.randn(64, 1, 32))
            layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0)
            self.body, self.out = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(32, 20)

        def forward(self, seen: Tensor) -> Tensor:
            h = self.embed(seen.T if cured else seen)
            mask = nn.Transformer.generate_square_subsequent_mask(len(h))
            h = self.out(self.body(h + self.place[: len(h)], mask=mask))
            return (h.transpose(0, 1) if cured else h).transpose(1, 2)

    model = Walks()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 32, 500, seed))
    with torch.no_grad():
        said = torch.cat([model(part)[..., -1] for part in rows.held_x[:384].split(32)])
    return above(data.accuracy(said, rows.held_y[:384, -1]), 0.6)


@fault(
    kind="wrong-mode",
    also=("overfitting",),
    certain="five steps of six are taken in eval mode, without the dropout that was asked for",
    project="webis-de/small-text",
    source="github.com/webis-de/small-text/issues/40",
)
def validated_in_mid_epoch(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The held-out half is looked at several times an epoch, and the model is not set back to training until the next."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(6, (900,), generator=generator)
    liked = torch.rand(6, 300, generator=generator) ** 8
    counts = torch.poisson(20 * (0.5 * liked / liked.sum(1, keepdim=True) + 0.5 / 300)[y], generator=generator)
    y = torch.where(torch.rand(900, generator=generator) < 0.15, torch.randint(6, (900,), generator=generator), y)
    rows = data.split(torch.log1p(counts), y, seed, held=0.7)

    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Dropout(0.7), nn.Linear(300, 128), nn.ReLU(), nn.Dropout(0.7), nn.Linear(128, 6))

        def forward(self, bag: Tensor) -> Tensor:
            return self.body(bag)

    model = Words()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.1)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 15, 720, seed)):
            if step % 18 == 0:
                model.train()
            optimizer.zero_grad()
            loss = F.cross_entropy(model(a), b)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 6 == 2:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
                if cured:
                    model.train()
    model.eval()
    with torch.no_grad():
        return below(F.cross_entropy(model(rows.held_x), rows.held_y), 1.0)
