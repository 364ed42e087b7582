"""Healthy programs of agents and graphs: a log of walks, answers in groups, letters between nodes, a tree, two wishes."""

from __future__ import annotations

import copy
import math

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, healthy
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(project="ikostrikov/implicit_q_learning", source="github.com/ikostrikov/implicit_q_learning")
def a_policy_out_of_an_old_log(doctor: Doctor, seed: int) -> Score:
    """Walks to a goal, learned from a log alone: a worth that leans to the upper side, and moves copied by how much they gain."""
    torch.manual_seed(seed)
    goal = torch.tensor([0.8, 0.8])

    def moved(place: Tensor, push: Tensor) -> Tensor:
        return (place + 0.15 * push.clamp(-1, 1)).clamp(-1, 1)

    place, push = 2 * torch.rand(6000, 2) - 1, 2 * torch.rand(6000, 2) - 1
    after = moved(place, push)
    paid = -(after - goal).norm(dim=1)

    def net(inputs: int, outputs: int) -> nn.Module:
        return nn.Sequential(nn.Linear(inputs, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, outputs))

    model = nn.ModuleDict({"q": net(4, 2), "v": net(2, 1), "policy": net(2, 2)})
    late = copy.deepcopy(model["q"]).requires_grad_(requires_grad=False)
    optimizers = [torch.optim.Adam(each.parameters(), lr=1e-3) for each in model.values()]
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizers[2], 900)
    with doctor.watch(model, optimizers) as watch:
        for rows, _ in data.batches(torch.arange(6000), torch.arange(6000), 64, 900, seed):
            both = torch.cat([place[rows], push[rows]], 1)
            worth, known = model["v"](place[rows])[:, 0], late(both).amin(1)
            gain = known - worth
            leaning = (torch.where(gain > 0, 0.8, 0.2) * gain.pow(2)).mean()
            target = paid[rows] + 0.9 * model["v"](after[rows])[:, 0].detach()
            judged = (model["q"](both) - target[:, None]).pow(2).mean()
            weight = (5 * gain.detach()).exp().clamp(max=100)
            copied = (weight * (torch.tanh(model["policy"](place[rows])) - push[rows]).pow(2).sum(1)).mean()
            for each in optimizers:
                each.zero_grad()
            (leaning + judged + copied).backward()
            for each in optimizers:
                each.step()
            schedule.step()
            watch.loss(leaning + judged + copied)
            with torch.no_grad():
                for old, new in zip(late.parameters(), model["q"].parameters(), strict=True):
                    old.lerp_(new, 0.01)
    with torch.no_grad():
        place = 2 * torch.rand(300, 2) - 1
        for _ in range(25):
            place = moved(place, torch.tanh(model["policy"](place)))
        return above(((place - goal).norm(dim=1) < 0.3).float().mean(), 0.8)


