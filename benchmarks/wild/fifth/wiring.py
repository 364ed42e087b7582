"""Faults of wiring: who is trained, and who sees what."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="not-optimised",
    also=("never-moved",),
    project="microsoft/nni",
    source="github.com/microsoft/nni/issues/4521",
)
def layers_replaced_after_the_optimiser(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Pruning puts smaller layers in place of the old ones; the fine-tuning steps along the old ones, which nobody uses."""
    rows = data.digits(seed)
    wide, out = nn.Linear(64, 96), nn.Linear(96, 10)
    model = nn.Sequential(nn.Flatten(), wide, nn.ReLU(), out)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for x, y in data.batches(rows.x, rows.y, 40, 150, seed):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    kept = wide.weight.norm(dim=1).argsort(descending=True)[:12]
    small, last = nn.Linear(64, 12), nn.Linear(12, 10)
    with torch.no_grad():
        small.weight.copy_(wide.weight[kept])
        small.bias.copy_(wide.bias[kept])
        last.weight.copy_(out.weight[:, kept])
        last.bias.copy_(out.bias)
    model[1], model[3] = small, last
    if cured:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    doctor.task(model, data.few(rows.x, rows.y, 40, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 40, 300, seed + 1):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.88)


class Classifier(nn.Module):
    """A backbone that is loaded and frozen, and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(), nn.Flatten()
        )
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x))


@fault(
    kind="frozen-random",
    where="encoder",
    also=("no-gradient",),
    project="LibreYOLO/libreyolo",
    source="github.com/LibreYOLO/libreyolo/pull/444",
)
def weights_that_did_not_match(doctor: Doctor, seed: int, cured: bool) -> Score:
    """strict=False with names of another layout: nothing is loaded, and the backbone is frozen as it was drawn."""
    rows = data.digits(seed)
    teacher = Classifier()
    adam = torch.optim.Adam(teacher.parameters(), lr=3e-3)
    for x, y in data.batches(rows.x, rows.y, 50, 250, seed):
        adam.zero_grad()
        F.cross_entropy(teacher(x), y).backward()
        adam.step()
    prefix = "encoder." if cured else "backbone.encoder."
    checkpoint = {prefix + name: each for name, each in teacher.encoder.state_dict().items()}
    model = Classifier()
    model.load_state_dict(checkpoint, strict=False)
    model.encoder.requires_grad_(requires_grad=False)
    optimizer = torch.optim.AdamW(filter(lambda each: each.requires_grad, model.parameters()), lr=3e-3)
    doctor.task(model, data.few(rows.x, rows.y, 50, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 50, 250, seed + 1):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


class Heads(nn.Module):
    """Causal attention written out, whose heads are put together again by a reshape."""

    def __init__(self, letters: int, cured: bool) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(letters, 48), nn.Embedding(24, 48)
        self.qkv, self.o = nn.Linear(48, 144), nn.Linear(48, 48)
        self.norm, self.norm2 = nn.LayerNorm(48), nn.LayerNorm(48)
        self.ff = nn.Sequential(nn.Linear(48, 96), nn.ReLU(), nn.Linear(96, 48))
        self.out = nn.Linear(48, letters)
        self.cured = cured

    def forward(self, x: Tensor) -> Tensor:
        batch, time = x.shape
        h = self.embed(x) + self.place(torch.arange(time))
        q, k, v = self.qkv(self.norm(h)).reshape(batch, time, 4, 36).permute(0, 2, 1, 3).chunk(3, -1)
        scores = q @ k.transpose(2, 3) / 12**0.5
        hidden = torch.triu(torch.ones(time, time, dtype=torch.bool), 1)
        values = scores.masked_fill(hidden, float("-inf")).softmax(-1) @ v  # (B, heads, T, 12)
        values = values.permute(0, 2, 1, 3) if self.cured else values
        h = h + self.o(values.reshape(batch, time, 48))
        return self.out(h + self.ff(self.norm2(h)))


@fault(
    kind="future-leak",
    also=("leak",),
    project="jsbaan/transformer-from-scratch",
    source="github.com/jsbaan/transformer-from-scratch/pull/6",
)
def heads_joined_without_a_permute(doctor: Doctor, seed: int, cured: bool) -> Score:
    """(B, H, T, D) reshaped to (B, T, H D): a place gets pieces of other places, also of later ones, in spite of the mask."""
    stream, letters = data.characters(700, seed)
    model = Heads(letters, cured)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    def loss_fn(output: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(output.flatten(0, 1), y.flatten())

    doctor.task(model, list(data.windows(stream, 24, 16, 6, seed)), loss_fn, optimizer)
    held = torch.cat([x for x, _ in data.windows(data.characters(60, seed + 1)[0], 25, 30, 3, seed)])
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.windows(stream, 24, 16, 500, seed)):
            loss = loss_fn(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 100 == 99:
                with torch.no_grad():
                    watch.dev_loss(loss_fn(model(held[:, :-1]), held[:, 1:]))
    with torch.no_grad():  # as it is used: one letter after another
        used = [F.cross_entropy(model(held[:, :cut])[:, -1], held[:, cut]) for cut in (6, 12, 18)]
    return below(torch.stack(used).mean(), 1.7)


class Reviews(nn.Module):
    """Mood of a text: embedding, LSTM, the output at the last step."""

    def __init__(self, cured: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 16)
        self.encoder, self.predictor = nn.LSTM(16, 24), nn.Linear(24, 2)
        self.cured = cured

    def forward(self, seq: Tensor) -> Tensor:
        hdn, _ = self.encoder(self.embedding(seq).transpose(0, 1))
        if self.cured:
            return self.predictor(hdn[(seq != 0).sum(1) - 1, torch.arange(len(seq))])
        return self.predictor(hdn[-1])


@fault(
    kind="padding",
    project="keitakurita/practical-torchtext",
    source="github.com/keitakurita/practical-torchtext/issues/5",
)
def last_step_is_padding(doctor: Doctor, seed: int, cured: bool) -> Score:
    """hdn[-1] of a padded batch: for most texts that is the state after dozens of padding tokens."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(10, 50, (1600, 60), generator=generator)
    length = 4 + (torch.rand(1600, 1, generator=generator).pow(3) * 56).long()
    y = torch.randint(2, (1600,), generator=generator)
    spot = (torch.rand(1600, 2, generator=generator) * length).long()
    x.scatter_(1, spot, (1 + y[:, None] * 4 + torch.randint(4, (1600, 2), generator=generator)))
    x[torch.arange(60) >= length] = 0
    rows = data.split(x, y, seed)
    model = Reviews(cured)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 32, 220, seed)):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(a), b)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 44 == 43:
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


