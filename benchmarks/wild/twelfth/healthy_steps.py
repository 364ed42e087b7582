"""Healthy programs with steps of their own: actor and critic, weights of tasks, clusters, a machine of bits, longer rows."""

from __future__ import annotations

import copy

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(project="ghliu/pytorch-ddpg", source="github.com/ghliu/pytorch-ddpg")
def an_actor_through_its_critic(doctor: Doctor, seed: int) -> Score:
    """A cart is driven to the middle: the actor's loss is minus a value and goes far below 0; slow copies give targets."""
    generator = torch.Generator().manual_seed(seed)
    actor = nn.Sequential(nn.Linear(2, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 1), nn.Tanh())
    critic = nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    for last in (actor[4], critic[4]):
        nn.init.uniform_(last.weight, -3e-3, 3e-3)
    model = nn.ModuleDict({"actor": actor, "critic": critic})
    slow = copy.deepcopy(model).requires_grad_(requires_grad=False)
    first, second = torch.optim.Adam(actor.parameters(), lr=1e-3), torch.optim.Adam(critic.parameters(), lr=2e-3)

    def move(state: Tensor, push: Tensor) -> tuple[Tensor, Tensor]:
        speed = (0.9 * state[:, 1:] + 0.3 * push).clamp(-1, 1)
        place = (state[:, :1] + 0.3 * speed).clamp(-2, 2)
        return torch.cat([place, speed], 1), 1 - place.abs() - 0.1 * push.pow(2)

    state, kept = 4 * torch.rand(8, 2, generator=generator) - 2, []
    with doctor.watch(model, [first, second]) as watch:
        for step in range(700):
            with torch.no_grad():
                push = (actor(state) + 0.3 * torch.randn(8, 1, generator=generator)).clamp(-1, 1)
                after, pay = move(state, push)
            kept.append(torch.cat([state, push, pay, after], 1))
            state = 4 * torch.rand(8, 2, generator=generator) - 2 if step % 25 == 24 else after
            if step < 20:
                continue
            pool = torch.cat(kept[-400:])
            seen, done, paid, then = pool[torch.randint(len(pool), (64,), generator=generator)].split([2, 1, 1, 2], 1)
            with torch.no_grad():
                wanted = paid + 0.9 * slow["critic"](torch.cat([then, slow["actor"](then)], 1))
            wrong = F.mse_loss(critic(torch.cat([seen, done], 1)), wanted)
            second.zero_grad()
            wrong.backward()
            second.step()
            loss = -critic(torch.cat([seen, actor(seen)], 1)).mean()
            first.zero_grad()
            loss.backward()
            first.step()
            watch.loss(loss)
            with torch.no_grad():
                for mine, its in zip(slow.parameters(), model.parameters(), strict=True):
                    mine.lerp_(its, 0.02)
    state, total = 4 * torch.rand(200, 2, generator=generator) - 2, torch.zeros(())
    with torch.no_grad():
        for step in range(30):
            state, pay = move(state, actor(state))
            total += pay.mean() * (step >= 15)
    return above(total / 15, 0.75)