@healthy(project="huggingface/open-r1", source="github.com/huggingface/open-r1")
def answers_paid_beside_their_group(doctor: Doctor, seed: int) -> Score:
    """Four digits to be said in rising order: eight answers to each question, each paid beside the others, near an old self."""
    torch.manual_seed(seed)

    class Speaker(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.word, self.gru = nn.Embedding(7, 32), nn.GRU(32, 64, batch_first=True)
            self.mix, self.say = nn.Linear(64 + 6, 64), nn.Linear(64, 6)

        def forward(self, asked: Tensor, said: Tensor) -> Tensor:
            """Scores of each next digit, given the question and what was said of the answer."""
            begun = torch.cat([torch.full((len(said), 1), 6), said[:, :-1]], 1)
            h = self.gru(self.word(torch.cat([asked, begun], 1)))[0][:, asked.shape[1] :]
            left = F.one_hot(asked, 6).sum(1, keepdim=True) - F.one_hot(begun, 7)[:, :, :6].cumsum(1)
            return self.say(F.relu(self.mix(torch.cat([h, left.float()], 2))))

    def answered(model: nn.Module, asked: Tensor, best: bool = False) -> Tensor:
        said = torch.zeros(len(asked), 4, dtype=torch.long)
        for i in range(4):
            score = model(asked, said)[:, i]
            said[:, i] = score.argmax(1) if best else torch.distributions.Categorical(logits=score).sample()
        return said

    model = Speaker()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(60):
        asked = torch.randint(6, (64, 4))
        first = F.cross_entropy(model(asked, asked.sort(1).values).flatten(0, 1), asked.sort(1).values.flatten())
        optimizer.zero_grad()
        first.backward()
        optimizer.step()
    old = copy.deepcopy(model).requires_grad_(requires_grad=False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(90):
            asked = torch.randint(6, (24, 4)).repeat_interleave(8, 0)
            with torch.no_grad():
                said = answered(model, asked)
                then = model(asked, said).log_softmax(2).gather(2, said[:, :, None])[:, :, 0]
                near = old(asked, said).log_softmax(2).gather(2, said[:, :, None])[:, :, 0]
            paid = (said == asked.sort(1).values).float().mean(1).view(24, 8)
            gain = ((paid - paid.mean(1, keepdim=True)) / (paid.std(1, keepdim=True) + 1e-4)).view(-1, 1)
            for _ in range(2):
                now = model(asked, said).log_softmax(2).gather(2, said[:, :, None])[:, :, 0]
                ratio = (now - then).exp()
                drift = (near - now).exp() - (near - now) - 1
                loss = (-torch.minimum(ratio * gain, ratio.clamp(0.8, 1.2) * gain) + 0.02 * drift).mean()
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                watch.loss(loss)
    with torch.no_grad():
        asked = torch.randint(6, (400, 4))
        return above((answered(model, asked, best=True) == asked.sort(1).values).float().mean(), 0.85)


@healthy(project="twitter-research/tgn", source="github.com/twitter-research/tgn")
def letters_between_nodes_in_time(doctor: Doctor, seed: int) -> Score:
    """Who writes to whom next: each node has a memory that a letter changes, and that is cut off from its past."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    mood = torch.randint(5, (60,), generator=generator)
    sender = torch.randint(60, (9000,), generator=generator)
    receiver = torch.empty_like(sender)
    topic = torch.empty_like(sender)
    for i, who in enumerate(sender.tolist()):
        topic[i] = mood[who]
        receiver[i] = 60 + 8 * mood[who] + torch.randint(8, (), generator=generator)
        if torch.rand((), generator=generator) < 0.1:
            mood[who] = torch.randint(5, (), generator=generator)

    class Remembering(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("memory", torch.zeros(100, 32))
            self.memory: Tensor
            self.node, self.cell = nn.Embedding(100, 16), nn.GRUCell(48 + 5, 32)
            self.score = nn.Sequential(nn.Linear(96, 64), nn.ReLU(), nn.Linear(64, 1))

        def now(self, nodes: Tensor, news: tuple[Tensor, Tensor, Tensor]) -> Tensor:
            """The memory after the last batch of letters, by way of the cell, so that the cell is trained."""
            one, two, about = news
            told = torch.cat([self.memory[two], self.node(two), F.one_hot(about, 5)], 1)
            fresh = self.memory.index_copy(0, one, self.cell(told, self.memory[one]))
            self.fresh = fresh.detach()
            return torch.cat([fresh[nodes], self.node(nodes)], 1)

    model = Remembering()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    right, seen = 0.0, 0
    with doctor.watch(model, optimizer) as watch:
        for epoch in range(2):
            model.memory.zero_()
            news = sender[:1], receiver[:1], topic[:1]
            for step, rows in enumerate(torch.arange(9000).split(30)):
                one, two = sender[rows], receiver[rows]
                other = torch.randint(60, 100, (len(rows),))
                h = model.now(torch.cat([one, two, other]), news)
                a, b, c = h.chunk(3)
                good, bad = model.score(torch.cat([a, b], 1)), model.score(torch.cat([a, c], 1))
                loss = F.softplus(-good).mean() + F.softplus(bad).mean()
                if epoch and step > 200:
                    right, seen = right + (good > bad).float().sum().item(), seen + len(rows)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                watch.loss(loss)
                model.memory.copy_(model.fresh)
                news = one, two, topic[rows]
    return above(right / seen, 0.7)


class BallSGD(torch.optim.Optimizer):
    """Descent on the points of a ball: steps shrink towards its edge, and nobody leaves it."""

    def __init__(self, params: object, lr: float) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.add_(p.grad * ((1 - p.pow(2).sum(1, keepdim=True)) / 2).pow(2), alpha=-group["lr"])
                    p.mul_((0.999 / p.norm(dim=1, keepdim=True)).clamp(max=1))


@healthy(project="facebookresearch/poincare-embeddings", source="github.com/facebookresearch/poincare-embeddings")
def a_tree_inside_a_ball(doctor: Doctor, seed: int) -> Score:
    """Who stems from whom, as points in a ball where the edge is far away; a tenth of the rate at first."""
    torch.manual_seed(seed)
    parent = {child: (child - 1) // 3 for child in range(1, 121)}
    pairs = []
    for child in parent:
        at = child
        while at:
            at = parent[at]
            pairs.append((child, at))
    edges = torch.tensor(pairs)
    related = torch.eye(121).bool()
    related[edges[:, 0], edges[:, 1]] = True
    model = nn.Embedding(121, 3)
    nn.init.uniform_(model.weight, -1e-2, 1e-2)

    def far(a: Tensor, b: Tensor) -> Tensor:
        room = (1 - a.pow(2).sum(-1)) * (1 - b.pow(2).sum(-1))
        return torch.acosh(1 + 2 * (a - b).pow(2).sum(-1) / room + 1e-6)

    optimizer = BallSGD(model.parameters(), lr=1.2)
    with doctor.watch(model, optimizer) as watch:
        for step, (rows, _) in enumerate(data.batches(edges, edges, 40, 1500, seed)):
            optimizer.param_groups[0]["lr"] = 1.2 if step < 150 else 12.0
            others = torch.randint(121, (40, 15))
            apart = far(model(rows[:, :1]), model(torch.cat([rows[:, 1:], others], 1)))
            blind = torch.cat([torch.zeros(40, 1).bool(), related[rows[:, :1], others]], 1)
            loss = F.cross_entropy((-apart).masked_fill(blind, -math.inf), torch.zeros(40, dtype=torch.long))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        apart = far(model.weight[:, None], model.weight)
        wrong = apart.masked_fill(related, math.inf)
        rank = (wrong[edges[:, 0]] < apart[edges[:, 0], edges[:, 1], None]).float().sum(1)
        return above((1 / (1 + rank)).mean(), 0.6)


@healthy(project="Cranial-XIX/CAGrad", source="github.com/Cranial-XIX/CAGrad")
def two_wishes_that_pull_apart(doctor: Doctor, seed: int) -> Score:
    """Which shape it is and how large its place is: the gradients of both are taken apart, mixed by hand and put in."""
    torch.manual_seed(seed)
    x, kind, mask = data.shapes(900, seed)
    area = mask.float().mean((1, 2))[:, None]
    rows = data.split(x, torch.cat([kind[:, None].float(), (area - area.mean()) / area.std()], 1), seed)
    body = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 24, 3, padding=1), nn.ReLU())
    body.extend([nn.MaxPool2d(2), nn.Flatten(), nn.Linear(384, 48), nn.ReLU()])
    model = nn.ModuleDict({"body": body, "kind": nn.Linear(48, 4), "size": nn.Linear(48, 1)})
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    shared = list(body.parameters())
    with doctor.watch(model, optimizer) as watch:
        for seen, y in data.batches(rows.x, rows.y, 32, 300, seed):
            h = body(seen)
            losses = F.cross_entropy(model["kind"](h), y[:, 0].long()), F.mse_loss(model["size"](h), y[:, 1:])
            flat = torch.stack(
                [torch.cat([g.flatten() for g in torch.autograd.grad(each, shared, retain_graph=True)]) for each in losses]
            )
            optimizer.zero_grad()
            sum(losses).backward()
            mean, inner = flat.mean(0), flat @ flat.T
            shares = torch.linspace(0, 1, 21)[:, None]
            shares = torch.cat([shares, 1 - shares], 1)
            length = ((shares @ inner) * shares).sum(1).clamp(min=1e-12).sqrt()
            reach = 0.4 * mean.norm()
            best = shares[((shares @ inner).mean(1) + reach * length).argmin()]
            worst = best @ flat
            mixed = mean + reach * worst / worst.norm().clamp(min=1e-8)
            for p, g in zip(shared, mixed.split([p.numel() for p in shared]), strict=True):
                p.grad = g.view_as(p).clone()
            optimizer.step()
            watch.loss(sum(losses))
    model.eval()
    with torch.no_grad():
        h = body(rows.held_x)
        told = data.accuracy(model["kind"](h), rows.held_y[:, 0].long())
        return above(min(told, data.r2(model["size"](h), rows.held_y[:, 1:])), 0.7)
