"""Healthy programs: words, decisions, graphs, tastes."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Bag(nn.Module):
    """Mean of the vectors of words and of pairs of words, and one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.bag, self.fc = nn.EmbeddingBag(2000, 10, sparse=True), nn.Linear(10, 5)
        nn.init.uniform_(self.bag.weight, -0.1, 0.1)
        nn.init.zeros_(self.fc.weight)

    def forward(self, x: Tensor) -> Tensor:
        pairs = (x[:, :-1] * 31 + x[:, 1:] * 7) % 1700 + 300
        return self.fc(self.bag(torch.cat([x, pairs], 1)))


@healthy(project="facebookresearch/fastText", source="github.com/facebookresearch/fastText")
def topics_by_a_bag_of_pairs(doctor: Doctor, seed: int) -> Score:
    """Sparse gradients, SparseAdam for the table and SGD for the head, which starts at zero on purpose."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(5, (1800,), generator=generator)
    x = torch.randint(300, (1800, 14), generator=generator)
    hint = torch.rand(1800, 14, generator=generator) < 0.3
    rows = data.split(torch.where(hint, y[:, None] * 60 + torch.randint(60, (1800, 14), generator=generator), x), y, seed)
    model = Bag()
    optimizers = [
        torch.optim.SparseAdam(model.bag.parameters(), lr=5e-3),
        torch.optim.SGD(model.fc.parameters(), lr=0.5),
    ]
    with doctor.watch(model, optimizers) as watch:
        for a, b in data.batches(rows.x, rows.y, 32, 400, seed):
            loss = F.cross_entropy(model(a), b)
            for optimizer in optimizers:
                optimizer.zero_grad()
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
            watch.loss(loss)
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.7)


class Tagger(nn.Module):
    """A small transformer over sixteen words, and a head for one question about them."""

    def __init__(self, answers: int) -> None:
        super().__init__()
        self.words, self.place = nn.Embedding(60, 32), nn.Embedding(16, 32)
        self.layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        self.classifier = nn.Linear(32, answers)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.layer(self.words(x) + self.place.weight).mean(1))


@healthy(project="benzakenelad/BitFit", source="github.com/benzakenelad/BitFit")
def only_the_biases(doctor: Doctor, seed: int) -> Score:
    """A trained encoder goes on to a new question with its matrices frozen: biases and a new head learn, at a high rate."""
    generator = torch.Generator().manual_seed(seed)
    kind = torch.randint(6, (60,), generator=generator)
    x = torch.randint(60, (1600, 16), generator=generator)
    counts = F.one_hot(kind[x], 6).sum(1)
    rows = data.split(x, counts.argmax(1), seed)
    model = Tagger(6)
    before = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for a, b in data.batches(rows.x, rows.y, 48, 300, seed):
        before.zero_grad()
        F.cross_entropy(model(a), b).backward()
        before.step()
    rows = data.split(x, (counts[:, :3].sum(1) > counts[:, 3:].sum(1)).long(), seed)
    model.classifier = nn.Linear(32, 2)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(requires_grad="bias" in name or "classifier" in name)
    model.zero_grad()
    optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=1e-2)
    with doctor.watch(model, optimizer) as watch:
        for a, b in data.batches(rows.x, rows.y, 32, 350, seed + 1):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(a), b)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.74)


class Awd(nn.Module):
    """Two LSTMs with dropout, whose output is read with the table of the input."""

    def __init__(self, letters: int) -> None:
        super().__init__()
        self.encoder = nn.Embedding(letters, 48)
        self.rnn = nn.LSTM(48, 96, batch_first=True)
        self.rnn2 = nn.LSTM(96, 48, batch_first=True)
        self.decoder = nn.Linear(48, letters)
        self.decoder.weight = self.encoder.weight
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)

    def forward(self, x: Tensor) -> Tensor:
        h = F.dropout(self.rnn(self.encoder(x))[0], 0.1, self.training)
        return self.decoder(self.rnn2(h)[0]).transpose(1, 2)


@healthy(project="salesforce/awd-lstm-lm", source="github.com/salesforce/awd-lstm-lm")
def tied_lstm_averaged_at_the_end(doctor: Doctor, seed: int) -> Score:
    """Plain SGD at a rate of 8 with clipping at 0.25, tied tables, and an average of the weights over the last steps."""
    stream, letters = data.characters(700, seed)
    model = Awd(letters)
    averaged = torch.optim.swa_utils.AveragedModel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=8.0, weight_decay=1.2e-6)
    held = torch.cat([x for x, _ in data.windows(data.characters(60, seed + 1)[0], 25, 30, 3, seed)])
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.windows(stream, 24, 20, 400, seed)):
            model.train()
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.25)
            optimizer.step()
            watch.loss(loss)
            if step >= 300:
                averaged.update_parameters(model)
            if step % 100 == 99:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(held[:, :-1]), held[:, 1:]))
    averaged.eval()
    return below(F.cross_entropy(averaged(held[:, :-1]), held[:, 1:]), 1.3)


class Decisions(nn.Module):
    """Wanted return, place and last action of each step; a causal transformer says the action."""

    def __init__(self) -> None:
        super().__init__()
        self.inputs, self.time = nn.Linear(4, 32), nn.Embedding(10, 32)
        self.layer = nn.TransformerEncoderLayer(32, 2, 64, dropout=0.0, batch_first=True)
        self.predict_action = nn.Linear(32, 1)
        self.register_buffer("future", torch.triu(torch.ones(10, 10, dtype=torch.bool), 1))

    def forward(self, x: Tensor) -> Tensor:
        length = x.shape[1]
        h = self.inputs(x) + self.time.weight[:length]
        return torch.tanh(self.predict_action(self.layer(h, src_mask=self.get_buffer("future")[:length, :length])))[..., 0]


@healthy(project="kzl/decision-transformer", source="github.com/kzl/decision-transformer")
def actions_for_a_wanted_return(doctor: Doctor, seed: int) -> Score:
    """Walks of good and bad players, learned as sequences with their returns; asked for a high return, it plays well."""
    generator = torch.Generator().manual_seed(seed)
    skill = torch.rand(1200, 1, generator=generator)
    place, last = 2 * torch.randn(1200, 1, generator=generator), torch.zeros(1200, 1)
    places, actions, rewards, lasts = [], [], [], []
    for _ in range(10):
        good = torch.tanh(-1.5 * place)
        action = (skill * good + (1 - skill) * (2 * torch.rand(1200, 1, generator=generator) - 1)).clamp(-0.999, 0.999)
        places.append(place)
        lasts.append(last)
        place, last = place + action, action
        actions.append(action)
        rewards.append(-place.abs())
    to_go = torch.stack(rewards).flip(0).cumsum(0).flip(0)[..., 0].T / 10
    x = torch.stack([to_go, torch.cat(places, 1), torch.cat(lasts, 1), torch.ones(1200, 10)], 2)
    rows = data.split(x, torch.cat(actions, 1), seed)
    model = Decisions()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-4)
    warm = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min((step + 1) / 50, 1))
    doctor.task(model, data.few(rows.x, rows.y, 48, seed), F.mse_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for a, b in data.batches(rows.x, rows.y, 48, 400, seed):
            loss = F.mse_loss(model(a), b)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.25)
            optimizer.step()
            warm.step()
            watch.loss(loss)
    model.eval()
    place, wanted = 2 * torch.randn(300, generator=generator), torch.full((300,), -0.3)
    seen, total, action = [], torch.zeros(300), torch.zeros(300)
    with torch.no_grad():
        for _ in range(10):
            seen.append(torch.stack([wanted, place, action, torch.ones(300)], 1))
            action = model(torch.stack(seen, 1))[:, -1]
            place = place + action
            total, wanted = total - place.abs(), wanted + place.abs() / 10
    return above(total.mean() / 10, -0.4)


class Gat(nn.Module):
    """Two layers of graph attention."""

    def __init__(self, adjacent: Tensor) -> None:
        super().__init__()
        self.w1, self.a1 = nn.Linear(12, 32, bias=False), nn.Linear(16, 1, bias=False)
        self.w2, self.a2 = nn.Linear(32, 4, bias=False), nn.Linear(8, 1, bias=False)
        self.register_buffer("adjacent", adjacent)

    def attend(self, h: Tensor, a: nn.Linear) -> Tensor:
        half = a.weight[0].chunk(2)
        scores = F.leaky_relu((h @ half[0])[:, None] + (h @ half[1])[None], 0.2)
        scores = scores.masked_fill(~self.get_buffer("adjacent"), float("-inf"))
        return F.dropout(scores.softmax(1), 0.3, self.training) @ h

    def forward(self, x: Tensor) -> Tensor:
        h = self.w1(F.dropout(x, 0.3, self.training))
        h = torch.cat([F.elu(self.attend(part, self.a1)) for part in h.chunk(4, 1)], 1)
        return self.attend(self.w2(F.dropout(h, 0.3, self.training)), self.a2)


@healthy(project="Diego999/pyGAT", source="github.com/Diego999/pyGAT")
def forty_labels_in_a_graph(doctor: Doctor, seed: int) -> Score:
    """All nodes go through the net in every step, ten labels a class count; strong dropout and decay."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(240) % 4
    chance = torch.where(y[:, None] == y, 0.08, 0.01)
    adjacent = torch.rand(240, 240, generator=generator) < chance
    adjacent = adjacent | adjacent.T | torch.eye(240, dtype=torch.bool)
    x = 0.6 * torch.randn(4, 12, generator=generator)[y] + torch.randn(240, 12, generator=generator)
    model = Gat(adjacent)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3, weight_decay=5e-4)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(200):
            model.train()
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x)[:40], y[:40])
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            model.eval()
            with torch.no_grad():
                watch.dev_loss(F.cross_entropy(model(x)[40:120], y[40:120]))
    return above(data.accuracy(model(x)[120:], y[120:]), 0.8)


