"""Healthy programs over facts, molecules, many series at once, and a large net tuned by a few numbers."""

from __future__ import annotations

import math

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(project="DeepGraphLearning/KnowledgeGraphEmbedding", source="github.com/DeepGraphLearning/KnowledgeGraphEmbedding")
def facts_as_turns(doctor: Doctor, seed: int) -> Score:
    """Who is what to whom, on a ring of sixty: relations turn complex numbers; wrong facts weigh by how likely they seem."""
    generator = torch.Generator().manual_seed(seed)
    names, steps = torch.randperm(60, generator=generator), torch.tensor([1, -1, 5, 12, 30])
    head, relation = (each.flatten() for each in torch.meshgrid(torch.arange(60), torch.arange(5), indexing="ij"))
    facts = torch.stack([names[head], relation, names[(head + steps[relation]) % 60]], 1)
    facts = facts[torch.randperm(300, generator=generator)]
    train, held = facts[:240], facts[240:]

    class RotatE(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.entity = nn.Parameter(torch.empty(60, 32).uniform_(-0.5, 0.5))
            self.relation = nn.Parameter(torch.empty(5, 16).uniform_(-math.pi, math.pi))

        def forward(self, head: Tensor, relation: Tensor, tail: Tensor) -> Tensor:
            """How likely facts are, from ids (N, K)."""
            start, end = (torch.view_as_complex(self.entity[each].unflatten(-1, (16, 2))) for each in (head, tail))
            angle = self.relation[relation]
            return 6.0 - (start * torch.polar(torch.ones_like(angle), angle) - end).abs().sum(-1)

    model = RotatE()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [350], gamma=0.1)
    with doctor.watch(model, optimizer) as watch:
        for step in range(450):
            head, relation, tail = train[torch.randint(240, (48,), generator=generator)].T[..., None]
            wrong = torch.randint(60, (48, 24), generator=generator)
            false = model(head, relation, wrong) if step % 2 else model(wrong, relation, tail)
            weight = false.detach().softmax(1)
            loss = -F.logsigmoid(model(head, relation, tail)).mean() - (weight * F.logsigmoid(-false)).sum(1).mean()
            optimizer.zero_grad()
            (loss / 2).backward()
            optimizer.step()
            schedule.step()
            watch.loss(loss / 2)
    with torch.no_grad():
        said = model(held[:, :1], held[:, 1:2], torch.arange(60)[None].expand(60, 60))
    return above((said.topk(3)[1] == held[:, 2:]).any(1).float().mean(), 0.7)


@healthy(project="snap-stanford/ogb", source="github.com/snap-stanford/ogb")
def rings_and_chains_told_apart(doctor: Doctor, seed: int) -> Score:
    """Small graphs of atoms, of which some hold a ring of three: sums over neighbours, one node that hears all, and norms."""
    generator = torch.Generator().manual_seed(seed)
    count, atoms = 900, 9
    kind = torch.randint(4, (count, atoms), generator=generator)
    bonds = torch.zeros(count, atoms, atoms)
    each, at = torch.arange(count), torch.arange(1, atoms)
    before = (torch.rand(count, atoms - 1, generator=generator) * at).long()
    bonds[each[:, None], at, before] = 1
    bonds = bonds + bonds.transpose(1, 2)
    two = bonds @ bonds * (1 - torch.eye(atoms))
    far = (two @ bonds > 0).float() * (bonds == 0) * (1 - torch.eye(atoms)) * (two == 0)
    ring = torch.rand(count, generator=generator) < 0.5
    pick = torch.where(ring[:, None], two.flatten(1), far.flatten(1))
    fits = pick.sum(1) > 0
    joined = torch.multinomial(pick + 1e-9, 1, generator=generator)[:, 0]
    bonds[each, joined // atoms, joined % atoms] = bonds[each, joined % atoms, joined // atoms] = 1.0
    rows = data.split(torch.cat([bonds, F.one_hot(kind, 4).float()], 2)[fits], ring[fits].float(), seed)

    class Gin(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter = nn.Linear(4 + 1, 32)
            self.layers = nn.ModuleList(
                nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 32)) for _ in range(3)
            )
            self.all = nn.ModuleList(nn.Sequential(nn.Linear(32, 32), nn.ReLU()) for _ in range(3))
            self.head = nn.Linear(32, 1)

        def forward(self, graph: Tensor) -> Tensor:
            bonds, kind = graph[..., :9], graph[..., 9:]
            wedge = (bonds @ bonds * bonds).sum(2, keepdim=True)
            h = self.enter(torch.cat([kind, wedge], 2))
            for layer, hears in zip(self.layers, self.all, strict=True):
                heard = torch.cat([h, bonds @ h], 2)
                h = (h + layer(heard.flatten(0, 1)).unflatten(0, h.shape[:2])).relu()
                h = h + hears(h.mean(1, keepdim=True))
            return self.head(h.mean(1))[:, 0]

    model = Gin()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    loss_fn = F.binary_cross_entropy_with_logits
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 32, 200, seed), rows, every=20)
    with torch.no_grad():
        return above(((model(rows.held_x) > 0) == (rows.held_y > 0.5)).float().mean(), 0.85)


