"""Healthy programs on words and sounds: twice through dropout, names marked, turned round, asked of, heard, drawn from noise."""

from __future__ import annotations

import math

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, healthy
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


def notes(count: int, kinds: int, seed: int) -> tuple[Tensor, Tensor]:
    """Notes of fifteen words, of which a third tell the kind."""
    generator = torch.Generator().manual_seed(seed)
    kind = torch.randint(kinds, (count,), generator=generator)
    own = 12 * kind[:, None] + torch.randint(12, (count, 15), generator=generator)
    other = torch.randint(150, (count, 15), generator=generator)
    return torch.where(torch.rand(count, 15, generator=generator) < 0.33, own, other), kind


@healthy(project="dropreg/R-Drop", source="github.com/dropreg/R-Drop")
def notes_read_twice(doctor: Doctor, seed: int) -> Score:
    """Five kinds of notes: each is read twice with other units left out, and both readings shall agree."""
    torch.manual_seed(seed)
    rows = data.split(*notes(1500, 5, seed), seed)
    model = nn.Sequential(
        nn.EmbeddingBag(150, 48), nn.Dropout(0.3), nn.Linear(48, 48), nn.ReLU(), nn.Dropout(0.3), nn.Linear(48, 5)
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 32, 300, seed)):
            model.train()
            one, two = model(x), model(x)
            p, q = one.log_softmax(1), two.log_softmax(1)
            apart = F.kl_div(p, q, reduction="batchmean", log_target=True) + F.kl_div(
                q, p, reduction="batchmean", log_target=True
            )
            loss = (F.cross_entropy(one, y) + F.cross_entropy(two, y)) / 2 + apart / 2
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 60 == 59:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
    model.eval()
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.8)


class Tagger(nn.Module):
    """A small transformer that marks each word."""

    def __init__(self, words: int, marks: int) -> None:
        super().__init__()
        self.word, self.place = nn.Embedding(words, 32, padding_idx=0), nn.Parameter(0.5 * torch.randn(12, 32))
        layer = nn.TransformerEncoderLayer(32, 2, 64, dropout=0.05, batch_first=True, activation="gelu")
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.mark = nn.Linear(32, marks)

    def forward(self, words: Tensor) -> Tensor:
        return self.mark(self.layers(self.word(words) + self.place, src_key_padding_mask=words == 0)).transpose(1, 2)


@healthy(project="kamalkraj/BERT-NER", source="github.com/kamalkraj/BERT-NER")
def names_marked_in_a_line(doctor: Doctor, seed: int) -> Score:
    """Which words of a line are names, and whose: a word after a title is a person, one after a preposition is a place."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    words = torch.randint(1, 60, (1500, 12), generator=generator)
    before = F.pad(words[:, :-1], (1, 0))
    mark = torch.where(before < 8, 1, torch.where(before < 16, 2, 0)) * (before > 0)
    filled = torch.arange(12) < torch.randint(6, 13, (1500, 1), generator=generator)
    rows = data.split(words * filled, torch.where(filled, mark, -100), seed)
    model = Tagger(60, 3)
    plain = [each for name, each in model.named_parameters() if "bias" in name or "norm" in name]
    decayed = [each for name, each in model.named_parameters() if not ("bias" in name or "norm" in name)]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}], lr=3e-3)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(step / 30, (400 - step) / 370))
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 32, 400, seed):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            watch.loss(loss)
    model.eval()
    with torch.no_grad():
        known = rows.held_y >= 0
        return above(data.accuracy(model(rows.held_x).transpose(1, 2)[known], rows.held_y[known]), 0.9)


@healthy(project="facebookresearch/fairseq", source="github.com/facebookresearch/fairseq")
def lines_turned_round(doctor: Doctor, seed: int) -> Score:
    """Lines written backwards by a transformer with shared letters, smoothed targets and a rate that falls with a root."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    source = torch.randint(1, 10, (3000, 5), generator=generator)
    rows = data.split(source, source.flip(1), seed)

    class Writer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.letter = nn.Embedding(10, 32)
            nn.init.normal_(self.letter.weight, std=32**-0.5)
            self.place = nn.Parameter(0.3 * torch.randn(5, 32))
            self.body = nn.Transformer(32, 4, 1, 1, 64, dropout=0.0, batch_first=True)
            self.register_buffer("later", torch.ones(5, 5).triu(1).bool())

        def forward(self, source: Tensor, before: Tensor) -> Tensor:
            read, said = (math.sqrt(32) * self.letter(each) + self.place for each in (source, before))
            return self.body(read, said, tgt_mask=self.later) @ self.letter.weight.T

    model = Writer()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3, betas=(0.9, 0.98))
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min((step + 1) / 60, (60 / (step + 1)) ** 0.5))
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 64, 400, seed):
            said = model(x, F.pad(y[:, :-1], (1, 0)))
            optimizer.zero_grad()
            loss = F.cross_entropy(said.flatten(0, 1), y.flatten(), label_smoothing=0.1)
            loss.backward()
            optimizer.step()
            scheduler.step()
            watch.loss(loss)
    model.eval()
    with torch.no_grad():
        said = model(rows.held_x, F.pad(rows.held_y[:, :-1], (1, 0)))
        return above(data.accuracy(said, rows.held_y), 0.9)


