"""Faults of what is asked for: boxes squashed, noise at any price, joints of others, moving goals, a late limit."""

from __future__ import annotations

import math

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="collapsed-kl",
    project="orybkin/sigma-vae-pytorch",
    source="github.com/orybkin/sigma-vae-pytorch/pull/12",
)
def an_error_averaged_beside_a_sum(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Digits through a code that is drawn: the error is a mean over pixels, what the code tells is a sum, so it tells nothing."""
    rows = data.digits(seed)

    class Vae(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 16))
            self.decoder = nn.Sequential(nn.Linear(8, 96), nn.ReLU(), nn.Linear(96, 64), nn.Sigmoid(), nn.Unflatten(1, (1, 8, 8)))

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            mean, log_var = self.encoder(x).chunk(2, 1)
            z = mean + torch.randn_like(mean) * (log_var / 2).exp() if self.training else mean
            return self.decoder(z), mean, log_var

    model = Vae()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

    def parts(x: Tensor) -> tuple[Tensor, Tensor]:
        """The error of each picture and what its code tells, averaged over pictures."""
        said, mean, log_var = model(x)
        error = F.mse_loss(said, x, reduction="sum") / (0.1 * len(x)) if cured else F.mse_loss(said, x)
        return error, -0.5 * (1 + log_var - mean.pow(2) - log_var.exp()).sum(1).mean()

    with doctor.watch(model, optimizer) as watch:
        for step, (a, _) in enumerate(data.batches(rows.x, rows.y, 32, 500, seed)):
            model.train()
            error, kl = parts(a)
            loss = error + kl
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 84 == 83:
                model.eval()
                with torch.no_grad():
                    watch.dev_loss(sum(parts(rows.held_x)))
    model.eval()
    with torch.no_grad():
        again = model(rows.held_x)[0]
    return above(data.r2(again, rows.held_x), 0.4)


@fault(
    kind="target-range",
    also=("other-loss", "saturation"),
    project="ultralytics/yolov3",
    source="github.com/ultralytics/yolov3/issues/202",
)
def widths_squashed_in_training_alone(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Where a box is and how large: width and height are logarithms beside an anchor, and a sigmoid stands before the loss."""
    generator = torch.Generator().manual_seed(seed)
    anchor = 5.0

    def scenes(count: int) -> tuple[Tensor, Tensor]:
        """Pictures (N, 1, 16, 16) with a box, and its middle, width and height (N, 4) in pixels."""
        size = 2 + 8 * torch.rand(count, 2, generator=generator)
        middle = size / 2 + (16 - size) * torch.rand(count, 2, generator=generator)
        at = torch.arange(16) + 0.5
        near = (at - middle[..., None]).abs() < size[..., None] / 2
        box = (near[:, 1, :, None] & near[:, 0, None]).float()
        return (box + 0.2 * torch.randn(count, 16, 16, generator=generator))[:, None], torch.cat([middle, size], 1)

    class Yolo(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.LeakyReLU(0.1), nn.Conv2d(16, 24, 3, stride=2, padding=1),
                nn.LeakyReLU(0.1), nn.Flatten(), nn.Linear(384, 64), nn.LeakyReLU(0.1), nn.Linear(64, 4),
            )  # fmt: skip

        def forward(self, seen: Tensor) -> tuple[Tensor, Tensor]:
            """Middles in shares of the picture, and the raw width and height."""
            raw = self.body(seen)
            wide = raw[:, 2:].sigmoid() if self.training and not cured else raw[:, 2:]
            return raw[:, :2].sigmoid(), wide

    model = Yolo()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    x, boxes = scenes(1200)
    with doctor.watch(model, optimizer) as watch:
        for a, b in data.batches(x, boxes, 24, 450, seed):
            middle, wide = model(a)
            loss = 4 * F.mse_loss(middle, b[:, :2] / 16) + F.mse_loss(wide, (b[:, 2:] / anchor).log())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    x, boxes = scenes(300)
    model.eval()
    with torch.no_grad():
        middle, wide = model(x)
    middle, size = middle * 16, anchor * wide.exp()
    low = torch.maximum(middle - size / 2, boxes[:, :2] - boxes[:, 2:] / 2)
    high = torch.minimum(middle + size / 2, boxes[:, :2] + boxes[:, 2:] / 2)
    both = (high - low).clamp(min=0).prod(1)
    return above((both / (size.prod(1) + boxes[:, 2:].prod(1) - both) > 0.5).float().mean(), 0.6)


@fault(
    kind="shuffled-targets",
    project="fire717/movenet.pytorch",
    source="github.com/fire717/movenet.pytorch/issues/2",
)
def joints_of_others_in_one_channel(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Four joints of all who are in a picture, as heat: those of the others were written with the index of the last loop."""
    generator = torch.Generator().manual_seed(seed)
    marks = (torch.rand(4, 3, 3, generator=generator) < 0.5).float()
    marks[:, 1, 1] = 1.0

    def crowds(count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures (N, 1, 18, 18) of three with four joints each, the heat drawn for them and the true one (N, 4, 18, 18)."""
        at = torch.randint(1, 17, (count, 3, 4, 2), generator=generator)
        picture = 0.15 * torch.randn(count, 18, 18, generator=generator)
        grid = torch.arange(18)
        far = (grid[:, None] - at[..., :1, None]) ** 2 + (grid - at[..., 1:, None]) ** 2
        heat = (-far / 2.0).exp()
        for n in range(count):
            for who in range(3):
                for kid in range(4):
                    r, c = at[n, who, kid].tolist()
                    picture[n, r - 1 : r + 2, c - 1 : c + 2] = marks[kid]
        kid = 3
        drawn = heat[:, 0].clone()
        for kid2 in range(4):
            channel = kid2 if cured else kid
            drawn[:, channel] = torch.maximum(drawn[:, channel], heat[:, 1:, kid2].amax(1))
        return picture[:, None], drawn, heat.amax(1)

    model = nn.Sequential(
        nn.Conv2d(1, 24, 5, padding=2), nn.ReLU(), nn.Conv2d(24, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 4, 3, padding=1),
        nn.Sigmoid(),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    x, heat, _ = crowds(300)
    with doctor.watch(model, optimizer) as watch:
        for a, b in data.batches(x, heat, 8, 260, seed):
            loss = ((model(a) - b).pow(2) * (1 + 8 * b)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    x, _, heat = crowds(80)
    with torch.no_grad():
        return below((model(x) - heat).pow(2).mean() / heat.var(), 0.65)


@fault(
    kind="other-loss",
    project="mrkulk/deepQN_tensorflow",
    source="github.com/mrkulk/deepQN_tensorflow/issues/1",
    certain="values run away, their error is ten times larger; now and then the pole is held up all the same.",
)
def a_goal_that_moves_with_its_follower(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A pole on a cart held up by pushes: values of what comes next are told by the net that is trained, and run away."""
    generator = torch.Generator().manual_seed(seed)

    def moved(state: Tensor, push: Tensor) -> tuple[Tensor, Tensor]:
        """States (N, 4) a fiftieth of a second later, and whether the pole has fallen or the cart is off (N,)."""
        x, v, tilt, w = state.unbind(1)
        force = 20.0 * push - 10.0
        pull = (force + 0.05 * w**2 * tilt.sin()) / 1.1
        turn = (9.8 * tilt.sin() - tilt.cos() * pull) / (0.5 * (4 / 3 - 0.1 * tilt.cos() ** 2 / 1.1))
        away = pull - 0.05 * turn * tilt.cos() / 1.1
        after = torch.stack([x + 0.02 * v, v + 0.02 * away, tilt + 0.02 * w, w + 0.02 * turn], 1)
        return after, (after[:, 0].abs() > 2.4) | (after[:, 2].abs() > 0.21)

    def begun(count: int) -> Tensor:
        return 0.1 * torch.rand(count, 4, generator=generator) - 0.05

    q_net, fixed = (nn.Sequential(nn.Linear(4, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 2)) for _ in range(2))
    fixed.load_state_dict(q_net.state_dict())
    optimizer = torch.optim.Adam(q_net.parameters(), lr=5e-3)

    def held_up() -> float:
        """For how many of 200 steps the net holds up a pole."""
        state, up, held = begun(20), torch.ones(20, dtype=torch.bool), torch.zeros(20)
        for _ in range(200):
            with torch.no_grad():
                state, fell = moved(state, q_net(state).argmax(1).float())
            up &= ~fell
            held += up
        return float(held.mean())

    memory: list[tuple[Tensor, ...]] = []
    plays: list[float] = []
    state = begun(16)
    with doctor.watch(q_net, optimizer) as watch:
        for step in range(600):
            with torch.no_grad():
                best = q_net(state).argmax(1)
            luck = torch.rand(16, generator=generator) < max(0.05, 1 - step / 300)
            push = torch.where(luck, torch.randint(2, (16,), generator=generator), best)
            after, fell = moved(state, push.float())
            memory.append((state, push, after, fell))
            state = torch.where(fell[:, None], begun(16), after)
            if step < 20:
                continue
            picks = torch.randint(len(memory), (8,), generator=generator)
            s, a, t, end = (torch.cat(each) for each in zip(*(memory[int(k)] for k in picks), strict=True))
            with torch.no_grad():
                goal = 1.0 + 0.995 * (fixed if cured else q_net)(t).amax(1) * ~end
            loss = F.mse_loss(q_net(s).gather(1, a[:, None])[:, 0], goal)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step >= 360 and step % 30 == 0:
                plays.append(held_up())
            if step % 10 == 0:
                fixed.load_state_dict(q_net.state_dict())
    return above(sum(plays) / len(plays), 130)


@fault(
    kind="gradient-scale",
    also=("learning-rate-too-high",),
    project="taesunwhang/UMS-ResSel",
    source="github.com/taesunwhang/UMS-ResSel/issues/3",
)
def clipped_when_the_step_was_made(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Which answer goes with what was said: a few lines are long and push hard, and gradients are clipped after the step."""
    generator = torch.Generator().manual_seed(seed)

    def talks(count: int) -> tuple[Tensor, Tensor]:
        """Two lines of words (N, 2, 40), 0 for none, of six words each or now and then of forty, and whether they fit (N,)."""
        topic, right = torch.randint(10, (count, 1), generator=generator), torch.rand(count, generator=generator) < 0.5
        second = torch.where(right[:, None], topic, (topic + torch.randint(1, 10, (count, 1), generator=generator)) % 10)
        near = torch.randint(6, (count, 2, 40), generator=generator) + 6 * torch.stack([topic, second], 1) + 1
        any_word = torch.randint(1, 61, (count, 2, 40), generator=generator)
        words = torch.where(torch.rand(count, 2, 40, generator=generator) < 0.25, any_word, near)
        long = torch.rand(count, 1, 1, generator=generator) < 0.04
        return words * (long | (torch.arange(40) < 6)), right.float()

    class Selector(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.inner = nn.Embedding(61, 32, padding_idx=0), nn.Linear(32, 32, bias=False)
            self.match = nn.Parameter(torch.randn(32, 32) / 20)

        def forward(self, lines: Tensor) -> Tensor:
            a, b = (self.inner(self.words(each)).tanh().sum(1) for each in lines.unbind(1))
            return ((a @ self.match) * b).sum(1)

    model = Selector()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    x, y = talks(3000)
    with doctor.watch(model, optimizer) as watch:
        for a, b in data.batches(x, y, 32, 500, seed):
            loss = F.binary_cross_entropy_with_logits(model(a), b)
            loss.backward()
            if cured:
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.zero_grad()
            watch.loss(loss)
    x, y = talks(800)
    with torch.no_grad():
        said = model(x)
    return above(((said > 0) == (y > 0.5)).float().mean() if math.isfinite(said.sum()) else 0.0, 0.805)
