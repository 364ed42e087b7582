"""Healthy programs on graphs, views and plays: walks, two views of one thing, a lander, a large net for a small task."""

from __future__ import annotations

import copy

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, healthy
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.distributions import Categorical
from torch.nn import functional as F  # noqa: N812


@healthy(project="aditya-grover/node2vec", source="github.com/aditya-grover/node2vec")
def friends_by_the_walks_through_them(doctor: Doctor, seed: int) -> Score:
    """People in six circles by walks along friendships: who is near on a walk is drawn close, five of any kind are pushed off."""
    generator = torch.Generator().manual_seed(seed)
    circle = torch.arange(120) % 6
    chance = torch.where(circle[:, None] == circle, 0.3, 0.015)
    upper = (torch.rand(120, 120, generator=generator) < chance).triu(1)
    links = (upper | upper.T).float() + 1e-6
    links.fill_diagonal_(0.0)
    walks, before = [torch.arange(120).repeat(10)], None
    for _ in range(14):
        weight = links[walks[-1]]
        if before is not None:
            weight = weight * torch.where(links[before] > 0.5, 1.0, 0.5)
        before = walks[-1]
        walks.append(torch.multinomial(weight, 1, generator=generator)[:, 0])
    walked = torch.stack(walks, 1)
    pairs = torch.cat([torch.stack([walked[:, :-gap], walked[:, gap:]], 2).flatten(0, 1) for gap in (1, 2, 3)])
    often = torch.bincount(walked.flatten(), minlength=120).float() ** 0.75

    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.outer = nn.Embedding(120, 16), nn.Embedding(120, 16)
            nn.init.uniform_(self.inner.weight, -0.5 / 16, 0.5 / 16)
            nn.init.zeros_(self.outer.weight)

        def forward(self, who: Tensor, near: Tensor, any_one: Tensor) -> Tensor:
            h = self.inner(who)
            close = (h * self.outer(near)).sum(1)
            off = (self.outer(any_one) @ h[..., None])[..., 0]
            return -(F.logsigmoid(close) + F.logsigmoid(-off).sum(1)).mean()

    model = Skip()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    with doctor.watch(model, optimizer) as watch:
        for a, _ in data.batches(pairs, pairs, 256, 600, seed):
            any_one = torch.multinomial(often, 256 * 5, replacement=True, generator=generator).view(256, 5)
            loss = model(a[:, 0], a[:, 1], any_one)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        place = F.normalize(model.inner.weight)
        alike = place @ place.T - 2 * torch.eye(120)
    near = alike.topk(5).indices
    return above((circle[near] == circle[:, None]).float().mean(), 0.7)


