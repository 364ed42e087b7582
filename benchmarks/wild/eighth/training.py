"""Faults of fine-tuning, schedules, resuming and padding."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Encoder(nn.Module):
    """Two transformer layers over 10 words of 40, and two classes from their mean."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(40, 32)
        layers = [nn.TransformerEncoderLayer(32, 2, 64, dropout=0.1, batch_first=True) for _ in range(2)]
        self.layers, self.classifier = nn.Sequential(*layers), nn.Linear(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.layers(self.embed(x)).mean(1))


def reviews(count: int, seed: int, turned: int = 0) -> data.Split:
    """Ten words (N, 10); the class says whether they please more than they displease; some words have turned their sense."""
    generator = torch.Generator().manual_seed(seed)
    worth = torch.randn(40, generator=generator)
    worth[:turned] *= -1
    x = torch.randint(40, (count, 10), generator=generator)
    return data.split(x, (worth[x].sum(1) > 0).long(), seed)


@fault(
    kind="schedule-to-zero",
    also=("never-moved", "learning-rate-too-low", "slow-learning"),
    project="EricFillion/happy-transformer",
    source="github.com/EricFillion/happy-transformer/issues/129",
)
def rate_rounded_down_to_nought(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A linear warm-up and decay whose quotients are whole numbers: the rate is 0 in all steps but one."""
    rows = reviews(2000, seed)
    model = Encoder()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    warm, total = 30, 300

    def factor(step: int) -> float:
        share = step / warm if step < warm else (total - step) / (total - warm)
        return share if cured else float(int(share))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 32, total, seed)):
            model.train()
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            watch.loss(loss)
            if step % 60 == 59:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
    model.eval()
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.85)


@fault(
    kind="learning-rate-too-high",
    also=("no-warmup",),
    project="huggingface/transformers",
    source="github.com/huggingface/transformers/issues/735",
)
def fine_tuned_two_hundred_times_too_fast(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A trained encoder is tuned to a like task at a rate for nets from scratch: it ends in one output for all texts."""
    before, rows = reviews(1600, seed), reviews(1200, seed, turned=6)
    model = Encoder()
    adam = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for x, y in data.batches(before.x, before.y, 32, 150, seed):
        adam.zero_grad()
        F.cross_entropy(model(x), y).backward()
        adam.step()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3 if cured else 0.2)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 32, 150, seed), rows, every=30)
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.8)


class Bag(nn.Module):
    """The worth of a text from the mean of its words' vectors."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.embed, self.body = nn.Embedding(words, 8), nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self.embed(x).mean(1))[:, 0]

    def enlarge(self, words: int) -> None:
        """A new table of vectors, its first rows those of the old one, the others near 0."""
        old = self.embed
        self.embed = nn.Embedding(words, 8)
        nn.init.normal_(self.embed.weight, std=0.02)
        with torch.no_grad():
            self.embed.weight[: len(old.weight)] = old.weight


@fault(
    kind="not-optimised",
    also=("never-moved",),
    where="embed",
    project="huggingface/transformers",
    source="github.com/huggingface/transformers/pull/3532",
)
def vocabulary_enlarged_after_the_optimiser(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The optimiser was given the old table of vectors; the one that is used is new, and no one moves it."""
    generator = torch.Generator().manual_seed(seed)
    worth = torch.randn(90, generator=generator)
    old, new = (torch.randint(top, (2000, 12), generator=generator) for top in (30, 90))
    before, rows = (data.split(x, worth[x].sum(1) / 12**0.5, seed) for x in (old, new))
    model = Bag(30)
    adam = torch.optim.Adam(model.parameters(), lr=3e-3)
    for x, y in data.batches(before.x, before.y, 40, 200, seed):
        adam.zero_grad()
        F.mse_loss(model(x), y).backward()
        adam.step()
    if cured:
        model.enlarge(90)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    if not cured:
        model.enlarge(90)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 40, 400, seed), rows)
    return above(data.r2(model(rows.held_x), rows.held_y), 0.8)


@fault(
    kind="not-optimised",
    also=("never-moved", "missing-zero-grad"),
    project="CodefyUI/CodefyUI",
    source="github.com/CodefyUI/CodefyUI/pull/147",
)
def resumed_into_another_copy(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The checkpoint is read into a model made anew; the optimiser still moves the one from before."""
    rows = data.digits(seed)

    def build() -> nn.Sequential:
        conv = [nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(12, 24, 3, padding=1), nn.ReLU()]
        return nn.Sequential(*conv, nn.Flatten(), nn.Linear(24 * 16, 10))

    first = build()
    optimizer = torch.optim.Adam(first.parameters(), lr=1e-3)
    for x, y in data.batches(rows.x, rows.y, 32, 15, seed):
        optimizer.zero_grad()
        F.cross_entropy(first(x), y).backward()
        optimizer.step()
    weights, moments = first.state_dict(), optimizer.state_dict()
    model = build()
    model.load_state_dict(weights)
    if cured:
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        optimizer.load_state_dict(moments)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 32, 200, seed), rows)
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.85)


class Tagger(nn.Module):
    """A tag for each word (B, T) from itself and its neighbours: logits (B, tags, T)."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.conv = nn.Embedding(21, 24, padding_idx=0), nn.Conv1d(24, 48, 3, padding=1)
        self.out = nn.Conv1d(48, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(F.relu(self.conv(self.embed(x).transpose(1, 2))))


@fault(
    kind="padding",
    also=("slow-learning", "underfitting"),
    project="hopsparser/hopsparser",
    source="github.com/hopsparser/hopsparser/pull/20",
)
def places_of_padding_counted_as_tags(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Nine places of ten are padding and have a tag of their own: the mean loss is small long before a word is learnt."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(1, 21, (1600, 50), generator=generator)
    y = 1 + (x + x.roll(1, 1)) % 4
    y[:, 0] = 1 + x[:, 0] % 4
    length = torch.randint(3, 8, (1600, 1), generator=generator)
    padding = torch.arange(50) >= length
    rows = data.split(x.masked_fill(padding, 0), y.masked_fill(padding, 0), seed)
    model = Tagger()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def loss_fn(output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output, target, ignore_index=0 if cured else -100)

    doctor.task(model, data.few(rows.x, rows.y, 16, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 16, 300, seed), rows)
    words = rows.held_y > 0
    return above((model(rows.held_x).argmax(1) == rows.held_y)[words].float().mean(), 0.8)
