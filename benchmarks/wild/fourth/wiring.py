"""Faults of wiring: what is held and trained, and in which mode."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Bend(nn.Module):
    """One residual step of a field."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up, self.back = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.back(torch.sin(3 * self.up(x)))


class Field(nn.Module):
    """A value at a place: place, four residual steps, value."""

    def __init__(self, cured: bool) -> None:
        super().__init__()
        self.coord = nn.Linear(2, 12)
        bends = [Bend(12) for _ in range(4)]
        self.mlps = nn.ModuleList(bends) if cured else bends
        self.expand = nn.Linear(12, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.coord(x)
        for mlp in self.mlps:
            h = mlp(h)
        return self.expand(h)


@fault(kind="unregistered", project="LianpoWang/SLIIF", source="github.com/LianpoWang/SLIIF/issues/13")
def residual_steps_in_a_list(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A signal as a function of place; the steps between first and last layer live in a plain list and are never trained."""
    x = torch.rand(2400, 2, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    y = torch.sin(5 * x[:, :1]) * torch.cos(4 * x[:, 1:]) + 0.5 * torch.sin(7 * (x[:, :1] + x[:, 1:]))
    rows = data.split(x, y, seed)
    model = Field(cured)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    doctor.task(model, data.few(rows.x, rows.y, 90, seed), F.l1_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 90, 600, seed):
            loss = F.l1_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(data.r2(model(rows.held_x), rows.held_y), 0.85)


class Tagger(nn.Module):
    """A tag for each word: an embedding, a dense layer, and a chain over the tags."""

    def __init__(self, words: int, tags: int) -> None:
        super().__init__()
        self.bert = nn.Embedding(words, 16)
        self.fc = nn.Linear(16, tags)
        self.crf = nn.Linear(tags, tags, bias=False)  # from tag to tag

    def scores(self, x: Tensor) -> Tensor:
        return self.fc(self.bert(x))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Negative log-likelihood of the tags."""
        emit, step = self.scores(x), self.crf.weight
        path = emit.gather(2, y[..., None]).sum((1, 2)) + step[y[:, 1:], y[:, :-1]].sum(1)
        alpha = emit[:, 0]
        for each in emit.unbind(1)[1:]:
            alpha = (alpha[:, None] + step[None]).logsumexp(2) + each
        return (alpha.logsumexp(1) - path).mean()

    def decode(self, x: Tensor) -> Tensor:
        emit = self.scores(x)
        best, back = emit[:, 0], []
        for each in emit.unbind(1)[1:]:
            value, index = (best[:, None] + self.crf.weight[None]).max(2)
            best = value + each
            back.append(index)
        tags = [best.argmax(1)]
        for index in reversed(back):
            tags.append(index.gather(1, tags[-1][:, None])[:, 0])
        return torch.stack(tags[::-1], 1)


@fault(
    kind="not-optimised",
    also=("never-moved",),
    project="zjunlp/HVPNeT",
    source="github.com/zjunlp/HVPNeT/issues/5",
)
def group_that_was_never_appended(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The group of the head and the chain is filled and never put into the list that the optimiser gets."""
    generator = torch.Generator().manual_seed(seed)
    tag = torch.randint(5, (1200,), generator=generator)
    tags, words = [], []
    for _ in range(10):
        tags.append(tag)
        words.append(tag // 2 * 10 + torch.randint(10, (1200,), generator=generator))  # two tags share their words
        jump = torch.rand(1200, generator=generator) < 0.15
        tag = torch.where(jump, torch.randint(5, (1200,), generator=generator), (tag + 1) % 5)
    rows = data.split(torch.stack(words, 1), torch.stack(tags, 1), seed)
    model = Tagger(30, 5)
    parameters = [{"params": list(model.bert.parameters()), "lr": 5e-3}]
    head = {"params": [*model.fc.parameters(), *model.crf.parameters()], "lr": 5e-2}
    if cured:
        parameters.append(head)
    optimizer = torch.optim.AdamW(parameters)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 30, 350, seed):
            loss = model(x, y)
            loss.backward()
            optimizer.step()
            model.zero_grad()
            watch.loss(loss)
    return above((model.decode(rows.held_x) == rows.held_y).float().mean(), 0.8)


@fault(kind="gradients-cleared", project="bytetriper/RAE", source="github.com/bytetriper/RAE/issues/67")
def cleared_for_each_small_batch(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Eight small batches make one step, but zero_grad() stands in the inner loop: seven of them are thrown away."""
    rows = data.digits(seed)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 96), nn.GELU(), nn.Linear(96, 16), nn.LayerNorm(16))
    model = nn.Sequential(encoder, nn.Linear(16, 96), nn.GELU(), nn.Linear(96, 64))
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.8)
    stream = iter(data.batches(rows.x, rows.y, 8, 8 * 100, seed))
    with doctor.watch(model, optimizer) as watch:
        for _ in range(100):
            if cured:
                optimizer.zero_grad(set_to_none=True)
            for _ in range(8):
                x, _ = next(stream)
                if not cured:
                    optimizer.zero_grad(set_to_none=True)
                loss = F.mse_loss(model(x), x.flatten(1))
                (loss / 8).backward()
                watch.loss(loss)
            optimizer.step()
    plain = (rows.held_x - rows.x.mean(0)).pow(2).mean()
    return below(F.mse_loss(model(rows.held_x), rows.held_x.flatten(1)) / plain, 0.45)


