"""Healthy programs over time and text: sums written out, odd days, many topics, an answer between two words."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, healthy
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(project="keras-team/keras-addition-rnn", source="keras.io/examples/nlp/addition_rnn")
def sums_written_out(doctor: Doctor, seed: int) -> Score:
    """Two numbers below 40 as figures, read backwards by an LSTM; another one writes the figures of their sum."""
    generator = torch.Generator().manual_seed(seed)
    pair = torch.cartesian_prod(torch.arange(40), torch.arange(40))
    pair = pair[torch.randperm(1600, generator=generator)]
    total = pair.sum(1)
    plus = torch.full((1600,), 10)
    asked = torch.stack([pair[:, 1] % 10, pair[:, 1] // 10, plus, pair[:, 0] % 10, pair[:, 0] // 10], 1)
    x, y = F.one_hot(asked, 11).float(), torch.stack([total // 10, total % 10], 1)
    rows = data.split(x, y, seed, held=0.1)

    class Adder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.read, self.write = nn.LSTM(11, 96, batch_first=True), nn.LSTM(96, 96, batch_first=True)
            self.out = nn.Linear(96, 10)

        def forward(self, seen: Tensor) -> Tensor:
            known = self.read(seen)[0][:, -1:]
            return self.out(self.write(known.expand(-1, 2, -1))[0]).transpose(1, 2)

    model = Adder()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    doctor.task(model, data.few(rows.x, rows.y, 64, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 64, 1000, seed), rows, every=100)
    with torch.no_grad():
        return above((model(rows.held_x).argmax(1) == rows.held_y).float().mean(), 0.85)


@healthy(
    project="keras-team/keras-anomaly-detection",
    source="keras.io/examples/timeseries/timeseries_anomaly_detection",
)
def odd_days_by_what_cannot_be_told_again(doctor: Doctor, seed: int) -> Score:
    """Windows of a usual series through a narrow middle of filters over time; what comes back badly is odd."""
    generator = torch.Generator().manual_seed(seed)

    def windows(count: int) -> Tensor:
        phase = 6.28 * torch.rand(count, 1, generator=generator)
        time = torch.arange(32) * 6.28 / 16 + phase
        return (torch.sin(time) + 0.4 * torch.sin(2 * time) + 0.1 * torch.randn(count, 32, generator=generator))[:, None]

    x, held = windows(1200), windows(300)
    odd = held.clone()
    odd[:, :, 12:18] += 1.0
    rows = data.Split(x, x, held, held)
    model = nn.Sequential(
        nn.Conv1d(1, 32, 7, stride=2, padding=3),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Conv1d(32, 16, 7, stride=2, padding=3),
        nn.ReLU(),
        nn.ConvTranspose1d(16, 16, 8, stride=2, padding=3),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.ConvTranspose1d(16, 32, 8, stride=2, padding=3),
        nn.ReLU(),
        nn.ConvTranspose1d(32, 1, 7, padding=3),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    doctor.task(model, data.few(rows.x, rows.y, 64, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 64, 400, seed), rows)
    with torch.no_grad():
        usual, unusual = ((model(each) - each).abs().mean((1, 2)) for each in (held, odd))
    return above((unusual[:, None] > usual).float().mean(), 0.85)


@healthy(
    project="keras-team/keras-multi-label",
    source="keras.io/examples/nlp/multi_label_classification",
)
def many_topics_at_once(doctor: Doctor, seed: int) -> Score:
    """Texts as bags of words, each with some of twelve topics, most of them rare: each topic is a yes or no of its own."""
    generator = torch.Generator().manual_seed(seed)
    common = torch.linspace(0.4, 0.05, 12)
    topics = (torch.rand(1600, 12, generator=generator) < common).float()
    words = (torch.rand(12, 150, generator=generator) < 0.1).float()
    bag = (torch.rand(1600, 150, generator=generator) < 0.03 + 0.5 * (topics @ words).clamp(max=1)).float()
    rows = data.split(bag, topics, seed)
    model = nn.Sequential(nn.Linear(150, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 12))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loss_fn = F.binary_cross_entropy_with_logits
    doctor.task(model, data.few(rows.x, rows.y, 64, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 64, 240, seed), rows, every=18)
    with torch.no_grad():
        said, true = model(rows.held_x) > 0, rows.held_y > 0.5
    return above(2 * (said & true).sum() / (said.sum() + true.sum()), 0.7)


@healthy(project="galsang/BiDAF-pytorch", source="github.com/galsang/BiDAF-pytorch")
def an_answer_between_two_words(doctor: Doctor, seed: int) -> Score:
    """Where in a text the answer to a question begins and ends: text and question look at each other, Adadelta at a half."""
    generator = torch.Generator().manual_seed(seed)

    def texts(count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Words (N, 14), questions (N, 2), first and last word (N, 2): what follows the second word asked for, up to a stop."""
        text = torch.randint(4, 20, (count, 14), generator=generator)
        ask = torch.randint(20, 30, (count, 1), generator=generator)
        at, size = torch.randint(0, 10, (count, 1), generator=generator), torch.randint(1, 4, (count, 1), generator=generator)
        text = text.scatter(1, at, ask)
        text = text.scatter(1, at + size, 2)
        return text, torch.cat([torch.ones_like(ask), ask], 1), torch.cat([at + 1, at + size], 1)

    class Bidaf(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.read = nn.Embedding(30, 32), nn.GRU(32, 32, batch_first=True, bidirectional=True)
            self.like = nn.Linear(192, 1)
            self.model, self.point = nn.GRU(256, 32, batch_first=True, bidirectional=True), nn.Linear(64, 2)
            self.drop = nn.Dropout(0.1)

        def forward(self, text: Tensor, ask: Tensor) -> Tensor:
            c, q = self.read(self.drop(self.embed(text)))[0], self.read(self.drop(self.embed(ask)))[0]
            cc, qq = c[:, :, None].expand(-1, -1, q.shape[1], -1), q[:, None].expand(-1, c.shape[1], -1, -1)
            like = self.like(torch.cat([cc, qq, cc * qq], 3))[..., 0]
            asked = like.softmax(2) @ q
            told = (like.amax(2).softmax(1)[:, None] @ c).expand_as(c)
            return self.point(self.model(torch.cat([c, asked, c * asked, c * told], 2))[0]).transpose(1, 2)

    model = Bidaf()
    optimizer = torch.optim.Adadelta(model.parameters(), lr=0.5)
    with doctor.watch(model, optimizer) as watch:
        for step in range(400):
            text, ask, where = texts(48)
            said = model(text, ask)
            loss = F.cross_entropy(said[:, 0], where[:, 0]) + F.cross_entropy(said[:, 1], where[:, 1])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 50 == 49:
                model.eval()
                text, ask, where = texts(100)
                with torch.no_grad():
                    said = model(text, ask)
                    watch.dev_loss(F.cross_entropy(said[:, 0], where[:, 0]) + F.cross_entropy(said[:, 1], where[:, 1]))
                model.train()
    model.eval()
    text, ask, where = texts(400)
    with torch.no_grad():
        return above((model(text, ask).argmax(2) == where).all(1).float().mean(), 0.85)
