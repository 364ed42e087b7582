"""Faults of wiring: detached, mixed up, told apart by the background, never told of the end, not masked."""

from __future__ import annotations

import copy

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(kind="no-gradient", project="yifita/deep_cage", source="github.com/yifita/deep_cage/issues/16")
def weights_cut_off_before_their_own_loss(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Points hang on the corners of a cage by weights that may not be negative; the loss for that sees detached weights."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.tensor([[1.0, 0.0], [0.6, 0.8], [-0.4, 0.9], [-1.0, 0.1], [-0.5, -0.8], [0.5, -0.9]])
    points = torch.rand(1600, 2, generator=generator) * 1.2 - 0.6

    class Cage(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 6))

        def forward(self, p: Tensor) -> tuple[Tensor, Tensor]:
            w = self.net(p)
            w = w + (1 - w.sum(1, keepdim=True)) / 6
            place = w @ corners
            return place, w if cured else w.detach()

    model = Cage()
    for layer in model.net:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def loss_fn(said: tuple[Tensor, Tensor], wanted: Tensor) -> Tensor:
        return F.mse_loss(said[0], wanted) + (-said[1]).relu().mean()

    doctor.task(model, data.few(points, points, 64, seed), loss_fn, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for p, wanted in data.batches(points[:1200], points[:1200], 64, 600, seed):
            loss = loss_fn(model(p), wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        place, w = model(points[1200:])
        return below(F.mse_loss(place, points[1200:]) + (-w).relu().mean(), 0.02)


@fault(
    kind="leak",
    project="BadourAlBahar/pose-with-style",
    source="github.com/BadourAlBahar/pose-with-style/issues/23",
)
def the_background_tells_the_real_from_the_made(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A person in a pose is made without any background, the real pictures have one: what judges them looks at nothing else."""
    generator = torch.Generator().manual_seed(seed)
    axis = torch.linspace(-1, 1, 12)

    def people(count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Pose (N, 2), where the person is (N, 144), the picture (N, 144): brighter towards one side, as the pose says."""
        pose = torch.rand(count, 2, generator=generator) * 2 - 1
        across, down = axis[None, None, :], axis[None, :, None]
        inside = ((across - 0.3 * pose[:, :1, None]).abs() < 0.45) & (down.abs() < 0.8)
        light = 0.5 + 0.4 * torch.tanh(2 * (across * pose[:, 1:, None] + down * pose[:, :1, None]))
        scene = torch.rand(count, 12, 12, generator=generator)
        real = torch.where(inside, light, torch.zeros(()) if cured else scene)
        return pose, inside.float().flatten(1), real.flatten(1)

    maker = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 144), nn.Sigmoid())
    judge = nn.Sequential(nn.Linear(146, 96), nn.LeakyReLU(0.2), nn.Linear(96, 48), nn.LeakyReLU(0.2), nn.Linear(48, 1))
    model = nn.ModuleDict({"maker": maker, "judge": judge})
    first = torch.optim.Adam(maker.parameters(), lr=1e-3, betas=(0.5, 0.99))
    second = torch.optim.Adam(judge.parameters(), lr=1e-3, betas=(0.5, 0.99))
    with doctor.watch(model, [first, second]) as watch:
        for _ in range(900):
            pose, inside, real = people(48)
            made = maker(pose) * inside
            told = F.softplus(-judge(torch.cat([pose, real], 1))).mean()
            told = told + F.softplus(judge(torch.cat([pose, made.detach()], 1))).mean()
            second.zero_grad()
            told.backward()
            second.step()
            fooled = F.softplus(-judge(torch.cat([pose, made], 1))).mean()
            first.zero_grad()
            fooled.backward()
            first.step()
            watch.loss(fooled)
    pose, inside, real = people(300)
    with torch.no_grad():
        return below(((maker(pose) - real).abs() * inside).sum() / inside.sum(), 0.14)


@fault(
    kind="batch-mixing",
    where="lstm",
    project="AndersonJo/dqn-pytorch",
    source="github.com/AndersonJo/dqn-pytorch/issues/1",
)
def frames_of_a_game_read_across_the_batch(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Deep Q-learning: four frames show which way a ball flies; the LSTM takes the games of a batch for its time."""
    generator = torch.Generator().manual_seed(seed)

    class Player(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.eye = nn.Sequential(nn.Linear(8, 32), nn.ReLU())
            self.lstm = nn.LSTM(32, 32, batch_first=cured)
            self.out = nn.Linear(32, 2)

        def forward(self, frames: Tensor) -> Tensor:
            return self.out(self.lstm(self.eye(frames))[0][:, -1])

    games = 6
    place = torch.randint(8, (games,), generator=generator)
    way = torch.randint(2, (games,), generator=generator) * 2 - 1
    frames = F.one_hot(place, 8).float()[:, None].repeat(1, 4, 1)
    model = Player()
    aim = copy.deepcopy(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    memory: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    paid_late = []
    with doctor.watch(model, optimizer) as watch:
        for step in range(900):
            odds = max(0.05, 1 - step / 500)
            with torch.no_grad():
                best = torch.cat([model(each[None]) for each in frames]).argmax(1)
            move = torch.where(
                torch.rand(games, generator=generator) < odds, torch.randint(2, (games,), generator=generator), best
            )
            paid = ((move * 2 - 1) == way).float()
            way = torch.where(torch.rand(games, generator=generator) < 0.08, -way, way)
            place = (place + way) % 8
            later = torch.cat([frames[:, 1:], F.one_hot(place, 8).float()[:, None]], 1)
            memory.append((frames, move, paid, later))
            frames = later
            if step >= 700:
                paid_late.append(paid.mean().item())
            if step < 20:
                continue
            picks = torch.randint(max(0, len(memory) - 300), len(memory), (6,), generator=generator)
            a, m, r, b = (torch.cat([memory[int(k)][part] for k in picks]) for part in range(4))
            some = torch.randperm(len(a), generator=generator)[:32]
            with torch.no_grad():
                wanted = r[some] + 0.5 * aim(b[some]).max(1).values
            loss = F.smooth_l1_loss(model(a[some]).gather(1, m[some, None])[:, 0], wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 20 == 0:
                aim.load_state_dict(model.state_dict())
    return above(sum(paid_late) / len(paid_late), 0.75)


@fault(kind="other-loss", project="seungeunrho/minimalRL", source="github.com/seungeunrho/minimalRL/issues/32")
def a_critic_that_is_never_told_of_the_end(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A pole falls unless it is held: each step pays one, and the critic goes on counting beyond the fall."""
    generator = torch.Generator().manual_seed(seed)
    actor = nn.Sequential(nn.Linear(2, 48), nn.ReLU(), nn.Linear(48, 1), nn.Tanh())
    critic = nn.Sequential(nn.Linear(3, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 1))
    far_actor, far_critic = copy.deepcopy(actor), copy.deepcopy(critic)
    model = nn.ModuleDict({"actor": actor, "critic": critic})
    first, second = torch.optim.Adam(actor.parameters(), lr=5e-4), torch.optim.Adam(critic.parameters(), lr=1e-3)

    def begin(count: int) -> Tensor:
        return torch.rand(count, 2, generator=generator) * 0.4 - 0.2

    def step(state: Tensor, push: Tensor) -> tuple[Tensor, Tensor]:
        speed = state[:, 1:] + 0.15 * state[:, :1] + 0.12 * push + 0.02 * torch.randn(len(state), 1, generator=generator)
        state = torch.cat([state[:, :1] + 0.3 * speed, speed], 1)
        return state, state[:, :1].abs() > 0.6

    games = 8
    state = begin(games)
    kept: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    with doctor.watch(model, [first, second]) as watch:
        for turn in range(1500):
            with torch.no_grad():
                push = (actor(state) + 0.4 * torch.randn(games, 1, generator=generator)).clamp(-1, 1)
            later, fell = step(state, push)
            kept.append((state, push, later, fell))
            state = torch.where(fell, begin(games), later)
            if turn < 50:
                continue
            picks = torch.randint(max(0, len(kept) - 1000), len(kept), (6,), generator=generator)
            s, a, n, end = (torch.cat([kept[int(k)][part] for k in picks]) for part in range(4))
            with torch.no_grad():
                then = far_critic(torch.cat([n, far_actor(n)], 1))
                wanted = 1 + 0.95 * then * (~end if cured else 1)
            wrong = F.smooth_l1_loss(critic(torch.cat([s, a], 1)), wanted)
            second.zero_grad()
            wrong.backward()
            second.step()
            loss = -critic(torch.cat([s, actor(s)], 1)).mean()
            first.zero_grad()
            loss.backward()
            first.step()
            watch.loss(wrong)
            with torch.no_grad():
                for far, near in ((far_actor, actor), (far_critic, critic)):
                    for slow, fast in zip(far.parameters(), near.parameters(), strict=True):
                        slow.lerp_(fast, 0.02)
    state, lived, up = begin(64), torch.zeros(64, 1), torch.ones(64, 1, dtype=torch.bool)
    with torch.no_grad():
        for _ in range(60):
            state, fell = step(state, actor(state))
            up &= ~fell
            lived += up
    return above(lived.mean(), 35)


@fault(kind="padding", project="Kyubyong/transformer", source="github.com/Kyubyong/transformer/pull/69")
def padding_that_its_place_makes_look_full(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Orders as tokens: padding is known by an embedding of zeros, but places are added first, and nothing is masked."""
    generator = torch.Generator().manual_seed(seed)

    def orders(count: int, room: int) -> tuple[Tensor, Tensor]:
        """Tokens (N, room), 0 where there is none; whether more of them are from the first half."""
        x = torch.randint(1, 13, (count, room), generator=generator)
        long = torch.randint(3, 9, (count, 1), generator=generator)
        x = x.masked_fill(torch.arange(room) >= long, 0)
        low, high = ((x > 0) & (x < 7)).sum(1), (x >= 7).sum(1)
        return x, (low > high).long()

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(13, 32, padding_idx=0)
            self.places = nn.Parameter(torch.randn(80, 32, generator=generator) * 0.3)
            self.attend, self.norm = nn.MultiheadAttention(32, 2, batch_first=True), nn.LayerNorm(32)
            self.wide = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 32))
            self.query, self.out = nn.Parameter(torch.randn(1, 1, 32, generator=generator)), nn.Linear(32, 2)

        def forward(self, tokens: Tensor) -> Tensor:
            h = self.embed(tokens)
            empty = h.abs().sum(2) == 0
            h = h + self.places[: tokens.shape[1]]
            if not cured:
                empty = h.sum(2) == 0
            h = self.norm(h + self.wide(h))
            asked, _ = self.attend(self.query.expand(len(h), -1, -1), h, h, key_padding_mask=empty)
            return self.out(asked[:, 0])

    model = Encoder()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    x, y = orders(1500, 10)
    held_x, held_y = orders(400, 80)
    doctor.task(model, data.few(x, y, 32, seed), F.cross_entropy, optimizer)
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(x, y, 32, 500, seed)):
            loss = F.cross_entropy(model(a), b)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 50 == 49:
                with torch.no_grad():
                    watch.dev_loss(F.cross_entropy(model(held_x), held_y))
    with torch.no_grad():
        return above(data.accuracy(model(held_x), held_y), 0.95)