@healthy(project="HobbitLong/CMC", source="github.com/HobbitLong/CMC")
def light_and_edges_of_one_digit(doctor: Doctor, seed: int) -> Score:
    """Digits as light and as edges, by two nets: each view must find its other among all kept in a memory; a line then reads."""
    rows = data.digits(seed)

    def views(x: Tensor) -> tuple[Tensor, Tensor]:
        padded = F.pad(x, (1, 1, 1, 1))
        return x, torch.cat([padded[:, :, 1:-1, 2:] - x, padded[:, :, 2:, 1:-1] - x], 1)

    def coder(channels: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(channels, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 24, 3, stride=2, padding=1),
            nn.BatchNorm2d(24), nn.ReLU(), nn.Flatten(), nn.Linear(384, 32),
        )  # fmt: skip

    nets = nn.ModuleDict({"light": coder(1), "edges": coder(2)})
    count = len(rows.x)
    memory = [F.normalize(torch.randn(count, 32)) for _ in range(2)]
    optimizer = torch.optim.SGD(nets.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    numbers = torch.arange(count)
    with doctor.watch(nets, optimizer) as watch:
        for a, number in data.batches(rows.x, numbers, 48, 250, seed):
            h = [F.normalize(net(view)) for net, view in zip(nets.values(), views(a), strict=True)]
            loss = F.cross_entropy(h[0] @ memory[1].T / 0.1, number) + F.cross_entropy(h[1] @ memory[0].T / 0.1, number)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            for kept, new in zip(memory, h, strict=True):
                kept[number] = F.normalize(0.5 * kept[number] + 0.5 * new.detach())
    nets.eval()
    with torch.no_grad():
        seen, held = (
            torch.cat([F.normalize(net(view)) for net, view in zip(nets.values(), views(x), strict=True)], 1)
            for x in (rows.x, rows.held_x)
        )
        hot = F.one_hot(rows.y, 10).float()
        line = torch.linalg.solve(seen.T @ seen + 0.1 * torch.eye(64), seen.T @ hot)
    return above(data.accuracy(held @ line, rows.held_y), 0.85)


@healthy(project="yandexdataschool/Practical_RL", source="github.com/yandexdataschool/Practical_RL")
def a_lander_set_down_softly(doctor: Doctor, seed: int) -> Score:
    """A lander that burns or not: whole falls are played, what followed less what was hoped for pushes the choices made."""
    generator = torch.Generator().manual_seed(seed)

    class Pilot(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.choice = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 2))
            self.hope = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 1))

    pilot = Pilot()
    optimizer = torch.optim.Adam(pilot.parameters(), lr=1e-2)

    def played(count: int, sure: bool) -> tuple[Tensor, Tensor, Tensor]:
        """What was seen (20, N, 2), chosen (20, N) and paid (20, N) in falls of twenty steps."""
        high, speed, kept = 1 + 0.3 * torch.rand(count, generator=generator), torch.zeros(count), []
        for _ in range(20):
            seen = torch.stack([2 * high - 1, 4 * speed], 1)
            with torch.no_grad():
                chance = pilot.choice(seen).softmax(1)
            burns = chance.argmax(1) if sure else torch.multinomial(chance, 1, generator=generator)[:, 0]
            speed = speed - 0.03 + 0.07 * burns
            pay = -((high - 0.05).abs() + 2 * speed.abs() * (high < 0.2)) - 2.0 * (high < 0) - 0.05 * burns
            high = (high + speed).clamp(-0.1, 2)
            kept.append((seen, burns, pay))
        seen, burns, pay = (torch.stack(each) for each in zip(*kept, strict=True))
        return seen, burns, pay

    begun = played(200, sure=False)[2].sum(0).mean()
    with doctor.watch(pilot, optimizer) as watch:
        for _ in range(150):
            seen, burns, pay = played(24, sure=False)
            later, total = torch.zeros_like(pay), torch.zeros(24)
            for step in reversed(range(20)):
                total = pay[step] + 0.95 * total
                later[step] = total
            choice, hope = Categorical(logits=pilot.choice(seen)), pilot.hope(seen)[..., 0]
            gain = later - hope.detach()
            policy = -(choice.log_prob(burns) * gain / (gain.std() + 1e-6)).mean()
            loss = policy + 0.1 * F.mse_loss(hope, later) - 0.01 * choice.entropy().mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(pilot.parameters(), 1.0)
            optimizer.step()
            watch.loss(loss)
    ended = played(200, sure=True)[2].sum(0).mean()
    return above(1 - ended / begun, 0.25)


@healthy(project="google-research/big_transfer", source="github.com/google-research/big_transfer")
def a_big_net_sent_to_a_small_task(doctor: Doctor, seed: int) -> Score:
    """A net with norms by groups and weights made even, that knows shapes, learns digits from few: mixed in pairs, a new head."""
    x, kinds, _ = data.shapes(1200, seed, size=8)

    class Even(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            mean, var = self.weight.mean((1, 2, 3), keepdim=True), self.weight.var((1, 2, 3), keepdim=True, unbiased=False)
            return F.conv2d(x, (self.weight - mean) / (var + 1e-10).sqrt(), self.bias, self.stride, self.padding)

    def unit(before: int, after: int, stride: int) -> list[nn.Module]:
        return [Even(before, after, 3, stride, 1, bias=False), nn.GroupNorm(4, after), nn.ReLU()]

    body = nn.Sequential(*unit(1, 16, 1), *unit(16, 32, 2), *unit(32, 48, 1), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    large = nn.Sequential(body, nn.Linear(192, 4))
    first = torch.optim.SGD(large.parameters(), lr=0.02, momentum=0.9)
    for a, b in data.batches(x, kinds, 32, 200, seed):
        first.zero_grad()
        F.cross_entropy(large(a), b).backward()
        first.step()
    rows = data.digits(seed)
    head = nn.Linear(192, 10)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    model = nn.Sequential(copy.deepcopy(body), head)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0, momentum=0.9)
    few_x, few_y = rows.x[:300], rows.y[:300]
    generator = torch.Generator().manual_seed(seed)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(few_x, few_y, 32, 220, seed)):
            for group in optimizer.param_groups:
                group["lr"] = 0.01 * min(1.0, (step + 1) / 30) * (0.1 ** sum(step >= at for at in (110, 170)))
            other, share = torch.randperm(32, generator=generator), float(torch.rand((), generator=generator))
            said = model(share * a + (1 - share) * a[other])
            loss = share * F.cross_entropy(said, b) + (1 - share) * F.cross_entropy(said, b[other])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 44 == 43:
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.8)