class Neural(nn.Module):
    """Neural collaborative filtering: a product of factors and a net on others, joined by one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.user_gmf, self.item_gmf = nn.Embedding(150, 8), nn.Embedding(50, 8)
        self.user_mlp, self.item_mlp = nn.Embedding(150, 16), nn.Embedding(50, 16)
        self.mlp = nn.Sequential(nn.Linear(32, 24), nn.ReLU(), nn.Linear(24, 8), nn.ReLU())
        self.predict = nn.Linear(16, 1)
        for table in (self.user_gmf, self.item_gmf, self.user_mlp, self.item_mlp):
            nn.init.normal_(table.weight, std=0.01)

    def forward(self, pair: Tensor) -> Tensor:
        user, item = pair[:, 0], pair[:, 1]
        deep = self.mlp(torch.cat([self.user_mlp(user), self.item_mlp(item)], 1))
        return self.predict(torch.cat([self.user_gmf(user) * self.item_gmf(item), deep], 1))[:, 0]


@healthy(project="guoyang9/NCF", source="github.com/guoyang9/NCF")
def clicks_against_four_others(doctor: Doctor, seed: int) -> Score:
    """Each click comes with four items drawn anew that were not clicked; tables start at 0.01, and the loss rests at first."""
    generator = torch.Generator().manual_seed(seed)
    taste = torch.randn(150, 2, generator=generator) @ torch.randn(2, 50, generator=generator)
    clicked = taste > 0.9 + 0.3 * torch.randn(150, 50, generator=generator)
    pairs = clicked.nonzero()
    pairs = pairs[torch.randperm(len(pairs), generator=generator)]
    held, pairs = pairs[:300], pairs[300:]
    model = Neural()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    with doctor.watch(model, optimizer) as watch:
        for good, _ in data.batches(pairs, pairs, 64, 500, seed):
            users = good[:, 0].repeat(5)
            items = torch.cat([good[:, 1], torch.randint(50, (256,), generator=generator)])
            label = (torch.arange(320) < 64).float()
            loss = F.binary_cross_entropy_with_logits(model(torch.stack([users, items], 1)), label)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        against = torch.stack([held[:, 0], torch.multinomial((~clicked[held[:, 0]]).float(), 1, generator=generator)[:, 0]], 1)
        return above((model(held) > model(against)).float().mean(), 0.8)