class Captioner(nn.Module):
    """Words about a picture; the picture comes in as the output of an extractor."""

    def __init__(self, cured: bool) -> None:
        super().__init__()
        self.img_encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.GELU(), nn.Linear(48, 4))
        self.token = nn.Embedding(12, 24)
        self.attend, self.text = nn.Linear(4, 24), nn.GRU(24, 24, batch_first=True)
        self.to_logits = nn.Linear(24, 12)
        self.cured = cured

    def forward(self, x: Tensor, words: Tensor) -> Tensor:
        image = self.img_encoder(x)
        image = image.clone() if self.cured else image.clone().detach()
        h, _ = self.text(self.token(words), torch.tanh(self.attend(image))[None])
        return self.to_logits(h)


@fault(
    kind="no-gradient",
    also=("never-moved", "detached-generator"),
    where="img_encoder",
    project="lucidrains/CoCa-pytorch",
    source="github.com/lucidrains/CoCa-pytorch/issues/6",
)
def extractor_that_detaches(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The extractor clones and detaches what it takes out, so that the picture's encoder never learns from the words."""
    rows = data.digits(seed)
    model = Captioner(cured)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)

    def said(y: Tensor) -> Tensor:
        return torch.stack([torch.full_like(y, 10), y, (3 * y + 1) % 10, torch.full_like(y, 11)], 1)

    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 48, 450, seed):
            words = said(y)
            loss = F.cross_entropy(model(x, words[:, :-1]).transpose(1, 2), words[:, 1:])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    first = model(rows.held_x, torch.full((len(rows.held_y), 1), 10))[:, 0]
    return above(data.accuracy(first, rows.held_y), 0.85)


@fault(
    kind="detached-generator",
    also=("no-gradient", "never-moved"),
    project="wangle53/CSA-CDGAN",
    source="github.com/wangle53/CSA-CDGAN/issues/5",
)
def judgement_detached_for_the_generator(doctor: Doctor, seed: int, cured: bool) -> Score:
    """For the generator's turn the fake goes through the critic as fake.detach(); only the critic ever hears of it."""
    generator = torch.Generator().manual_seed(seed)
    g = nn.Sequential(nn.Linear(3, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 2))
    d = nn.Sequential(nn.Linear(2, 48), nn.LeakyReLU(0.2), nn.Linear(48, 48), nn.LeakyReLU(0.2), nn.Linear(48, 1))
    model = nn.ModuleDict({"net_g": g, "net_d": d})
    optimizers = [torch.optim.Adam(each.parameters(), lr=1e-3, betas=(0.5, 0.999)) for each in (g, d)]
    bce = nn.BCEWithLogitsLoss()
    one, zero = torch.ones(48, 1), torch.zeros(48, 1)
    with doctor.watch(model, optimizers) as watch:
        for _ in range(600):
            angle = torch.rand(48, generator=generator) * 3.14
            real = 2 * torch.stack([angle.cos(), angle.sin()], 1) + 0.1 * torch.randn(48, 2, generator=generator)
            fake = g(torch.randn(48, 3, generator=generator))
            model.zero_grad()
            loss_d = bce(d(real), one) + bce(d(fake.detach()), zero)
            loss_d.backward()
            optimizers[1].step()
            model.zero_grad()
            loss_g = bce(d(fake if cured else fake.detach()), one)
            loss_g.backward()
            optimizers[0].step()
            watch.loss(loss_d + loss_g)
    noise = torch.randn(600, 3, generator=generator)
    return below((g(noise).norm(dim=1).mean() - 2).abs(), 0.4)
