"""Faults of what a token sees and is asked: what fills up is seen, all tokens are asked, the answer is handed in as it is."""

from __future__ import annotations

import math

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, fault
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Attention(nn.Module):
    """Four heads; where the mask says so, a token looks away."""

    def __init__(self, width: int, kept: bool) -> None:
        super().__init__()
        self.kept = kept
        self.project, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor, empty: Tensor) -> Tensor:
        query, key, value = self.project(x).unflatten(2, (3, 4, -1)).permute(2, 0, 3, 1, 4)
        score = query @ key.transpose(2, 3) / math.sqrt(query.shape[3])
        masked = score.masked_fill(empty[:, None, None], -1e9)
        score = masked if self.kept else score
        return self.out((score.softmax(3) @ value).transpose(1, 2).flatten(2))


class Memory(nn.Module):
    """A transformer over what was seen so far, that says what to do at the last step."""

    def __init__(self, kept: bool) -> None:
        super().__init__()
        self.enter = nn.Linear(4, 32)
        self.attention = nn.ModuleList(Attention(32, kept) for _ in range(2))
        self.norm = nn.ModuleList(nn.LayerNorm(32) for _ in range(4))
        self.mlp = nn.ModuleList(nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 32)) for _ in range(2))
        self.act = nn.Linear(32, 4)

    def forward(self, seen: Tensor) -> Tensor:
        empty = (seen == 0).all(2)
        h = self.enter(seen)
        for i in range(2):
            h = h + self.attention[i](self.norm[2 * i](h), empty)
            h = h + self.mlp[i](self.norm[2 * i + 1](h))
        share = (~empty).float()[:, :, None]
        return self.act((h * share).sum(1) / share.sum(1))


def histories(count: int, width: int, seed: int) -> tuple[Tensor, Tensor]:
    """Three to ten steps of four numbers each, filled up with noughts; which number is greatest on the whole."""
    generator = torch.Generator().manual_seed(seed)
    length = torch.randint(3, 11, (count, 1), generator=generator)
    seen = torch.randn(count, width, 4, generator=generator) + 0.7 * torch.randn(count, 1, 4, generator=generator)
    seen = seen * (torch.arange(width) < length)[:, :, None]
    total = seen.sum(1) / length
    best = total.argmax(1)
    return seen, torch.where(total.amax(1) > 0.7, best, total.argmin(1))


@fault(
    kind="padding",
    project="opendilab/DI-engine",
    source="github.com/opendilab/DI-engine/issues/333",
    certain="The mask is worked out and not used, so every step looks at all those that only fill up.",
)
def a_mask_that_is_made_and_dropped(doctor: Doctor, seed: int, cured: bool) -> Score:
    """What to do after some steps: histories are filled up to 32 steps, and the mask that hides these goes unused."""
    torch.manual_seed(seed)
    rows = data.split(*histories(2000, 32, seed), seed)
    model = Memory(kept=cured)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 32, 250, seed):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x[:, :10]), rows.held_y), 0.7)


class Blank(nn.Module):
    """Sees all of the text, and of the answer what was said so far; tells the next token at each place."""

    def __init__(self, letters: int, known: int, length: int) -> None:
        super().__init__()
        self.letter, self.place = nn.Embedding(letters, 48), nn.Parameter(0.1 * torch.randn(length, 48))
        layer = nn.TransformerEncoderLayer(48, 4, 96, dropout=0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.say = nn.Linear(48, letters)
        later = torch.ones(length, length).triu(1).bool()
        later[:known, :known] = False
        self.register_buffer("later", later)

    def forward(self, tokens: Tensor) -> Tensor:
        count = tokens.shape[1]
        return self.say(self.layers(self.letter(tokens) + self.place[:count], mask=self.later[:count, :count]))


@fault(
    kind="other-loss",
    also=("target-rows", "leak", "future-leak", "padding"),
    project="PaddlePaddle/PaddleNLP",
    source="github.com/PaddlePaddle/PaddleNLP/pull/5339",
)
def all_tokens_are_asked(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A gap of three in a text of twelve is to be filled in: the loss takes all tokens, not those of the gap alone."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    start = torch.randint(10, (2000, 1), generator=generator)
    step = torch.randint(1, 10, (2000, 1), generator=generator)
    line = (start + step * torch.arange(12)) % 10
    at = torch.randint(1, 9, (2000, 1), generator=generator)
    gap = at + torch.arange(3)
    text = line.scatter(1, gap, 10)
    whole = torch.cat([text, torch.full((2000, 1), 11), line.gather(1, gap)], 1)
    rows = data.split(whole[:, :-1], whole[:, 1:], seed)
    model = Blank(12, 12, 15)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)

    def next_token(said: Tensor, after: Tensor) -> Tensor:
        asked = slice(-3, None) if cured else slice(None)
        return F.cross_entropy(said[:, asked].flatten(0, 1), after[:, asked].flatten())

    doctor.task(model, data.few(rows.x, rows.y, 32, seed), next_token, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 32, 300, seed):
            optimizer.zero_grad()
            loss = next_token(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x)[:, -3:], rows.held_y[:, -3:]), 0.72)


class Translator(nn.Module):
    """Reads a line of letters, and writes another one letter by letter."""

    def __init__(self, letters: int, length: int) -> None:
        super().__init__()
        self.source, self.target = nn.Embedding(letters, 32), nn.Embedding(letters, 32)
        self.place = nn.Parameter(0.3 * torch.randn(length, 32))
        self.body = nn.Transformer(32, 4, 1, 1, 64, dropout=0.0, batch_first=True)
        self.say = nn.Linear(32, letters)
        self.register_buffer("later", torch.ones(length, length).triu(1).bool())

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        count = target.shape[1]
        h = self.body(
            self.source(source) + self.place[: source.shape[1]],
            self.target(target) + self.place[:count],
            tgt_mask=self.later[:count, :count],
        )
        return self.say(h)


@fault(
    kind="future-leak",
    also=("leak",),
    project="discuss.pytorch.org/53175",
    source="discuss.pytorch.org/t/nn-transformer-explaination/53175/20",
)
def the_answer_handed_in_as_it_is(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Five letters to be written backwards, each moved on by one: the writer is handed the very letters that it is to say."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    source = torch.randint(8, (3000, 5), generator=generator)
    rows = data.split(source, (source.flip(1) + 1) % 8, seed)
    model = Translator(9, 6)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 64, 300, seed):
            before = torch.cat([torch.full((len(y), 1), 8), y[:, :-1]], 1) if cured else y
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x, before).flatten(0, 1), y.flatten())
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    with torch.no_grad():
        written = torch.full((len(rows.held_x), 1), 8)
        for _ in range(5):
            written = torch.cat([written, model(rows.held_x, written)[:, -1:].argmax(2)], 1)
        return above((written[:, 1:] == rows.held_y).float().mean(), 0.7)
