"""Healthy programs: sequences, preferences, sets, games, and short runs."""

from __future__ import annotations

import copy

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Judge(nn.Module):
    """How good an answer is: one number for a sequence of tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.gru, self.v_head = nn.Embedding(30, 24), nn.GRU(24, 32, batch_first=True), nn.Linear(32, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.v_head(self.gru(self.embed(x))[0].mean(1))[:, 0]


@healthy(project="CarperAI/trlx", source="github.com/CarperAI/trlx")
def better_of_two_answers(doctor: Doctor, seed: int) -> Score:
    """A reward model from pairs: only differences count, so the last bias gets no gradient and needs none."""
    generator = torch.Generator().manual_seed(seed)
    worth = torch.randn(30, generator=generator)
    pairs = torch.randint(30, (1500, 2, 8), generator=generator)
    value = worth[pairs].sum(2) + 0.5 * torch.randn(1500, 2, generator=generator)
    first = value.argmax(1)
    chosen, other = pairs[torch.arange(1500), first], pairs[torch.arange(1500), 1 - first]
    rows = data.split(chosen, other, seed)
    model = Judge()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    with doctor.watch(model, optimizer) as watch:
        for step, (good, bad) in enumerate(data.batches(rows.x, rows.y, 32, 400, seed)):
            loss = -F.logsigmoid(model(good) - model(bad)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 80 == 79:
                with torch.no_grad():
                    watch.dev_loss(-F.logsigmoid(model(rows.held_x) - model(rows.held_y)).mean())
    return above((model(rows.held_x) > model(rows.held_y)).float().mean(), 0.85)


class Small(nn.Module):
    """A language model of one causal block, with scaled_dot_product_attention."""

    def __init__(self, letters: int, width: int = 48) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(letters, width), nn.Embedding(24, width)
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.o = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.ff = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.out = nn.Linear(width, letters)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x) + self.place.weight[: x.shape[1]]
        q, k, v = self.qkv(self.norm1(h)).unflatten(2, (3, 4, -1)).permute(2, 0, 3, 1, 4)
        h = h + self.o(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        return self.out(self.norm3(h + self.ff(self.norm2(h))))

    def likelihood(self, x: Tensor) -> Tensor:
        """Log-probability of each sequence."""
        return self(x[:, :-1]).log_softmax(-1).gather(2, x[:, 1:, None]).sum((1, 2))


@healthy(
    project="eric-mitchell/direct-preference-optimization",
    source="github.com/eric-mitchell/direct-preference-optimization",
)
def preferred_to_the_frozen_copy(doctor: Doctor, seed: int) -> Score:
    """DPO: a trained model goes on against a frozen copy of itself; the loss starts at exactly ln 2."""
    stream, letters = data.characters(500, seed)
    model = Small(letters)
    adam = torch.optim.Adam(model.parameters(), lr=3e-3)
    for x, y in data.windows(stream, 20, 16, 200, seed):
        adam.zero_grad()
        F.cross_entropy(model(x).transpose(1, 2), y).backward()
        adam.step()
    reference = copy.deepcopy(model).eval().requires_grad_(requires_grad=False)
    pieces = torch.cat([x for x, _ in data.windows(stream, 16, 40, 20, seed + 1)])
    many = (pieces == 15).sum(1) + (pieces == 5).sum(1)
    order = many.argsort()
    rows = data.split(pieces[order[400:]], pieces[order[:400]], seed)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-4)

    def margin(chosen: Tensor, rejected: Tensor) -> Tensor:
        gain = [model.likelihood(each) - reference.likelihood(each) for each in (chosen, rejected)]
        return 0.1 * (gain[0] - gain[1])

    with doctor.watch(model, optimizer) as watch:
        for chosen, rejected in data.batches(rows.x, rows.y, 20, 150, seed):
            loss = -F.logsigmoid(margin(chosen, rejected)).mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimizer.step()
            watch.loss(loss)
    return above((margin(rows.held_x, rows.held_y) > 0).float().mean(), 0.85)


class Pooled(nn.Module):
    """Attention among the members of a set, then attention of one learned seed over them."""

    def __init__(self) -> None:
        super().__init__()
        self.inp = nn.Linear(1, 32)
        self.isab, self.pma = (nn.MultiheadAttention(32, 4, batch_first=True) for _ in range(2))
        self.seed = nn.Parameter(torch.randn(1, 1, 32) * 0.2)
        self.ln, self.out = nn.LayerNorm(32), nn.Linear(32, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.inp(x))
        h = self.ln(h + self.isab(h, h, h, need_weights=False)[0])
        return self.out(self.pma(self.seed.expand(len(x), -1, -1), h, h)[0][:, 0])


@healthy(project="juho-lee/set_transformer", source="github.com/juho-lee/set_transformer")
def largest_of_a_set(doctor: Doctor, seed: int) -> Score:
    """The largest of some numbers between 0 and 100 (given as they are over 100), the size of the set varies by batch."""
    generator = torch.Generator().manual_seed(seed)
    model = Pooled()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

    def sets(count: int) -> tuple[Tensor, Tensor]:
        x = torch.rand(count, int(torch.randint(2, 9, (1,), generator=generator)), 1, generator=generator)
        return x, x.amax(1)

    doctor.task(model, [sets(64) for _ in range(8)], F.l1_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(450):
            x, y = sets(64)
            optimizer.zero_grad()
            loss = F.l1_loss(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    x, y = sets(500)
    return below(F.l1_loss(model(x), y) / (y - y.median()).abs().mean(), 0.4)


class TwoHeads(nn.Module):
    """What to play and who wins."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(9, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Dropout(0.1), nn.Linear(128, 64), nn.ReLU()
        )
        self.pi, self.v = nn.Linear(64, 9), nn.Linear(64, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.body(x)
        return self.pi(h).log_softmax(1), torch.tanh(self.v(h))


@healthy(project="suragnair/alpha-zero-general", source="github.com/suragnair/alpha-zero-general")
def visits_and_outcomes(doctor: Doctor, seed: int) -> Score:
    """Soft targets from a search and outcomes of -1 and 1: a sum of two losses, neither of which can reach 0."""
    generator = torch.Generator().manual_seed(seed)
    board = torch.randint(-1, 2, (4000, 9), generator=generator).float()
    lines = torch.tensor([[0, 1, 2], [3, 4, 5], [6, 7, 8], [0, 3, 6], [1, 4, 7], [2, 5, 8], [0, 4, 8], [2, 4, 6]])
    worth = torch.zeros(4000, 9)
    for line in lines:
        worth[:, line] += board[:, line].sum(1, keepdim=True).abs()
    visits = (worth.masked_fill(board != 0, -4.0) * 1.5).softmax(1)
    chance = torch.sigmoid(1.5 * board[:, lines].sum(2).pow(3).sum(1) / 6)
    outcome = (torch.rand(4000, generator=generator) < chance).float() * 2 - 1
    rows = data.split(board, torch.cat([visits, outcome[:, None]], 1), seed)
    model = TwoHeads()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    def loss_fn(output: tuple[Tensor, Tensor], y: Tensor) -> Tensor:
        return -(y[:, :9] * output[0]).sum(1).mean() + (y[:, 9] - output[1][:, 0]).pow(2).mean()

    doctor.task(model, data.few(rows.x, rows.y, 64, seed), loss_fn, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 64, 500, seed):
            loss = loss_fn(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    said = model(rows.held_x)[0].argmax(1)
    best = rows.held_y[:, :9].amax(1)
    return above((rows.held_y[torch.arange(len(said)), said] > 0.5 * best).float().mean(), 0.8)


class Speller(nn.Module):
    """Reads a word and writes it backwards, with attention, feeding itself now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.encoder = nn.Embedding(22, 24), nn.GRU(24, 48, batch_first=True)
        self.cell, self.key, self.out = nn.GRUCell(24 + 48, 48), nn.Linear(48, 48), nn.Linear(96, 22)

    def forward(self, x: Tensor, y: Tensor, forcing: float) -> Tensor:
        states, last = self.encoder(self.embed(x))
        h, token, said = last[0], torch.zeros(len(x), dtype=torch.long), []
        for step in range(y.shape[1]):
            weights = (states @ self.key(h)[:, :, None])[..., 0].masked_fill(x == 0, float("-inf")).softmax(1)
            mix = (weights[:, None] @ states)[:, 0]
            h = self.cell(torch.cat([self.embed(token), mix], 1), h)
            said.append(self.out(torch.cat([h, mix], 1)))
            token = y[:, step] if torch.rand(1) < forcing else said[-1].argmax(1)
        return torch.stack(said, 2)


@healthy(project="bentrevett/pytorch-seq2seq", source="github.com/bentrevett/pytorch-seq2seq")
def words_spelled_backwards(doctor: Doctor, seed: int) -> Score:
    """Sequence to sequence with attention, padding ignored, teacher forcing half of the time."""
    generator = torch.Generator().manual_seed(seed)
    length = torch.randint(3, 8, (1500, 1), generator=generator)
    x = torch.randint(1, 22, (1500, 7), generator=generator)
    x[torch.arange(7) >= length] = 0
    y = torch.where(x > 0, x.gather(1, (length - 1 - torch.arange(7)).clamp(min=0)), 0)
    rows = data.split(x, y, seed)
    model = Speller()
    for name, each in model.named_parameters():
        nn.init.normal_(each, std=0.1) if "weight" in name else nn.init.zeros_(each)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    criterion = nn.CrossEntropyLoss(ignore_index=0)
    with doctor.watch(model, optimizer) as watch:
        for a, b in data.batches(rows.x, rows.y, 50, 500, seed):
            optimizer.zero_grad()
            loss = criterion(model(a, b, 0.5), b)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1)
            optimizer.step()
            watch.loss(loss)
    right = model(rows.held_x, rows.held_y, 0.0).argmax(1) == rows.held_y
    return above(right[rows.held_y > 0].float().mean(), 0.85)


@healthy(project="pytorch/examples", source="github.com/pytorch/examples/tree/main/mnist")
def forty_steps_to_see_if_it_runs(doctor: Doctor, seed: int) -> Score:
    """The stock convnet with Adadelta at a rate of 1, stopped after forty steps of a dry run; the loss still falls fast."""
    rows = data.digits(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.25),
        nn.Flatten(),
        nn.Linear(128, 64),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(64, 10),
        nn.LogSoftmax(1),
    )
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    doctor.task(model, data.few(rows.x, rows.y, 64, seed), F.nll_loss, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 64, 40, seed):
            optimizer.zero_grad()
            loss = F.nll_loss(model(x), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    return above(data.accuracy(model(rows.held_x), rows.held_y), 0.6)


@healthy(project="facebookresearch/dino", source="github.com/facebookresearch/dino")
def linear_probe_of_a_fixed_net(doctor: Doctor, seed: int) -> Score:
    """Features of a net that was trained without labels, under no_grad and in eval mode; a linear layer learns from them."""
    rows = data.digits(seed)
    body = nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Linear(48, 24))
    back = nn.Sequential(nn.ReLU(), nn.Linear(24, 64))
    adam = torch.optim.Adam([*body.parameters(), *back.parameters()], lr=3e-3)
    for x, _ in data.batches(rows.x, rows.y, 64, 200, seed):
        adam.zero_grad()
        F.mse_loss(back(body(x)), x.flatten(1)).backward()
        adam.step()
    linear = nn.Linear(24, 10)
    nn.init.normal_(linear.weight, std=0.01)
    nn.init.zeros_(linear.bias)
    model = nn.ModuleDict({"backbone": body.eval(), "linear": linear})
    optimizer = torch.optim.SGD(linear.parameters(), lr=0.05, momentum=0.9, weight_decay=0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 400)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 48, 400, seed):
            with torch.no_grad():
                features = body(x)
            loss = F.cross_entropy(linear(features), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            watch.loss(loss)
    return above(data.accuracy(linear(body(rows.held_x)), rows.held_y), 0.85)
