"""Faults of what pulls: a loss cut off, gradients piled up, one logarithm for a whole batch, the hardest of all at once."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, fault
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Judge(nn.Module):
    """What it sees in a picture, and whether it takes it for real."""

    def __init__(self) -> None:
        super().__init__()
        self.see = nn.Sequential(nn.Conv2d(1, 12, 3, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(12, 24, 3, 2, 1), nn.LeakyReLU(0.2))
        self.say = nn.Linear(24 * 4, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        seen = self.see(x).flatten(1)
        return self.say(seen), seen


class Redraw(nn.Module):
    """A picture made small and drawn again, with a way across."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, 12, 3, 2, 1), nn.LeakyReLU(0.2))
        self.deep = nn.Sequential(nn.Conv2d(12, 24, 3, 2, 1), nn.BatchNorm2d(24), nn.LeakyReLU(0.2))
        self.up = nn.Sequential(nn.ConvTranspose2d(24, 12, 2, 2), nn.BatchNorm2d(12), nn.ReLU())
        self.out = nn.Sequential(nn.ConvTranspose2d(24, 1, 2, 2), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        across = self.down(x)
        return self.out(torch.cat([across, self.up(self.deep(across))], 1))


@fault(
    kind="no-gradient",
    also=("detached-generator", "other-loss"),
    project="samet-akcay/skip-ganomaly",
    source="github.com/samet-akcay/skip-ganomaly/issues/5",
    certain="What the judge sees in the drawn picture is taken after a detach, so this loss moves no weight of the drawer.",
)
def what_the_judge_sees_is_cut_off(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Digits 0 to 7 are drawn again, so that an 8 or 9 would stick out: the loss by what a judge sees in them is cut off."""
    torch.manual_seed(seed)
    rows = data.digits(seed)
    x, held = rows.x[rows.y < 8], rows.held_x[rows.held_y < 8]
    drawer, judge = Redraw(), Judge()
    model = nn.ModuleDict({"drawer": drawer, "judge": judge})
    optimizers = [torch.optim.Adam(each.parameters(), lr=2e-3, betas=(0.5, 0.999)) for each in (drawer, judge)]
    with doctor.watch(model, optimizers) as watch:
        for real, _ in data.batches(x, x, 32, 250, seed):
            drawn = drawer(real)
            said_real, seen_real = judge(real)
            said_drawn, seen_drawn = judge(drawn.detach())
            fooled, seen = judge(drawn)
            ones = torch.ones(len(real), 1)
            latent = F.mse_loss(seen if cured else seen_drawn, seen_real.detach())
            loss = F.binary_cross_entropy_with_logits(fooled, ones) + 40 * F.l1_loss(drawn, real) + latent
            optimizers[0].zero_grad()
            loss.backward(retain_graph=True)
            optimizers[0].step()
            optimizers[1].zero_grad()
            judged = F.binary_cross_entropy_with_logits(said_real, ones) + F.binary_cross_entropy_with_logits(
                said_drawn, 0 * ones
            )
            judged.backward()
            optimizers[1].step()
            watch.loss(loss)
    model.eval()
    with torch.no_grad():
        return above(data.r2(drawer(held).flatten(), held.flatten()), 0.8)


@fault(
    kind="missing-zero-grad",
    also=("learning-rate-too-high",),
    project="meta-pytorch/torchforge",
    source="github.com/meta-pytorch/torchforge/pull/71",
)
def groups_whose_gradients_pile_up(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Three words to each of twelve questions, eight tries a question, each paid by how it does among the eight."""
    torch.manual_seed(seed)
    kinds, group = 12, 8

    class Policy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.word, self.gru, self.say = nn.Embedding(2 * kinds, 32), nn.GRU(32, 48, batch_first=True), nn.Linear(48, kinds)

        def forward(self, words: Tensor) -> Tensor:
            return self.say(self.gru(self.word(words))[0])

    model = Policy()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)

    def tried(question: Tensor) -> Tensor:
        words = kinds + question[:, None]
        with torch.no_grad():
            for _ in range(3):
                words = torch.cat([words, torch.multinomial(model(words)[:, -1].softmax(1), 1)], 1)
        return words

    def pay(words: Tensor) -> Tensor:
        wanted = (words[:, :1] - kinds + torch.tensor([0, 3, 7])) % kinds
        return (words[:, 1:] == wanted).float().mean(1)

    with doctor.watch(model, optimizer) as watch:
        for _ in range(500):
            words = tried(torch.randperm(kinds)[:8].repeat_interleave(group))
            paid = pay(words).view(-1, group)
            gain = ((paid - paid.mean(1, keepdim=True)) / (paid.std(1, keepdim=True) + 1e-4)).view(-1, 1)
            said = model(words[:, :-1]).log_softmax(2).gather(2, words[:, 1:, None])[:, :, 0]
            loss = -((said - said.detach()).exp() * gain).mean()
            if cured:
                optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    return above(pay(tried(torch.arange(kinds).repeat(20))).mean(), 0.72)


class Tastes(nn.Module):
    """Users and things, each moved towards those it has to do with, along a graph."""

    def __init__(self, graph: Tensor) -> None:
        super().__init__()
        self.user, self.thing = nn.Embedding(graph.shape[0], 16), nn.Embedding(graph.shape[1], 16)
        for each in (self.user, self.thing):
            nn.init.normal_(each.weight, std=0.1)
        self.layer = nn.Linear(16, 16)
        self.register_buffer("to_user", graph / graph.sum(1, keepdim=True).clamp(min=1))
        self.register_buffer("to_thing", graph.T / graph.sum(0)[:, None].clamp(min=1))

    def forward(self) -> tuple[Tensor, Tensor]:
        user, thing = self.user.weight, self.thing.weight
        return user + self.layer(self.to_user @ thing), thing + self.layer(self.to_thing @ user)


@fault(
    kind="other-loss",
    also=("collapsed-embedding", "saturation", "no-gradient"),
    project="discuss.pytorch.org/111510",
    source="discuss.pytorch.org/t/feature-embeddings-for-each-user-and-item-are-identical/111510",
)
def one_logarithm_for_a_whole_batch(doctor: Doctor, seed: int, cured: bool) -> Score:
    """What users like, by pairs of a thing they had and one they had not: the differences are summed before the logarithm."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    taste, trait = torch.randn(150, 4, generator=generator), torch.randn(120, 4, generator=generator)
    like = taste @ trait.T + 1.5 * torch.randn(120, generator=generator)
    had = torch.rand(150, 120, generator=generator) < (2 * like - 3).sigmoid()
    test = had & (torch.rand(150, 120, generator=generator) < 0.25)
    known = (had & ~test).float()
    pairs = known.nonzero()
    model = Tastes(known)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(400):
            row = pairs[torch.randint(len(pairs), (256,), generator=generator)]
            other = torch.multinomial(1 - known[row[:, 0]], 1, generator=generator)[:, 0]
            user, thing = model()
            ahead = (user[row[:, 0]] * (thing[row[:, 1]] - thing[other])).sum(1)
            loss = -F.logsigmoid(ahead).mean() if cured else -F.logsigmoid(ahead.sum())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        user, thing = model()
        score = user @ thing.T
        first, second = test.nonzero(), torch.multinomial((~had).float(), 20, replacement=True, generator=generator)
        return above((score[first[:, 0], first[:, 1]][:, None] > score[first[:, :1], second[first[:, 0]]]).float().mean(), 0.83)


@fault(
    kind="collapsed-embedding",
    also=("learning-rate-too-high", "dead-units"),
    project="qdrant/quaterion",
    source="quaterion.qdrant.tech/tutorials/triplet_loss_trick.html",
)
def the_hardest_of_all_at_once(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Digits under noise in a space: each is pulled to its farthest like and off its nearest unlike."""
    torch.manual_seed(seed)
    rows = data.digits(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.Flatten(),
        nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 16),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)

    def hardest(point: Tensor, kind: Tensor) -> Tensor:
        far = ((point[:, None] - point[None]).pow(2).sum(2) + 1e-8).sqrt()
        like = kind[:, None] == kind[None]
        near = (far + 1e6 * like).amin(1)
        apart = (far * like).amax(1) - near
        return F.relu(apart / near.mean() + 1.0 if cured else apart + 1.0).mean()

    doctor.task(model, data.few(rows.x, rows.y, 64, seed), hardest, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for x, y in data.batches(rows.x, rows.y, 64, 250, seed):
            optimizer.zero_grad()
            loss = hardest(model(x + 0.7 * torch.randn_like(x)), y)
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        near = torch.cdist(model(rows.held_x), model(rows.x)).topk(5, 1, largest=False).indices
        return above((rows.y[near].mode(1).values == rows.held_y).float().mean(), 0.85)
