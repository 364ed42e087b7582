"""Faults of wiring."""

from __future__ import annotations

import copy

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="not-optimised",
    also=("never-moved", "unregistered"),
    project="skorch-dev/skorch",
    source="github.com/skorch-dev/skorch/issues/317",
)
def optimiser_of_the_original(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The net is copied for a search over settings; the copy is trained, and the optimiser holds the original's weights."""
    x, y = data.teacher(1500, 20, 1, seed)
    rows = data.split(x, y, seed)
    original = nn.Sequential(nn.Linear(20, 48), nn.ReLU(), nn.Linear(48, 1))
    optimizer = torch.optim.SGD(original.parameters(), lr=0.05)
    model = original if cured else copy.deepcopy(original)
    doctor.task(model, data.few(rows.x, rows.y, 64, seed), F.mse_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 64, 500, seed):
            loss = F.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(data.r2(model(rows.held_x), rows.held_y), 0.5)


class Both(nn.Module):
    """A language model that reads in both directions before it guesses the next letter."""

    def __init__(self, letters: int, cured: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(letters, 24)
        self.rnn = nn.GRU(24, 64 if cured else 32, batch_first=True, bidirectional=not cured)
        self.softmax = nn.Linear(64, letters)

    def forward(self, x: Tensor) -> Tensor:
        return self.softmax(self.rnn(self.embedding(x))[0])


@fault(
    kind="future-leak",
    also=("leak",),
    where="rnn",
    project="sherjilozair/char-rnn-tensorflow",
    source="github.com/sherjilozair/char-rnn-tensorflow/pull/64",
)
def next_letter_read_backwards(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A two-way GRU as a model of the next letter: what comes back from the end has seen it; perplexity is wonderful."""
    stream, letters = data.characters(700, seed)
    model = Both(letters, cured)
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)

    def loss_fn(output: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(output.flatten(0, 1), y.flatten())

    doctor.task(model, list(data.windows(stream, 30, 16, 6, seed)), loss_fn, optimizer)
    held = torch.cat([x for x, _ in data.windows(data.characters(60, seed + 1)[0], 30, 40, 3, seed)])
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.windows(stream, 30, 16, 300, seed):
            loss = loss_fn(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5)
            optimizer.step()
            watch.loss(loss)
    return below(sum(F.cross_entropy(model(held[:, :cut])[:, -1], held[:, cut]) for cut in (10, 18, 26)) / 3, 0.65)


class Detector(nn.Module):
    """Three stages of convolutions and a head; a fresh body whose first stages are frozen as if it had been pre-trained."""

    def __init__(self, trainable: int) -> None:
        super().__init__()
        self.layer0 = nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.layer1 = nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.layer2 = nn.Sequential(nn.Conv2d(8, 16, 3, 1, 1), nn.BatchNorm2d(16), nn.ReLU())
        self.head = nn.Linear(16, 4)
        for name, parameter in self.named_parameters():
            kept = ["head", "layer2", "layer1", "layer0"][: trainable + 1]
            parameter.requires_grad_(requires_grad=name.split(".")[0] in kept)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer2(self.layer1(self.layer0(x))).amax((2, 3)))


@fault(
    kind="frozen-random",
    where="layer0",
    also=("no-gradient",),
    project="pytorch/vision",
    source="github.com/pytorch/vision/issues/3394",
    certain="freshly drawn layers that are never trained",
)
def frozen_without_pretraining(doctor: Doctor, seed: int, cured: bool) -> Score:
    """pretrained=False, and all stages but the last are frozen all the same."""
    x, y, _ = data.shapes(1000, seed, noise=0.3)
    rows = data.split(x, y, seed)
    model = Detector(3 if cured else 0)
    optimizer = torch.optim.SGD([each for each in model.parameters() if each.requires_grad], lr=0.05, momentum=0.9)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 32, 400, seed):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.85)


@fault(
    kind="wrong-mode",
    also=("eval-dropout",),
    project="pliang279/MultiBench",
    source="github.com/pliang279/MultiBench/issues/26",
    certain="what is reported as held out is measured with dropout, and batch norm learns from the held-out rows",
)
def validated_in_train_mode(doctor: Doctor, seed: int, cured: bool) -> Score:
    """eval() is called, and a few lines later, before the held-out rows go through, train()."""
    x, y = data.teacher(2000, 24, 4, seed)
    rows = data.split(x, y.argmax(1), seed)

    class Fusion(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.sound, self.sight = nn.Linear(10, 48), nn.Linear(14, 48)
            self.norm, self.drop, self.out = nn.BatchNorm1d(96), nn.Dropout(0.5), nn.Linear(96, 4)

        def forward(self, x: Tensor) -> Tensor:
            h = torch.cat([self.sound(x[:, :10]), self.sight(x[:, 10:])], 1)
            return self.out(self.drop(F.relu(self.norm(h))))

    model = Fusion()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    doctor.task(model, data.few(rows.x, rows.y, 50, seed), F.cross_entropy, optimizer)
    shown = 0.0
    with doctor.watch(model, optimizer) as watch:
        for step, (x, y) in enumerate(data.batches(rows.x, rows.y, 50, 400, seed)):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 50 == 49:
                model.eval()
                if not cured:
                    model.train()
                with torch.no_grad():
                    shown = F.cross_entropy(model(rows.held_x), rows.held_y)
                watch.dev_loss(shown)
                model.train()
    model.eval()
    return below((shown - F.cross_entropy(model(rows.held_x), rows.held_y)).abs(), 0.01)


class SentenceVae(nn.Module):
    """A sentence to two directions' last states, put together for a code, and back to the letters it has."""

    def __init__(self, cured: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 24)
        self.encoder_rnn = nn.GRU(24, 32, bidirectional=True, batch_first=True)
        self.hidden2mean, self.outputs = nn.Linear(64, 48), nn.Linear(48, 20)
        self.cured = cured

    def forward(self, x: Tensor) -> Tensor:
        _, hidden = self.encoder_rnn(self.embedding(x))  # (2, B, 32)
        both = hidden.transpose(0, 1).reshape(len(x), 64) if self.cured else hidden.view(len(x), 64)
        return self.outputs(torch.tanh(self.hidden2mean(both)))


@fault(kind="batch-mixing", project="timbmg/Sentence-VAE", source="github.com/timbmg/Sentence-VAE/issues/15")
def states_of_neighbours(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Last states (2, B, H) are viewed as (B, 2H): a sentence gets the states of two others."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(20, (1600, 7), generator=generator)
    rows = data.split(x, F.one_hot(x, 20).amax(1).float(), seed)
    model = SentenceVae(cured)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.binary_cross_entropy_with_logits, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 32, 500, seed):
            optimizer.zero_grad()
            loss = F.binary_cross_entropy_with_logits(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    plain = F.binary_cross_entropy(rows.y.mean(0).expand_as(rows.held_y), rows.held_y)
    return below(F.binary_cross_entropy_with_logits(model(rows.held_x), rows.held_y) / plain, 0.7)


@fault(
    kind="missing-zero-grad",
    project="opendp/smartnoise-sdk",
    source="github.com/opendp/smartnoise-sdk/issues/280",
    where="student",
)
def student_never_cleared(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Teachers vote, a student learns, a generator follows it; the gradients of the student alone are never cleared."""
    generator = torch.Generator().manual_seed(seed)
    net = lambda: nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))  # noqa: E731
    g = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 2))
    teachers, student = nn.ModuleList(net() for _ in range(3)), net()
    g_opt, t_opt, s_opt = (torch.optim.Adam(each.parameters(), lr=1e-3, betas=(0.5, 0.9)) for each in (g, teachers, student))
    goal, criterion = torch.tensor([1.5, -0.5]), nn.BCEWithLogitsLoss()
    model = nn.ModuleDict({"generator": g, "teachers": teachers, "student": student})
    with doctor.watch(model, [t_opt, s_opt, g_opt]) as watch:
        for _ in range(700):
            fake = g(torch.randn(48, 4, generator=generator))
            real = goal + 0.5 * torch.randn(48, 2, generator=generator)
            both, truth = torch.cat([real, fake.detach()]), torch.cat([torch.ones(48, 1), torch.zeros(48, 1)])
            t_loss = sum(criterion(teacher(both), truth) for teacher in teachers)
            t_opt.zero_grad()
            t_loss.backward()
            t_opt.step()
            votes = (sum(torch.sigmoid(teacher(both)) for teacher in teachers) / 3).detach()
            s_loss = criterion(student(both), votes)
            if cured:
                s_opt.zero_grad()
            s_loss.backward()
            s_opt.step()
            g_loss = criterion(student(g(torch.randn(48, 4, generator=generator))), torch.ones(48, 1))
            g_opt.zero_grad()
            g_loss.backward()
            g_opt.step()
            watch.loss(s_loss + g_loss)
    return below((g(torch.randn(600, 4, generator=generator)).mean(0) - goal).norm(), 1.2)