@healthy(project="thuml/iTransformer", source="github.com/thuml/iTransformer")
def six_series_that_look_at_each_other(doctor: Doctor, seed: int) -> Score:
    """Six series at once, each a token of its last 36 values, which attend to each other; the next 6 come back in their scale."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(1500.0)
    source = torch.stack([torch.sin(time * w + p) for w, p in ((0.35, 0.0), (0.62, 1.0), (0.12, 2.0))], 1)
    mix = torch.randn(3, 6, generator=generator)
    series = source @ mix * torch.tensor([1.0, 5, 20, 0.3, 2, 8]) + torch.tensor([10.0, -30, 200, 1, 0, 50])
    series = series + 0.1 * series.std(0) * torch.randn(1500, 6, generator=generator)
    windows = ((series - series[:1000].mean(0)) / series[:1000].std(0)).unfold(0, 42, 1)
    rows = data.Split(windows[:950, :, :36], windows[:950, :, 36:], windows[1050:, :, :36], windows[1050:, :, 36:])

    class Inverted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = nn.Linear(36, 48), nn.Linear(48, 6)
            layer = nn.TransformerEncoderLayer(48, 4, 96, dropout=0.1, activation="gelu", batch_first=True)
            self.body = nn.TransformerEncoder(layer, 2)

        def forward(self, seen: Tensor) -> Tensor:
            mean, std = seen.mean(2, keepdim=True), seen.std(2, keepdim=True) + 1e-5
            return self.head(self.body(self.embed((seen - mean) / std))) * std + mean

    model = Inverted()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    doctor.task(model, data.few(rows.x, rows.y, 24, seed), F.mse_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 24, 195, seed)):
            model.train()
            loss = F.mse_loss(model(a), b)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 39 == 38:
                for group in optimizer.param_groups:
                    group["lr"] *= 0.6
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.mse_loss(model(rows.held_x), rows.held_y))
    model.eval()
    with torch.no_grad():
        return below(F.mse_loss(model(rows.held_x), rows.held_y) / rows.held_y.var(), 0.3)


class Reader(nn.Module):
    """Attention over sentences; weights after each layer scale what is held still."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.words, self.place = nn.Embedding(words, 32), nn.Embedding(12, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.lm = nn.Linear(32, words)
        self.scales: nn.ParameterList | None = None

    def forward(self, read: Tensor) -> Tensor:
        h = self.words(read) + self.place.weight[: read.shape[1]]
        for k, layer in enumerate(self.body.layers):
            h = layer(h)
            if self.scales is not None:
                h = h * self.scales[k]
        return h


@healthy(project="huggingface/peft", source="github.com/huggingface/peft")
def a_reader_scaled_for_another_task(doctor: Doctor, seed: int) -> Score:
    """A net that filled in words is held still; a few scales and a new head learn whether a line is about beasts or things."""
    generator = torch.Generator().manual_seed(seed)
    words = sorted({*data.text(400, seed).replace(".", "").split()})
    lines = [line.split() for line in data.text(1200, seed).split(".") if len(line.split()) >= 9]
    read = torch.tensor([[words.index(each) + 1 for each in line[:9]] for line in lines])
    beasts = torch.tensor([words.index(each) + 1 for each in ("cat", "dog", "bird", "child", "king") if each in words])
    y = torch.isin(read[:, 2], beasts).long()
    model = Reader(len(words) + 1)
    first = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(150):
        pick = torch.randint(len(read), (32,), generator=generator)
        hidden = torch.rand(32, 9, generator=generator) < 0.2
        said = model.lm(model(read[pick].masked_fill(hidden, 0)))
        first.zero_grad()
        F.cross_entropy(said[hidden], read[pick][hidden]).backward()
        first.step()
    model.requires_grad_(requires_grad=False)
    model.scales = nn.ParameterList(torch.ones(32) for _ in range(2))
    whole = nn.ModuleDict({"base": model, "head": nn.Linear(288, 2)})
    trained = [each for each in whole.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2)
    rows = data.split(read, y, seed)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, 220)
    with doctor.watch(whole, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 32, 220, seed)):
            loss = F.cross_entropy(whole["head"](model(a).flatten(1)), b)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            watch.loss(loss)
            if step % 40 == 39:
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(whole["head"](model(rows.held_x).flatten(1)), rows.held_y))
    with torch.no_grad():
        return above(data.accuracy(whole["head"](model(rows.held_x).flatten(1)), rows.held_y), 0.8)
