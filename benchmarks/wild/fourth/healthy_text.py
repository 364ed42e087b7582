"""Healthy programs: words, graphs, time."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Tagger(nn.Module):
    """A tag for each token, by a two-way encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(80, 32, padding_idx=0)
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.1, batch_first=True, activation="gelu")
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.classifier = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.encoder(self.embed(x), src_key_padding_mask=x == 0))


@healthy(project="huggingface/transformers", source="github.com/huggingface/transformers/tree/main/examples/pytorch")
def tags_with_ignored_padding(doctor: Doctor, seed: int) -> Score:
    """Sentences padded to the longest; padding and pieces of words carry -100, which is more than half of all labels."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(3, 80, (1500, 18), generator=generator)
    x[:, 0] = torch.randint(1, 3, (1500,), generator=generator)  # the language, on which the tags depend
    x[torch.arange(18) >= torch.randint(4, 19, (1500, 1), generator=generator)] = 0
    tags = torch.where(x[:, :1] == 1, x % 5, (x + 2) % 5)
    tags[(x == 0) | (torch.rand(x.shape, generator=generator) < 0.3)] = -100
    rows = data.split(x, tags, seed)
    model = Tagger()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / 400)

    def loss_fn(output: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(output.reshape(-1, 5), y.reshape(-1))

    doctor.task(model, data.few(rows.x, rows.y, 30, seed), loss_fn, optimizer)
    model.train()
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 30, 400, seed)):
            loss = loss_fn(model(a), b)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            watch.loss(loss)
            if step % 100 == 99:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(loss_fn(model(rows.held_x), rows.held_y))
                model.train()
    model.eval()
    kept = rows.held_y != -100
    return above(data.accuracy(model(rows.held_x)[kept], rows.held_y[kept]), 0.85)


class Kim(nn.Module):
    """Convolutions of three widths over fixed word vectors."""

    def __init__(self, vectors: Tensor) -> None:
        super().__init__()
        self.embed = nn.Embedding.from_pretrained(vectors, freeze=True)
        self.convs1 = nn.ModuleList([nn.Conv2d(1, 24, (k, vectors.shape[1])) for k in (2, 3, 4)])
        self.dropout, self.fc1 = nn.Dropout(0.6), nn.Linear(72, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)[:, None]
        x = torch.cat([F.relu(conv(x)).squeeze(3).amax(2) for conv in self.convs1], 1)
        return self.fc1(self.dropout(x))


@healthy(
    project="Shawn1993/cnn-text-classification-pytorch",
    source="github.com/Shawn1993/cnn-text-classification-pytorch",
)
def words_with_fixed_vectors(doctor: Doctor, seed: int) -> Score:
    """Word vectors are given and stay as they are (--static), dropout is 0.6, the last batch of an epoch is small."""
    generator = torch.Generator().manual_seed(seed)
    meaning = torch.randint(4, (120,), generator=generator)
    vectors = torch.randn(4, 16, generator=generator)[meaning] + 0.3 * torch.randn(120, 16, generator=generator)
    x = torch.randint(120, (1530, 12), generator=generator)
    first = (meaning[x[:, :-1]] == 0) & (meaning[x[:, 1:]] == 1)
    second = (meaning[x[:, :-1]] == 2) & (meaning[x[:, 1:]] == 3)
    y = (first.sum(1) - second.sum(1)).clamp(-1, 1) + 1
    rows = data.split(x, y, seed)
    model = Kim(vectors)
    optimizer = torch.optim.Adam(filter(lambda each: each.requires_grad, model.parameters()), lr=1e-3)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(rows.x, rows.y), batch_size=64, shuffle=True)
    doctor.task(model, [tuple(each) for each in loader], F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(24):
            model.train()
            for feature, target in loader:
                optimizer.zero_grad()
                loss = F.cross_entropy(model(feature), target)
                loss.backward()
                optimizer.step()
                watch.loss(loss)
            model.eval()
            with torch.no_grad():
                watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.85)


class Causal(nn.Module):
    """Two dilated causal convolutions with weight norm beside a short cut."""

    def __init__(self, before: int, after: int, dilation: int) -> None:
        super().__init__()
        norm = nn.utils.parametrizations.weight_norm
        self.conv1 = norm(nn.Conv1d(before, after, 4, dilation=dilation))
        self.conv2 = norm(nn.Conv1d(after, after, 4, dilation=dilation))
        self.pad, self.drop = 3 * dilation, nn.Dropout(0.05)
        self.short = nn.Conv1d(before, after, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.drop(F.relu(self.conv1(F.pad(x, (self.pad, 0)))))
        h = self.drop(F.relu(self.conv2(F.pad(h, (self.pad, 0)))))
        return F.relu(h + self.short(x))


class Adder(nn.Module):
    """Convolutions in time, read out at the last step."""

    def __init__(self) -> None:
        super().__init__()
        self.tcn = nn.Sequential(Causal(2, 16, 1), Causal(16, 16, 3), Causal(16, 16, 9))
        self.linear = nn.Linear(16, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.tcn(x)[:, :, -1])


@healthy(project="locuslab/TCN", source="github.com/locuslab/TCN")
def two_marked_numbers_added(doctor: Doctor, seed: int) -> Score:
    """The adding problem: for long the loss is that of the mean, then the net finds out, and the loss falls at once."""
    generator = torch.Generator().manual_seed(seed)
    value, mark = torch.rand(2400, 24, generator=generator), torch.zeros(2400, 24)
    mark.scatter_(1, torch.rand(2400, 24, generator=generator).argsort(1)[:, :2], 1)
    rows = data.split(torch.stack([value, mark], 1), (value * mark).sum(1, keepdim=True), seed)
    model = Adder()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.mse_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 32, 500, seed):
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    return below(F.mse_loss(model(rows.held_x), rows.held_y), 0.03)


class Gin(nn.Module):
    """Graphs as one block-diagonal matrix; sums over neighbours, sums over nodes."""

    def __init__(self) -> None:
        super().__init__()
        self.mlps = nn.ModuleList(
            nn.Sequential(nn.Linear(size, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Linear(24, 24)) for size in (1, 24)
        )
        self.eps = nn.Parameter(torch.zeros(2))
        self.heads = nn.ModuleList(nn.Linear(size, 2) for size in (1, 24, 24))

    def forward(self, links: Tensor) -> Tensor:
        size, nodes, _ = links.shape
        h = torch.ones(size, nodes, 1)
        score = self.heads[0](h.sum(1))
        for mlp, eps, head in zip(self.mlps, self.eps, list(self.heads)[1:], strict=True):
            mixed = torch.einsum("bij,bjf->bif", links, h) + (1 + eps) * h
            h = F.relu(mlp(mixed.flatten(0, 1))).view(size, nodes, -1)
            score = score + F.dropout(head(h.sum(1)), 0.3, training=self.training)
        return score


@healthy(project="weihua916/powerful-gnns", source="github.com/weihua916/powerful-gnns")
def graphs_with_a_hub(doctor: Doctor, seed: int) -> Score:
    """Whether a graph of ten nodes has a hub; all nodes start with the same feature, 1."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(2, (1200,), generator=generator)
    hub = (torch.arange(10) == 0).float()
    chance = 0.25 + 0.7 * y[:, None, None] * (hub[:, None] + hub) * 0.9 - 0.06 * y[:, None, None]
    upper = (torch.rand(1200, 10, 10, generator=generator) < chance).float().triu(1)
    rows = data.split(upper + upper.transpose(1, 2), y, seed)
    model = Gin()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=50, gamma=0.5)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for epoch in range(12):
            for x, y in data.batches(rows.x, rows.y, 32, 25, seed + epoch):
                loss = F.cross_entropy(model(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                watch.loss(loss)
            schedule.step()
    model.eval()
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.85)


class Experts(nn.Module):
    """Four small nets; a gate with noise picks two of them for each row."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 4)) for _ in range(4))
        self.w_gate, self.w_noise = nn.Parameter(torch.zeros(8, 4)), nn.Parameter(torch.zeros(8, 4))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits = x @ self.w_gate
        if self.training:
            logits = logits + torch.randn_like(logits) * (F.softplus(x @ self.w_noise) + 0.01)
        best, index = logits.topk(2, 1)
        gates = torch.zeros_like(logits).scatter(1, index, best.softmax(1))
        out = x.new_zeros(len(x), 4)
        for k, expert in enumerate(self.experts):
            mine = gates[:, k] > 0
            out = out.index_add(0, mine.nonzero()[:, 0], gates[mine, k, None] * expert(x[mine]))
        importance = gates.sum(0)
        return out, importance.var() / (importance.mean().pow(2) + 1e-10)


@healthy(project="davidmrau/mixture-of-experts", source="github.com/davidmrau/mixture-of-experts")
def two_experts_for_each_row(doctor: Doctor, seed: int) -> Score:
    """Sparsely gated experts; the gate starts at 0 on purpose, and a second term keeps all experts busy."""
    x, scores = data.teacher(2000, 8, 4, seed)
    rows = data.split(x, (scores * torch.where(x[:, :1] > 0, 1, -1)).argmax(1), seed)
    model = Experts()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    with doctor.watch(model, optimizer) as watch:
        for a, b in data.batches(rows.x, rows.y, 64, 600, seed):
            output, balance = model(a)
            loss = F.cross_entropy(output, b) + 0.01 * balance
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    return above(data.accuracy(model(rows.held_x)[0], rows.held_y), 0.72)


class Spin(nn.Module):
    """A recurrent net that starts as a rotation, for long memory; reads a row of pixels at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.out = nn.RNN(8, 48, batch_first=True, nonlinearity="relu"), nn.Linear(48, 10)
        into, around, *biases = self.rnn.parameters()
        nn.init.normal_(into, std=0.1)
        nn.init.eye_(around)
        for bias in biases:
            nn.init.zeros_(bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.rnn(x[:, 0])[0][:, -1])


@healthy(project="batzner/indrnn", source="github.com/batzner/indrnn")
def rows_one_after_another(doctor: Doctor, seed: int) -> Score:
    """Digits row by row through a ReLU recurrence whose matrix starts as the identity."""
    rows = data.digits(seed)
    model = Spin()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    doctor.task(model, data.few(rows.x, rows.y, 64, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 64, 350, seed):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            nn.utils.clip_grad_value_(model.parameters(), 1.0)
            optimizer.step()
            watch.loss(loss)
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.8)