@healthy(project="hengyuan-hu/bottom-up-attention-vqa", source="github.com/hengyuan-hu/bottom-up-attention-vqa")
def what_colour_has_the_thing_asked_for(doctor: Doctor, seed: int) -> Score:
    """Six things in a scene and a question for one: looked at by attention, answered by scores between 0 and 1."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    thing = torch.rand(2000, 6, generator=generator).argsort(1)
    colour = torch.randint(5, (2000, 6), generator=generator)
    asked = torch.randint(6, (2000,), generator=generator)
    scene = torch.cat([F.one_hot(thing, 6), F.one_hot(colour, 5)], 2) + 0.2 * torch.randn(2000, 6, 11, generator=generator)
    answer = (colour * (thing == asked[:, None])).sum(1)
    x = torch.cat([scene.flatten(1), asked[:, None]], 1)
    rows = data.split(x, 0.9 * F.one_hot(answer, 5) + 0.1 * F.one_hot((answer + 1) % 5, 5), seed)
    normed = nn.utils.parametrizations.weight_norm

    class Answers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.question = nn.Embedding(6, 24)
            self.look = nn.Sequential(normed(nn.Linear(35, 32)), nn.ReLU(), normed(nn.Linear(32, 1)))
            self.seen, self.heard = normed(nn.Linear(11, 48)), normed(nn.Linear(24, 48))
            self.say = nn.Sequential(normed(nn.Linear(48, 48)), nn.ReLU(), nn.Dropout(0.2), normed(nn.Linear(48, 5)))

        def forward(self, x: Tensor) -> Tensor:
            scene, question = x[:, :-1].unflatten(1, (6, 11)), self.question(x[:, -1].long())
            share = self.look(torch.cat([scene, question[:, None].expand(-1, 6, -1)], 2)).softmax(1)
            return self.say(F.relu(self.seen((share * scene).sum(1))) * F.relu(self.heard(question)))

    model = Answers()
    optimizer = torch.optim.Adamax(model.parameters(), lr=2e-2)
    loss_fn = lambda said, y: 5 * F.binary_cross_entropy_with_logits(said, y)  # noqa: E731
    doctor.task(model, data.few(rows.x, rows.y, 64, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 64, 500, seed))
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y.argmax(1)), 0.8)


@healthy(project="sooftware/conformer", source="github.com/sooftware/conformer")
def three_notes_heard_in_a_row(doctor: Doctor, seed: int) -> Score:
    """Three of five tones after each other, of unknown length: a convolution and a GRU tell them without being told when."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    tone = torch.randint(5, (1200, 3), generator=generator)
    ends = (5 + torch.randint(-1, 2, (1200, 3), generator=generator)).cumsum(1)
    which = (torch.arange(15) >= ends[:, :2, None]).sum(1)
    x = F.one_hot(tone.gather(1, which), 5).transpose(1, 2) + 0.4 * torch.randn(1200, 5, 15, generator=generator)
    quiet = (torch.arange(15) == ends[:, :2, None]).any(1)[:, None]
    rows = data.split(torch.where(quiet, 0.0, x), tone + 1, seed)

    class Ear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv1d(5, 32, 3, padding=1), nn.LayerNorm(32)
            self.gru, self.say = nn.GRU(32, 24, batch_first=True, bidirectional=True), nn.Linear(48, 6)

        def forward(self, x: Tensor) -> Tensor:
            return self.say(self.gru(F.silu(self.norm(self.conv(x).transpose(1, 2))))[0]).log_softmax(2)

    def ctc(said: Tensor, y: Tensor) -> Tensor:
        size = torch.full((len(y),), 15)
        return F.ctc_loss(said.transpose(0, 1), y, size, torch.full((len(y),), 3), zero_infinity=True)

    model = Ear()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=1e-4)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), ctc, optimizer)
    fit(doctor, model, optimizer, ctc, data.batches(rows.x, rows.y, 32, 350, seed), held=rows)
    with torch.no_grad():
        best, right = model(rows.held_x).argmax(2), 0
        for line, y in zip(best, rows.held_y, strict=True):
            told = torch.unique_consecutive(line)
            right += int(torch.equal(told[told > 0], y))
    return above(right / len(rows.held_y), 0.7)


@healthy(project="haofuml/cyclical_annealing", source="github.com/haofuml/cyclical_annealing")
def digits_by_a_weight_that_comes_and_goes(doctor: Doctor, seed: int) -> Score:
    """Digits through ten noisy numbers, of which the weight of what these cost rises from 0 four times."""
    torch.manual_seed(seed)
    rows = data.digits(seed)
    x, held = rows.x.flatten(1), rows.held_x.flatten(1)
    inward = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 20))
    outward = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 64))
    model = nn.ModuleDict({"inward": inward, "outward": outward})
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    with doctor.watch(model, optimizer) as watch:
        for step, (batch, _) in enumerate(data.batches(x, rows.y, 64, 600, seed)):
            mean, spread = inward(batch).chunk(2, 1)
            said = outward(mean + (spread / 2).exp() * torch.randn_like(mean))
            cost = 0.5 * (mean.pow(2) + spread.exp() - 1 - spread).sum(1).mean()
            weight = min(1.0, step % 150 / 75)
            loss = F.binary_cross_entropy_with_logits(said, batch, reduction="sum") / len(batch) + weight * cost
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return above(data.r2(outward(inward(held)[:, :10]).sigmoid(), held), 0.5)
