"""Healthy programs on time, force, play and likeness: a gauge that breaks, a weight on a spring, a pole, noise, two views."""

from __future__ import annotations

import copy
import math

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, healthy
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@healthy(project="khundman/telemanom", source="github.com/khundman/telemanom")
def a_gauge_that_breaks_its_habit(doctor: Doctor, seed: int) -> Score:
    """The next value of a noisy gauge from the last 25, learned while it is well; where it errs much, something is wrong."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(2400.0)
    gauge = (time / 6).sin() + 0.4 * (time / 17).cos() + 0.1 * torch.randn(2400, generator=generator)
    broken = (time > 2000) & (time % 100 < 15)
    gauge = torch.where(broken, 0.6 * torch.randn(2400, generator=generator), gauge)
    x, y = gauge.unfold(0, 25, 1)[:-1, :, None], gauge[25:, None]

    class Teller(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.read, self.dropout, self.out = nn.LSTM(1, 32, batch_first=True), nn.Dropout(0.1), nn.Linear(32, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.dropout(self.read(x)[0][:, -1]))

    model = Teller()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    best, state, waited = 9.0, copy.deepcopy(model.state_dict()), 0
    with doctor.watch(model, optimizer) as watch:
        for epoch in range(15):
            model.train()
            for a, b in data.batches(x[:1600], y[:1600], 50, 32, seed + epoch):
                optimizer.zero_grad()
                loss = F.mse_loss(model(a), b)
                loss.backward()
                optimizer.step()
                watch.loss(loss)
            model.eval()
            with torch.no_grad():
                held = float(F.mse_loss(model(x[1600:1950]), y[1600:1950]))
            watch.dev_loss(held)
            waited = 0 if held < best else waited + 1
            if waited == 0:
                best, state = held, copy.deepcopy(model.state_dict())
            elif waited == 4:
                break
    model.load_state_dict(state)
    model.eval()
    with torch.no_grad():
        off = (model(x[1975:]) - y[1975:]).abs()[:, 0]
    wrong = broken[2000:]
    loud = off[wrong].median() / off[~wrong].median()
    return above(loud, 3.0)


@healthy(project="jayroxis/PINNs", source="github.com/jayroxis/PINNs")
def a_weight_on_a_spring_by_its_law(doctor: Doctor, seed: int) -> Score:
    """A weight that swings and tires, seen a few times at the start: the rest of its way is told by the law it must keep."""
    generator = torch.Generator().manual_seed(seed)
    drag, pull = 0.6, 9.0
    turn = math.sqrt(pull - drag**2 / 4)

    def truth(t: Tensor) -> Tensor:
        return (-drag / 2 * t).exp() * ((turn * t).cos() + drag / 2 / turn * (turn * t).sin())

    seen = torch.linspace(0, 1.0, 12)[:, None]
    heard = truth(seen) + 0.01 * torch.randn(12, 1, generator=generator)

    class Pinn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(1, 40), nn.Tanh(), nn.Linear(40, 40), nn.Tanh(), nn.Linear(40, 1))
            for layer in self.body:
                if isinstance(layer, nn.Linear):
                    nn.init.xavier_normal_(layer.weight)

        def forward(self, t: Tensor) -> Tensor:
            return self.body(2 * t - 2)

    model = Pinn()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9985)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(1400):
            t = (2 * torch.rand(64, 1, generator=generator)).requires_grad_()
            u = model(t)
            speed = torch.autograd.grad(u.sum(), t, create_graph=True)[0]
            force = torch.autograd.grad(speed.sum(), t, create_graph=True)[0]
            law = (force + drag * speed + pull * u).pow(2).mean()
            loss = F.mse_loss(model(seen), heard) + 1e-2 * law
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            watch.loss(loss)
    t = torch.linspace(0, 2, 200)[:, None]
    with torch.no_grad():
        return below((model(t) - truth(t)).pow(2).mean().sqrt(), 0.15)


class ActorCritic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.actor = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 2))
        self.critic = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.actor(2 * x).log_softmax(1), self.critic(2 * x)[:, 0]


@healthy(project="higgsfield/RL-Adventure-2", source="github.com/higgsfield/RL-Adventure-2")
def a_pole_kept_up_by_small_changes(doctor: Doctor, seed: int) -> Score:
    """A pole that falls over, pushed left or right: many at once, gains summed up, and no step too far from what was done."""
    generator = torch.Generator().manual_seed(seed)

    def push(state: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        """Angle and speed a moment later, and whether it has fallen."""
        angle, speed = state.unbind(1)
        speed = speed + 0.08 * (3 * angle.sin() + 3.0 * (2 * right - 1)) + 0.02 * torch.randn(len(state), generator=generator)
        angle = angle + 0.08 * speed
        return torch.stack([angle, speed], 1), (angle.abs() > 0.6).float()

    def start(count: int) -> Tensor:
        return 0.2 * torch.rand(count, 2, generator=generator) - 0.1

    model = ActorCritic()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, eps=1e-5)
    state = start(16)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(30):
            states, actions, olds, values, ends = [], [], [], [], []
            with torch.no_grad():
                for _ in range(32):
                    log_probs, value = model(state)
                    action = torch.multinomial(log_probs.exp(), 1, generator=generator)[:, 0]
                    new, fell = push(state, action.float())
                    states.append(state), actions.append(action), values.append(value), ends.append(fell)
                    olds.append(log_probs.gather(1, action[:, None])[:, 0])
                    state = torch.where(fell[:, None] > 0, start(16), new)
                gain, after, gains = torch.zeros(16), model(state)[1], []
                for value, fell in zip(reversed(values), reversed(ends), strict=True):
                    gain = (0.1 * (1 - fell) - fell) + 0.97 * after * (1 - fell) - value + 0.97 * 0.95 * (1 - fell) * gain
                    after = value
                    gains.insert(0, gain)
            every = [torch.cat(each) for each in (states, actions, olds, gains, values)]
            returns = every[3] + every[4]
            better = (every[3] - every[3].mean()) / (every[3].std() + 1e-8)
            for _ in range(3):
                for rows in torch.randperm(512, generator=generator).split(128):
                    log_probs, value = model(every[0][rows])
                    ratio = (log_probs.gather(1, every[1][rows][:, None])[:, 0] - every[2][rows]).exp()
                    near = torch.min(ratio * better[rows], ratio.clamp(0.8, 1.2) * better[rows]).mean()
                    entropy = -(log_probs.exp() * log_probs).sum(1).mean()
                    loss = -near + 0.5 * F.mse_loss(value, returns[rows]) - 0.005 * entropy
                    optimizer.zero_grad()
                    loss.backward()
                    nn.utils.clip_grad_norm_(model.parameters(), 0.5)
                    optimizer.step()
                    watch.loss(loss)
    state, up = start(200), torch.ones(200)
    for _ in range(100):
        with torch.no_grad():
            state, fell = push(state, model(state)[0].argmax(1).float())
        up = up * (1 - fell)
    return above(up.mean(), 0.8)


@healthy(project="tqch/ddpm-torch", source="github.com/tqch/ddpm-torch")
def a_ring_of_eight_out_of_noise(doctor: Doctor, seed: int) -> Score:
    """Points in eight heaps on a ring: a net tells the noise in them at any of 50 steps, and its average takes it away."""
    generator = torch.Generator().manual_seed(seed)
    betas = torch.linspace(1e-3, 0.2, 50)
    kept = (1 - betas).cumprod(0)
    middles = 1.5 * torch.stack([(torch.arange(8) * 0.7854).cos(), (torch.arange(8) * 0.7854).sin()], 1)

    class Noise(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.time = nn.Embedding(50, 32)
            self.first, self.second, self.third = nn.Linear(34, 128), nn.Linear(128, 128), nn.Linear(128, 128)
            self.out = nn.Linear(128, 2)

        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            h = F.silu(self.first(torch.cat([x, self.time(t)], 1)))
            h = h + F.silu(self.second(h))
            return self.out(h + F.silu(self.third(h)))

    model = Noise()
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    with doctor.watch(model, optimizer) as watch:
        for step in range(1500):
            for group in optimizer.param_groups:
                group["lr"] = 3e-3 * min(1.0, (step + 1) / 100, 1.5 - step / 1000)
            x = middles[torch.randint(8, (128,), generator=generator)] + 0.1 * torch.randn(128, 2, generator=generator)
            t, noise = torch.randint(50, (128,), generator=generator), torch.randn(128, 2, generator=generator)
            seen = kept[t, None].sqrt() * x + (1 - kept[t, None]).sqrt() * noise
            loss = F.mse_loss(model(seen, t), noise)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            average.update_parameters(model)
            watch.loss(loss)
    x = torch.randn(400, 2, generator=generator)
    with torch.no_grad():
        for t in reversed(range(50)):
            noise = average(x, torch.full((400,), t))
            x = (x - betas[t] / (1 - kept[t]).sqrt() * noise) / (1 - betas[t]).sqrt()
            if t:
                x = x + betas[t].sqrt() * torch.randn(400, 2, generator=generator)
    far, which = torch.cdist(x, middles).min(1)
    full = (torch.bincount(which, minlength=8) > 15).float().mean()
    return above(full * (far < 0.5).float().mean(), 0.55)


@healthy(project="emadeldeen24/TS-TCC", source="github.com/emadeldeen24/TS-TCC")
def rhythms_known_by_two_views(doctor: Doctor, seed: int) -> Score:
    """Four rhythms without their names: two shaken views of one are to be alike among all; neighbours then tell them apart."""
    generator = torch.Generator().manual_seed(seed)
    kind = torch.randint(4, (1000,), generator=generator)
    speed = torch.tensor([0.3, 0.55, 0.8, 1.1])[kind, None]
    start = 6.28 * torch.rand(1000, 1, generator=generator)
    x = (speed * torch.arange(48.0) + start).sin() * (0.7 + 0.6 * torch.rand(1000, 1, generator=generator))
    x = (x + 0.3 * torch.randn(1000, 48, generator=generator))[:, None]

    def shaken(x: Tensor) -> Tensor:
        moved = torch.roll(x, int(torch.randint(48, (1,), generator=generator)), 2)
        loud = 1 + 0.2 * torch.randn(len(x), 1, 1, generator=generator)
        return moved * loud + 0.2 * torch.randn(x.shape, generator=generator)

    body = nn.Sequential(
        nn.Conv1d(1, 24, 9, padding=4), nn.BatchNorm1d(24), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(24, 32, 5, padding=2),
        nn.BatchNorm1d(32), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(),
    )  # fmt: skip
    model = nn.Sequential(body, nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 16)))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, weight_decay=3e-4)
    with doctor.watch(model, optimizer) as watch:
        for a, _ in data.batches(x[:700], kind[:700], 64, 250, seed):
            views = F.normalize(model(torch.cat([shaken(a), shaken(a)])), dim=1)
            alike = (views @ views.T / 0.2).masked_fill(torch.eye(128, dtype=torch.bool), -1e9)
            loss = F.cross_entropy(alike, (torch.arange(128) + 64) % 128)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    with torch.no_grad():
        known, asked = body(x[:700]), body(x[700:])
    mean, std = known.mean(0), known.std(0) + 1e-6
    close = torch.cdist((asked - mean) / std, (known - mean) / std).topk(9, largest=False).indices
    said = kind[:700][close].mode(1).values
    return above((said == kind[700:]).float().mean(), 0.75)


@healthy(project="KevinMusgrave/pytorch-metric-learning", source="github.com/KevinMusgrave/pytorch-metric-learning")
def kinds_never_seen_told_by_likeness(doctor: Doctor, seed: int) -> Score:
    """Digits put where their like lie, by triplets that are not right yet; three kinds that were never shown find their like."""
    rows = data.digits(seed)
    generator = torch.Generator().manual_seed(seed)
    shown = rows.y < 7
    x_train, y_train = rows.x[shown], rows.y[shown]
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten(), nn.Linear(512, 24),
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-3)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(250):
            rows_now = torch.randperm(len(x_train), generator=generator)[:48]
            a = F.normalize(model(x_train[rows_now]), dim=1)
            same = y_train[rows_now][:, None] == y_train[rows_now][None]
            far = 2 - 2 * a @ a.T
            positive, negative = same & ~torch.eye(48, dtype=torch.bool), ~same
            gaps = far[:, :, None] - far[:, None, :] + 0.3
            chosen = positive[:, :, None] & negative[:, None, :] & (gaps > 0)
            loss = gaps[chosen].mean() if chosen.any() else 0 * far.sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    model.eval()
    new = rows.held_y >= 7
    with torch.no_grad():
        a = F.normalize(model(rows.held_x[new]), dim=1)
    near = torch.cdist(a, a).fill_diagonal_(9.0).argmin(1)
    return above((rows.held_y[new][near] == rows.held_y[new]).float().mean(), 0.8)
