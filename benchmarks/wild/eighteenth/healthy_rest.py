"""Healthy programs over tables, graphs, bags and sounds."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, healthy
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(project="PetarV-/DGI", source="github.com/PetarV-/DGI")
def papers_told_from_shuffled_ones(doctor: Doctor, seed: int) -> Score:
    """A graph without labels: nodes are told from those with shuffled words; the code is read by least squares."""
    generator = torch.Generator().manual_seed(seed)
    group = torch.arange(300) % 4
    words = (torch.rand(300, 60, generator=generator) < 0.03 + 0.2 * (torch.arange(60) % 4 == group[:, None])).float()
    words = words / words.sum(1, keepdim=True).clamp(min=1)
    edge = torch.rand(300, 300, generator=generator) < torch.where(group[:, None] == group, 0.08, 0.006)
    edge = (edge.triu(1) | edge.triu(1).T).float() + torch.eye(300)
    root = edge.sum(1) ** -0.5
    graph = root[:, None] * edge * root

    class Dgi(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gcn, self.prelu, self.disc = nn.Linear(60, 64, bias=False), nn.PReLU(), nn.Bilinear(64, 64, 1)
            nn.init.xavier_uniform_(self.gcn.weight)
            nn.init.xavier_uniform_(self.disc.weight)

        def code(self, seen: Tensor) -> Tensor:
            return self.prelu(graph @ self.gcn(seen))

        def forward(self, seen: Tensor, shuffled: Tensor) -> Tensor:
            true, false = self.code(seen), self.code(shuffled)
            whole = true.mean(0).sigmoid().expand_as(true)
            return torch.cat([self.disc(true, whole), self.disc(false, whole)])[:, 0]

    model = Dgi()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    labels = torch.cat([torch.ones(300), torch.zeros(300)])
    with doctor.watch(model, optimizer) as watch:
        for _ in range(100):
            said = model(words, words[torch.randperm(300, generator=generator)])
            loss = F.binary_cross_entropy_with_logits(said, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        code = model.code(words)
    code = (code - code.mean(0)) / (code.std(0) + 1e-6)
    train = torch.rand(300, generator=generator) < 0.5
    gram = code[train].T @ code[train] + 20 * torch.eye(64)
    weights = torch.linalg.solve(gram, code[train].T @ (F.one_hot(group[train], 4).float() - 0.25))
    return above(data.accuracy(code[~train] @ weights, group[~train]), 0.75)


@healthy(project="lucidrains/tab-transformer-pytorch", source="github.com/lucidrains/tab-transformer-pytorch")
def columns_that_look_at_each_other(doctor: Doctor, seed: int) -> Score:
    """Incomes from five columns of kinds, which attend to each other, and three of numbers, which are normed."""
    generator = torch.Generator().manual_seed(seed)
    kinds = torch.randint(6, (2400, 5), generator=generator)
    numbers = torch.randn(2400, 3, generator=generator) * torch.tensor([1.0, 5.0, 0.2]) + torch.tensor([0.0, 40.0, 1.0])
    worth = torch.randn(5, 6, generator=generator)
    wish = worth[torch.arange(5), kinds].sum(1) + numbers[:, 0] + (numbers[:, 1] - 40) / 5
    rich = (wish + 0.3 * torch.randn(2400, generator=generator) > 0).float()[:, None]
    rows = data.split(torch.cat([kinds.float(), numbers], 1), rich, seed)

    class Tab(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.norm = nn.Embedding(30, 16), nn.LayerNorm(3)
            self.body = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, activation="gelu", batch_first=True, norm_first=True)
            self.mlp = nn.Sequential(nn.Linear(83, 64), nn.ReLU(), nn.Linear(64, 1))

        def forward(self, seen: Tensor) -> Tensor:
            places = self.body(self.embed(seen[:, :5].long() + 6 * torch.arange(5))).flatten(1)
            scaled = (seen[:, 5:] - torch.tensor([0.0, 40.0, 1.0])) / torch.tensor([1.0, 5.0, 0.2])
            return self.mlp(torch.cat([places, self.norm(scaled)], 1))

    model = Tab()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    loss_fn = F.binary_cross_entropy_with_logits
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 32, 280, seed), rows)
    with torch.no_grad():
        return above(((model(rows.held_x) > 0) == (rows.held_y > 0.5)).float().mean(), 0.72)


@healthy(project="shenweichen/DeepCTR-Torch", source="github.com/shenweichen/DeepCTR-Torch")
def clicks_by_pairs_and_by_depth(doctor: Doctor, seed: int) -> Score:
    """Clicks from four kinds: what each is worth, what pairs are worth, and a deep net over the same embeddings."""
    generator = torch.Generator().manual_seed(seed)
    taste = torch.randn(4, 25, 4, generator=generator)
    kinds = torch.randint(25, (5000, 4), generator=generator)
    each = taste[torch.arange(4), kinds]
    wish = (each[:, 0] * each[:, 1]).sum(1) + (each[:, 2] * each[:, 3]).sum(1) + each[:, 0, 0]
    click = (torch.rand(5000, generator=generator) < torch.sigmoid(1.5 * wish)).float()[:, None]
    rows = data.split(kinds, click, seed, held=0.2)

    class DeepFm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.embed = nn.Embedding(100, 1), nn.Embedding(100, 8)
            for each in (self.linear, self.embed):
                nn.init.normal_(each.weight, std=1e-2)
            self.dnn = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 1, bias=False))
            self.bias = nn.Parameter(torch.zeros(1))

        def forward(self, seen: Tensor) -> Tensor:
            place = seen + 25 * torch.arange(4)
            v = self.embed(place)
            pairs = 0.5 * (v.sum(1).pow(2) - v.pow(2).sum(1)).sum(1, keepdim=True)
            return (self.linear(place).sum(1) + pairs + self.dnn(v.flatten(1)) + self.bias).sigmoid()

    model = DeepFm()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    doctor.task(model, data.few(rows.x, rows.y, 128, seed), F.binary_cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.binary_cross_entropy, data.batches(rows.x, rows.y, 128, 180, seed), rows, every=31)
    with torch.no_grad():
        said, yes = model(rows.held_x), rows.held_y > 0.5
    return above((said[yes][:, None] > said[~yes]).float().mean(), 0.75)


@healthy(project="AMLab-Amsterdam/AttentionDeepMIL", source="github.com/AMLab-Amsterdam/AttentionDeepMIL")
def bags_with_a_nine_in_them(doctor: Doctor, seed: int) -> Score:
    """Bags of digits, one at a time: whether a nine is among them, by a weighted mean with learned weights."""
    rows = data.digits(seed)
    generator = torch.Generator().manual_seed(seed)

    def bag(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        size, wanted = int(torch.randint(5, 10, (1,), generator=generator)), bool(torch.rand(1, generator=generator) < 0.5)
        pool = (y != 9).nonzero()[:, 0]
        pick = pool[torch.randint(len(pool), (size,), generator=generator)]
        if wanted:
            nines = (y == 9).nonzero()[:, 0]
            pick[0] = nines[torch.randint(len(nines), (1,), generator=generator)]
        return x[pick], torch.tensor([float(wanted)])

    class Mil(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Sequential(
                nn.Conv2d(1, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(144, 48), nn.ReLU()
            )
            self.attention = nn.Sequential(nn.Linear(48, 32), nn.Tanh(), nn.Linear(32, 1))
            self.classifier = nn.Sequential(nn.Linear(48, 1), nn.Sigmoid())

        def forward(self, pictures: Tensor) -> Tensor:
            h = self.features(pictures)
            return self.classifier((self.attention(h).softmax(0) * h).sum(0))

    model = Mil()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, betas=(0.9, 0.999), weight_decay=1e-4)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(800):
            pictures, label = bag(rows.x, rows.y)
            chance = model(pictures).clamp(1e-5, 1 - 1e-5)
            loss = F.binary_cross_entropy(chance, label)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        tried = [bag(rows.held_x, rows.held_y) for _ in range(200)]
        return above(sum(bool((model(x) > 0.5) == (y > 0.5)) for x, y in tried) / 200, 0.75)


@healthy(project="qiuqiangkong/audioset_tagging_cnn", source="github.com/qiuqiangkong/audioset_tagging_cnn")
def sounds_mixed_in_pairs(doctor: Doctor, seed: int) -> Score:
    """Which of five tones are in a sound: loudness by pitch and time, normed by pitch, two mixed, some cut out."""
    generator = torch.Generator().manual_seed(seed)
    there = (torch.rand(700, 5, generator=generator) < 0.3).float()
    time = torch.arange(512) / 512
    pitch = torch.tensor([20.0, 45.0, 70.0, 100.0, 130.0])
    wave = torch.sin(6.28 * (pitch * (1 + 0.05 * torch.randn(700, 5, 1, generator=generator).squeeze(2)))[..., None] * time)
    begin = torch.rand(700, 5, 1, generator=generator) * 0.5
    wave = wave * ((time > begin) & (time < begin + 0.4))
    sound = (there[..., None] * wave).sum(1) + 0.3 * torch.randn(700, 512, generator=generator)
    loud = torch.stft(sound, 64, 32, window=torch.hann_window(64), return_complex=True).abs().pow(2)
    rows = data.split((loud + 1e-6).log()[:, None], there, seed)

    class Cnn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bn0 = nn.BatchNorm2d(33)
            self.block = nn.Sequential(
                nn.Conv2d(1, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12), nn.ReLU(), nn.AvgPool2d(2),
                nn.Conv2d(12, 24, 3, padding=1, bias=False), nn.BatchNorm2d(24), nn.ReLU(),
            )  # fmt: skip
            self.fc = nn.Linear(24 * 16, 5)

        def forward(self, seen: Tensor) -> Tensor:
            h = self.block(self.bn0(seen.transpose(1, 2)).transpose(1, 2))
            return self.fc((h.amax(3) + h.mean(3)).flatten(1)).sigmoid()

    model = Cnn()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, amsgrad=True)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 32, 130, seed)):
            model.train()
            share = torch.distributions.Beta(1.0, 1.0).sample((16,))
            x = a.clone()
            cut = int(torch.randint(14, (1,), generator=generator))
            x[..., cut : cut + 2] = 0
            x = share[:, None, None, None] * x[:16] + (1 - share[:, None, None, None]) * x[16:]
            loss = F.binary_cross_entropy(model(x), share[:, None] * b[:16] + (1 - share[:, None]) * b[16:])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 32 == 31:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.binary_cross_entropy(model(rows.held_x), rows.held_y))
    model.eval()
    with torch.no_grad():
        said, yes = model(rows.held_x), rows.held_y > 0.5
    return above((said[yes][:, None] > said[~yes]).float().mean(), 0.85)