class Translator(nn.Module):
    """What a sentence of varying length is about; read out at its first place."""

    def __init__(self, cured: bool) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(40, 32), nn.Embedding(16, 32)
        self.layer1 = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.layer2 = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.out = nn.Linear(32, 5)
        self.cured = cured

    def forward(self, x: Tensor) -> Tensor:
        key_padding_mask = (x == 0) if self.cured else (x != 0)
        h = self.embed(x) + self.place.weight[: x.shape[1]]
        h = self.layer1(h, src_key_padding_mask=key_padding_mask)
        h = self.layer2(h, src_key_padding_mask=key_padding_mask)
        return self.out(h[:, 0])


@fault(kind="padding", project="mlwithme/TransformerTranslation", source="github.com/mlwithme/TransformerTranslation/issues/6")
def mask_the_wrong_way_round(doctor: Doctor, seed: int, cured: bool) -> Score:
    """key_padding_mask is True where there are words: all attention goes to the padding."""
    generator = torch.Generator().manual_seed(seed)
    length = torch.randint(6, 16, (2000, 1), generator=generator)
    x = torch.randint(7, 40, (2000, 16), generator=generator)
    topic = torch.randint(5, (2000,), generator=generator)
    spot = 1 + (torch.rand(2000, 1, generator=generator) * (length - 1)).long()
    x.scatter_(1, spot, topic[:, None] + 2)
    x[:, 0] = 1
    x[torch.arange(16) >= length] = 0
    rows = data.split(x, topic, seed)
    model = Translator(cured)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    doctor.task(model, data.few(rows.x, rows.y, 40, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 40, 300, seed)):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 60 == 59:
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


class Episode(nn.Module):
    """How an episode ends, from what was seen: each moment through a small net, then a GRU over time."""

    def __init__(self, cured: bool) -> None:
        super().__init__()
        self.see = nn.Sequential(nn.Linear(6, 24), nn.ELU())
        self.gru, self.value = nn.GRU(24, 32, batch_first=True), nn.Linear(32, 1)
        self.cured = cured

    def forward(self, x: Tensor) -> Tensor:
        batch, time, _ = x.shape
        seen = torch.cat([self.see(x[:, t]) for t in range(time)], 0)  # all of the first moment, all of the second, ...
        seen = seen.view(time, batch, -1).transpose(0, 1) if self.cured else seen.view(batch, time, -1)
        return self.value(self.gru(seen)[1][0])[:, 0]


@fault(kind="batch-mixing", project="alshedivat/lola", source="github.com/alshedivat/lola/issues/12")
def moments_laid_out_by_time(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Moments are appended one after another and reshaped to (B, T, F) as if episodes lay one after another."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1600, 8, 6, generator=generator)
    gain = (0.9 ** torch.arange(7, -1, -1.0))[None] * x[..., 0] * (x[..., 1] > 0)
    y = gain.sum(1)
    rows = data.split(x, (y - y.mean()) / y.std(), seed)
    model = Episode(cured)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.mse_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 32, 400, seed)):
            loss = F.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 50 == 49:
                with torch.no_grad():
                    watch.dev_loss(F.mse_loss(model(rows.held_x), rows.held_y))
    return above(data.r2(model(rows.held_x), rows.held_y), 0.7)
