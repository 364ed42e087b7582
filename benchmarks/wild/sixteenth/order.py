"""Faults of order and state: rows by class, states kept or lost, a file half loaded, a mask too late, a value not cut off."""

from __future__ import annotations

import copy

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="sorted-data",
    project="tensorflow/tensorflow",
    source="github.com/tensorflow/tensorflow/issues/50426",
)
def batches_are_mixed_and_not_rows(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Digits from folders, one for each class: batches are cut first and mixed after, so that a batch holds one class."""
    rows = data.digits(seed)
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    model.extend([nn.Linear(144, 64), nn.ReLU(), nn.Linear(64, 10)])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    order = rows.y.argsort()
    with doctor.watch(model, optimizer) as watch:
        for _ in range(12):
            if cured:
                order = order[torch.randperm(len(order), generator=generator)]
            batches = order.split(32)
            model.train()
            for k in torch.randperm(len(batches), generator=generator).tolist():
                loss = F.cross_entropy(model(rows.x[batches[k]]), rows.y[batches[k]])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                watch.loss(loss)
            model.eval()
            with torch.no_grad():
                watch.dev_loss(F.cross_entropy(model(rows.held_x), rows.held_y))
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.85)


@fault(
    kind="batch-mixing",
    where="gru",
    project="paxcema/KerasGRU4Rec",
    source="github.com/paxcema/KerasGRU4Rec/issues/1",
)
def a_state_wiped_one_step_too_late(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Visits to a shop run side by side: where a new one begins, the state of the old one is wiped after the step, not before."""
    generator = torch.Generator().manual_seed(seed)
    goods, lanes = 12, 32

    class Shop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.gru, self.out = nn.Embedding(goods, 24), nn.GRUCell(24, 48), nn.Linear(48, goods)

        def forward(self, item: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
            state = self.gru(self.embed(item), state)
            return self.out(state), state

    model = Shop()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    item = torch.randint(goods, (lanes,), generator=generator)
    first, step_of, state = item.clone(), torch.zeros(lanes, dtype=torch.long), torch.zeros(lanes, 48)
    right: list[float] = []
    with doctor.watch(model, optimizer) as watch:
        for step in range(900):
            begins = step_of == 0
            if cured:
                state = state.masked_fill(begins[:, None], 0.0)
            later = torch.where(begins, (item + 5) % goods, (item + first) % goods)
            said, state = model(item, state.detach())
            loss = F.cross_entropy(said, later)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step >= 700 and begins.any():
                right.append((said.argmax(1) == later)[begins].float().mean().item())
            if not cured:
                state = state.masked_fill(begins[:, None], 0.0)
            ends = torch.rand(lanes, generator=generator) < 0.35
            item = torch.where(ends, torch.randint(goods, (lanes,), generator=generator), later)
            first = torch.where(ends, item, first)
            step_of = torch.where(ends, 0, step_of + 1)
    return above(sum(right) / len(right), 0.85)


@fault(
    kind="underfitting",
    where="gru",
    project="hungpthanh/GRU4REC-pytorch",
    source="github.com/hungpthanh/GRU4REC-pytorch/issues/1",
)
def a_state_lost_by_a_slip_of_the_pen(doctor: Doctor, seed: int, cured: bool) -> Score:
    """What comes next in a visit: the new state goes to a misspelt name, and each step starts from the first state again."""
    generator = torch.Generator().manual_seed(seed)
    goods, long = 12, 6

    def visits(count: int) -> Tensor:
        """Things looked at (N, 7): each next one is a step on by as much as the one before the last tells."""
        seen = [torch.randint(goods, (count,), generator=generator) for _ in range(2)]
        for _ in range(long - 1):
            seen.append((seen[-1] + seen[-2] % 4 + 1) % goods)
        return torch.stack(seen, 1)

    class Shop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.gru, self.out = nn.Embedding(goods, 24), nn.GRUCell(24, 64), nn.Linear(64, goods)

        def forward(self, items: Tensor) -> Tensor:
            hidden, said = torch.zeros(len(items), 64), []
            for step in range(items.shape[1]):
                new = self.gru(self.embed(items[:, step]), hidden)
                said.append(self.out(new))
                if cured:
                    hidden = new
            return torch.stack(said, 2)

    x, held = visits(1200), visits(300)
    rows = data.Split(x[:, :-1], x[:, 1:], held[:, :-1], held[:, 1:])
    model = Shop()
    optimizer = torch.optim.Adagrad(model.parameters(), lr=0.05)

    def loss_fn(said: Tensor, wanted: Tensor) -> Tensor:
        return F.cross_entropy(said[..., 1:], wanted[:, 1:])

    doctor.task(model, data.few(rows.x, rows.y, 50, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 50, 600, seed), rows)
    with torch.no_grad():
        return above((model(rows.held_x).argmax(1) == rows.held_y)[:, 1:].float().mean(), 0.8)


@fault(
    kind="optimiser-state-lost",
    project="whwu95/Cap4Video",
    source="github.com/whwu95/Cap4Video/issues/23",
)
def the_optimiser_comes_back_without_the_net(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A run goes on from a file: the optimiser and the slow end of its schedule are loaded, the weights are the first ones."""
    x, y = data.teacher(1200, 10, 2, seed)
    rows = data.split(x, y, seed)
    net = nn.Sequential(nn.Linear(10, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2))
    fresh = copy.deepcopy(net)
    epochs, steps = 20, 28
    first = torch.optim.AdamW(net.parameters(), lr=2e-3)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(first, epochs * steps)
    for a, b in data.batches(rows.x, rows.y, 32, 17 * steps, seed):
        first.zero_grad()
        F.mse_loss(net(a), b).backward()
        first.step()
        falling.step()
    saved = copy.deepcopy((net.state_dict(), first.state_dict(), falling.state_dict()))

    model = fresh
    if cured:
        model.load_state_dict(saved[0])
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * steps)
    optimizer.load_state_dict(saved[1])
    schedule.load_state_dict(saved[2])
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 32, 3 * steps, seed + 1)):
            loss = F.mse_loss(model(a), b)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            watch.loss(loss)
            if step % steps == steps - 1:
                with torch.no_grad():
                    watch.dev_loss(F.mse_loss(model(rows.held_x), rows.held_y))
    with torch.no_grad():
        return below(F.mse_loss(model(rows.held_x), rows.held_y), 0.16)


@fault(
    kind="other-loss",
    where="critic",
    project="astariul/encode-attend-navigate-pytorch",
    source="github.com/astariul/encode-attend-navigate-pytorch/pull/3",
)
def a_critic_pushed_by_the_policys_loss(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Which of many stops comes first: the critic's value is not detached in the policy's loss, which drives it away."""
    generator = torch.Generator().manual_seed(seed)
    stops = 40

    def trips(count: int) -> Tensor:
        return torch.rand(count, stops, 2, generator=generator) * 2 - 1

    actor = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
    critic = nn.Sequential(nn.Flatten(), nn.Linear(2 * stops, 32), nn.ReLU(), nn.Linear(32, 1))
    model = nn.ModuleDict({"actor": actor, "critic": critic})
    first, second = torch.optim.Adam(actor.parameters(), lr=3e-3), torch.optim.Adam(critic.parameters(), lr=3e-3)
    with doctor.watch(model, [first, second]) as watch:
        for _ in range(500):
            x = trips(24)
            log = actor(x)[..., 0].log_softmax(1)
            pick = torch.multinomial(log.detach().exp(), 1, generator=generator)
            way = x.gather(1, pick[..., None].expand(-1, -1, 2))[:, 0].norm(dim=1)
            value = critic(x)[:, 0]
            better = way - (value.detach() if cured else value)
            policy = (better * log.gather(1, pick)[:, 0]).mean()
            wrong = F.smooth_l1_loss(value, way)
            loss = policy + wrong
            first.zero_grad()
            second.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            first.step()
            second.step()
            watch.loss(loss)
    x = trips(400)
    with torch.no_grad():
        best = actor(x)[..., 0].argmax(1)
    return below(x[torch.arange(400), best].norm(dim=1).mean(), 0.25)


@fault(
    kind="non-finite",
    where="attend",
    also=("padding",),
    project="huggingface/pytorch-image-models",
    source="github.com/huggingface/pytorch-image-models/pull/2236",
)
def a_mask_put_on_after_the_softmax(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Pictures of unlike size as rows of patches: patches that are not there are set to minus infinity, after the softmax."""
    generator = torch.Generator().manual_seed(seed)
    x, y, _ = data.shapes(800, seed, noise=0.1)
    patches = F.unfold(x, 4, stride=4).transpose(1, 2)
    patches = torch.cat([patches, torch.zeros(800, 4, 16)], 1)
    room = torch.randint(16, 20, (800, 1), generator=generator)
    there = torch.arange(20) < room
    rows = data.split(torch.cat([patches, there[..., None].float()], 2), y, seed)

    class Attend(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv, self.proj = nn.Linear(48, 144), nn.Linear(48, 48)

        def forward(self, h: Tensor, mask: Tensor) -> Tensor:
            q, k, v = self.qkv(h).view(len(h), -1, 3, 4, 12).permute(2, 0, 3, 1, 4)
            score, gone = q @ k.transpose(2, 3) / 12**0.5, ~mask[:, None, None, :]
            if cured:
                weight = score.masked_fill(gone, float("-inf")).softmax(3)
            else:
                weight = score.softmax(3).masked_fill(gone, float("-inf"))
            return self.proj((weight @ v).transpose(1, 2).flatten(2))

    class Vit(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.places = nn.Linear(16, 48), nn.Parameter(0.02 * torch.randn(20, 48, generator=generator))
            self.norm, self.attend, self.second = nn.LayerNorm(48), Attend(), nn.LayerNorm(48)
            self.mlp, self.head = nn.Sequential(nn.Linear(48, 96), nn.GELU(), nn.Linear(96, 48)), nn.Linear(48, 4)

        def forward(self, seen: Tensor) -> Tensor:
            mask = seen[..., 16] > 0
            h = self.embed(seen[..., :16]) + self.places
            h = h + self.attend(self.norm(h), mask)
            h = h + self.mlp(self.second(h))
            return self.head((h * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))

    model = Vit()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 32, 500, seed), rows)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.7)


@fault(kind="other-loss", project="keras-team/keras-io", source="github.com/keras-team/keras-io/issues/194")
def a_value_that_is_no_constant_for_the_actor(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A pole held by actor and critic on one shared layer: the value's own slope runs through the actor's loss."""
    generator = torch.Generator().manual_seed(seed)

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.common = nn.Sequential(nn.Linear(2, 64), nn.ReLU())
            self.actor, self.critic = nn.Linear(64, 2), nn.Linear(64, 1)

        def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
            h = self.common(state)
            return self.actor(h).log_softmax(1), self.critic(h)[:, 0]

    model = Both()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    games, long = 4, 60

    def play(count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probabilities, values and whether the game went on (T, N)."""
        state, up = torch.rand(count, 2, generator=generator) * 0.4 - 0.2, torch.ones(count)
        logs, values, alive = [], [], []
        for _ in range(long):
            log, value = model(state)
            move = torch.multinomial(log.detach().exp(), 1, generator=generator)
            logs.append(log.gather(1, move)[:, 0])
            values.append(value)
            alive.append(up)
            push = 0.08 * (2 * move - 1)
            speed = state[:, 1:] + 0.15 * state[:, :1] + push + 0.02 * torch.randn(count, 1, generator=generator)
            state = torch.cat([state[:, :1] + 0.3 * speed, speed], 1)
            up = up * (state[:, 0].abs() < 0.6)
        return torch.stack(logs), torch.stack(values), torch.stack(alive)

    with doctor.watch(model, optimizer) as watch:
        for _ in range(60):
            logs, values, alive = play(games)
            total, returns = torch.zeros(games), []
            for each in alive.flip(0):
                total = each + 0.99 * total
                returns.append(total)
            goal = torch.stack(returns[::-1])
            goal = (goal - goal[alive > 0].mean()) / (goal[alive > 0].std() + 1e-6)
            better = goal - (values.detach() if cured else values)
            actor = -(logs * better * alive).sum() / games
            critic = (F.smooth_l1_loss(values, goal, reduction="none") * alive).sum() / games
            loss = actor + critic
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return above(play(64)[2].sum(0).mean(), 42)


@fault(kind="sorted-data", project="keras-team/keras", source="github.com/keras-team/keras/issues/3894")
def the_last_fifth_is_another_kind(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Digits sorted by class: the last fifth is set aside for checks before anything is mixed, and is never learnt."""
    rows = data.digits(seed)
    order = rows.y.argsort() if not cured else torch.arange(len(rows.y))
    x, y = rows.x[order], rows.y[order]
    cut = len(x) * 4 // 5
    parts = data.Split(x[:cut], y[:cut], x[cut:], y[cut:])
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 10))
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)
    doctor.task(model, data.few(parts.x, parts.y, 32, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(parts.x, parts.y, 32, 500, seed), parts, every=33)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.88)