@healthy(project="brianlan/pytorch-grad-norm", source="github.com/brianlan/pytorch-grad-norm")
def tasks_whose_weights_are_learnt(doctor: Doctor, seed: int) -> Score:
    """Two tasks, the errors of one a hundred times as large; weights of both are trained until their gradients are as strong."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1500, 20, generator=generator)
    hidden = torch.tanh(x @ torch.randn(20, 30, generator=generator) / 3)
    y = torch.stack([hidden @ torch.randn(30, 1, generator=generator), 10 * hidden @ torch.randn(30, 1, generator=generator)], 1)[
        ..., 0
    ]
    rows = data.split(x, y, seed)
    body, heads = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU()), nn.Linear(64, 2)
    model = nn.ModuleDict({"body": body, "heads": heads})
    weights = nn.Parameter(torch.ones(2))
    optimizer, tuner = torch.optim.Adam(model.parameters(), lr=2e-3), torch.optim.Adam([weights], lr=2e-2)
    began = None
    with doctor.watch(model, [optimizer, tuner]) as watch:
        for a, b in data.batches(rows.x, rows.y, 50, 600, seed):
            tasks = (heads(body(a)) - b).pow(2).mean(0)
            began = tasks.detach() if began is None else began
            loss = (weights.detach() * tasks).sum()
            norms = torch.stack([torch.autograd.grad(each, body[2].weight, retain_graph=True)[0].norm() for each in tasks])
            strong = weights * norms.detach()
            pace = tasks.detach() / began
            wanted = (strong.mean() * (pace / pace.mean()) ** 0.12).detach()
            optimizer.zero_grad()
            loss.backward()
            tuner.zero_grad()
            (strong - wanted).abs().sum().backward()
            optimizer.step()
            tuner.step()
            with torch.no_grad():
                weights.clamp_(min=1e-3)
                weights.mul_(2 / weights.sum())
            watch.loss(loss)
    with torch.no_grad():
        said = heads(body(rows.held_x))
        return above(min(data.r2(said[:, k], rows.held_y[:, k]) for k in (0, 1)), 0.7)


@healthy(project="facebookresearch/swav", source="github.com/facebookresearch/swav")
def clusters_of_one_view_for_the_other(doctor: Doctor, seed: int) -> Score:
    """No labels: the cluster of one view is told from the other, shares evened out without a gradient."""
    rows = data.digits(seed)
    generator = torch.Generator().manual_seed(seed)
    x = rows.x.flatten(1)
    net = nn.Sequential(nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 24))
    model = nn.ModuleDict({"net": net, "prototypes": nn.Linear(24, 30, bias=False)})
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

    def view(a: Tensor) -> Tensor:
        image = F.pad(a.view(-1, 1, 8, 8), (1, 1, 1, 1))
        down, right = torch.randint(3, (2,), generator=generator).tolist()
        return image[:, :, down : down + 8, right : right + 8].flatten(1) + 0.1 * torch.randn(len(a), 64, generator=generator)

    def even(scores: Tensor) -> Tensor:
        share = (scores / 0.05).exp().T
        for _ in range(3):
            share = share / share.sum(1, keepdim=True) / 30
            share = share / share.sum(0, keepdim=True) / scores.shape[0]
        return (share * scores.shape[0]).T

    with doctor.watch(model, optimizer) as watch:
        for a, _ in data.batches(x, rows.y, 128, 350, seed):
            with torch.no_grad():
                model["prototypes"].weight.copy_(F.normalize(model["prototypes"].weight, dim=1))
            scores = [model["prototypes"](F.normalize(net(view(a)), dim=1)) for _ in range(2)]
            with torch.no_grad():
                wanted = [even(each) for each in scores]
            loss = -sum(((wanted[k] * (scores[1 - k] / 0.1).log_softmax(1)).sum(1).mean() for k in (0, 1)), torch.zeros(())) / 2
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    with torch.no_grad():
        known, asked = (model["prototypes"](F.normalize(net(each.flatten(1)), dim=1)).argmax(1) for each in (rows.x, rows.held_x))
        counts = torch.zeros(30, 10).index_put_((known, rows.y), torch.ones(()), accumulate=True)
        return above((counts.argmax(1)[asked] == rows.held_y).float().mean(), 0.55)


class Machine(nn.Module):
    """Bits that are seen, bits that are not, and what joins them."""

    def __init__(self) -> None:
        super().__init__()
        self.join = nn.Parameter(0.05 * torch.randn(64, 80))
        self.seen, self.hidden = nn.Parameter(torch.zeros(64)), nn.Parameter(torch.zeros(80))

    def energy(self, v: Tensor) -> Tensor:
        return -(v @ self.seen) - F.softplus(v @ self.join + self.hidden).sum(1)

    @torch.no_grad()
    def dream(self, v: Tensor, generator: torch.Generator) -> Tensor:
        """Seen bits after one turn to the hidden ones and back."""
        h = torch.bernoulli((v @ self.join + self.hidden).sigmoid(), generator=generator)
        return torch.bernoulli((h @ self.join.T + self.seen).sigmoid(), generator=generator)


@healthy(project="GabrielBianconi/pytorch-rbm", source="github.com/GabrielBianconi/pytorch-rbm")
def energies_of_data_and_of_dreams(doctor: Doctor, seed: int) -> Score:
    """The loss is the energy of digits minus that of dreams; it hovers near 0 and is no measure of how well it goes."""
    rows = data.digits(seed)
    generator = torch.Generator().manual_seed(seed)
    x, held = (rows.x > 0.5).float().flatten(1), (rows.held_x > 0.5).float().flatten(1)
    model = Machine()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.5, weight_decay=2e-4)
    dreams = torch.bernoulli(torch.full((50, 64), 0.3), generator=generator)
    with doctor.watch(model, optimizer) as watch:
        for a, _ in data.batches(x, rows.y, 50, 900, seed):
            dreams = model.dream(dreams, generator)
            loss = model.energy(a).mean() - model.energy(dreams).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        back = ((held @ model.join + model.hidden).sigmoid() @ model.join.T + model.seen).sigmoid()
        return below((back - held).abs().mean(), 0.15)


@healthy(project="wojciechz/learning_to_execute", source="github.com/wojciechz/learning_to_execute")
def rows_that_grow_longer(doctor: Doctor, seed: int) -> Score:
    """Sums of the digits so far, modulo 5; rows grow from 2 to 12 digits, and the loss goes up each time they do."""
    generator = torch.Generator().manual_seed(seed)

    class Running(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.rnn, self.out = nn.Embedding(5, 16), nn.LSTM(16, 64, batch_first=True), nn.Linear(64, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.rnn(self.embed(x))[0]).transpose(1, 2)

    model = Running()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=2e-3)
    with doctor.watch(model, optimizer) as watch:
        for step in range(1200):
            length = min(12, 2 + step // 80)
            x = torch.randint(5, (48, length), generator=generator)
            loss = F.cross_entropy(model(x), x.cumsum(1) % 5)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            watch.loss(loss)
    x = torch.randint(5, (300, 12), generator=generator)
    with torch.no_grad():
        return above((model(x).argmax(1) == x.cumsum(1) % 5).float().mean(), 0.8)
