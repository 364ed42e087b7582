"""Faults of numbers: holes in pictures, batches without text, steps too large and too small."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.distributions import Categorical
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="non-finite",
    project="prs-eth/Marigold",
    source="github.com/prs-eth/Marigold/issues/111",
)
def holes_in_some_pictures(doctor: Doctor, seed: int, cured: bool) -> Score:
    """How deep each pixel lies: in one picture of thirty some pixels are no numbers, and so is all that is learned from it."""
    x, _, masks = data.shapes(900, seed)
    generator = torch.Generator().manual_seed(seed)
    depth = 1 - 0.8 * F.avg_pool2d(masks[:, None].float(), 3, 1, 1)
    holed = torch.rand(900, 1, 1, 1, generator=generator) < 1 / 30
    holes = holed & (torch.rand(x.shape, generator=generator) < 0.05)
    parts = data.split(torch.cat([x, holes.float()], 1), depth, seed)
    seen = parts.x[:, :1].masked_fill(parts.x[:, 1:] > 0.5, float("nan"))
    if cured:
        seen = seen.nan_to_num(0.0)
    model = nn.Sequential(
        nn.Conv2d(1, 12, 5, padding=2),
        nn.ReLU(),
        nn.Conv2d(12, 12, 5, padding=2),
        nn.ReLU(),
        nn.Conv2d(12, 1, 3, padding=1),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    doctor.task(model, data.few(seen, parts.y, 16, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(seen, parts.y, 16, 160, seed))
    with torch.no_grad():
        said = model(parts.held_x[:, :1])
    return above(data.r2(said, parts.held_y), 0.5)


@fault(
    kind="non-finite",
    project="SakuraRiven/EAST",
    source="github.com/SakuraRiven/EAST/issues/2",
)
def a_batch_without_any_text(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Where text is and how far its edges are: the error of the edges is divided by the area of text, which some batches lack."""
    generator = torch.Generator().manual_seed(seed)

    def pages(count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures (N, 1, 16, 16), where text is (N, 1, 16, 16), and how far left and right edges are (N, 2, 16, 16)."""
        at = torch.arange(16)
        top, left = (
            torch.randint(2, 10, (count, 1, 1), generator=generator),
            torch.randint(0, 6, (count, 1, 1), generator=generator),
        )
        wide = torch.randint(6, 10, (count, 1, 1), generator=generator)
        row, column = at[:, None], at[None]
        there = (row >= top) & (row < top + 4) & (column >= left) & (column < left + wide)
        there &= torch.rand(count, 1, 1, generator=generator) < 0.5
        ink = there & (torch.rand(count, 16, 16, generator=generator) < 0.7)
        edges = torch.stack([(column - left).expand_as(there), (left + wide - column).expand_as(there)], 1) / 10
        return ink[:, None].float() + 0.1 * torch.randn(count, 1, 16, 16, generator=generator), there[:, None].float(), edges

    class East(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.extract = nn.Sequential(
                nn.Conv2d(1, 8, 5, padding=2),
                nn.ReLU(),
                nn.Conv2d(8, 16, 5, padding=2),
                nn.ReLU(),
                nn.Conv2d(16, 16, 5, padding=2),
            )
            self.score, self.edges = nn.Conv2d(16, 1, 1), nn.Conv2d(16, 2, 1)

        def forward(self, page: Tensor) -> tuple[Tensor, Tensor]:
            h = self.extract(page).relu()
            return self.score(h).sigmoid(), self.edges(h).sigmoid()

    model = East()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(200):
            page, there, edges = pages(6)
            score, said = model(page)
            dice = 1 - 2 * (score * there).sum() / (score.sum() + there.sum() + 1e-5)
            area = there.sum().clamp(min=1) if cured else there.sum()
            loss = dice + ((said - edges).abs() * there).sum() / area
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    page, there, _ = pages(300)
    with torch.no_grad():
        score = model(page)[0]
    return above((2 * (score * there).sum() / (score.sum() + there.sum())), 0.7)


@fault(
    kind="learning-rate-too-high",
    also=("dead-units", "saturation"),
    project="discuss.pytorch.org/43814",
    source="discuss.pytorch.org/t/cross-entropy-loss-is-not-decreasing/43814",
)
def all_units_pushed_below_nothing(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Digits, and a loss that stays at the logarithm of ten: large steps of Adam push all rectified units below 0 for good."""
    rows = data.digits(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(256, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3 if cured else 0.1)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.cross_entropy, optimizer)
    fit(doctor, model, optimizer, F.cross_entropy, data.batches(rows.x, rows.y, 32, 300, seed), rows)
    with torch.no_grad():
        return above(data.accuracy(model(rows.held_x), rows.held_y), 0.9)


@fault(
    kind="learning-rate-too-low",
    also=("slow-learning", "underfitting"),
    project="csZcWu/GKMNet",
    source="github.com/csZcWu/GKMNet/issues/3",
)
def a_rate_with_a_nought_too_many(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Blurred pictures made sharp by what is added to them: the rate in the published script is too small by far."""
    x, _, _ = data.shapes(900, seed, noise=0.0)
    generator = torch.Generator().manual_seed(seed)
    wide = torch.rand(900, 1, 1, 1, generator=generator)
    near, far = F.avg_pool2d(x, 3, 1, 1), F.avg_pool2d(x, 5, 1, 2)
    blurred = wide * near + (1 - wide) * far + 0.02 * torch.randn(x.shape, generator=generator)
    rows = data.split(blurred, x, seed)

    class Sharpen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(1, 16, 5, padding=2),
                nn.ReLU(),
                nn.Conv2d(16, 16, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(16, 1, 3, padding=1),
            )

        def forward(self, seen: Tensor) -> Tensor:
            return seen + self.body(seen)

    model = Sharpen()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3 if cured else 1e-5)
    doctor.task(model, data.few(rows.x, rows.y, 16, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 16, 200, seed), rows)
    with torch.no_grad():
        return below(F.mse_loss(model(rows.held_x), rows.held_y) / F.mse_loss(rows.held_x, rows.held_y), 0.35)


@fault(
    kind="learning-rate-too-high",
    also=("saturation",),
    project="discuss.pytorch.org/160728",
    source="discuss.pytorch.org/t/help-with-pytorch-policy-gradient-agent-that-learns-actions-resulting-in-consistent-negative-rewards/160728",
)
def a_bot_that_heads_for_the_wall(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A bot on a grid is paid for each step towards a target: after a few large steps it walks one way, whatever it sees."""
    generator = torch.Generator().manual_seed(seed)
    ways = torch.tensor([[0, 0], [0, 1], [0, -1], [1, 0], [-1, 0], [1, 1], [1, -1], [-1, 1], [-1, -1]])
    policy = nn.Sequential(nn.Linear(4, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 9), nn.Softmax(1))
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-3 if cured else 0.1)

    def play(bots: int, greedy: bool) -> tuple[list[Tensor], list[Tensor]]:
        """Logarithms of chances and pay of each of 12 steps, (N,)."""
        bot, target = torch.randint(15, (2, bots, 2), generator=generator)
        logs, pay = [], []
        for _ in range(12):
            chance = policy(torch.cat([bot, target], 1) / 7 - 1)
            drawn = torch.multinomial(chance.detach() + 1e-9, 1, generator=generator)[:, 0]
            move = chance.argmax(1) if greedy else drawn
            logs.append(Categorical(chance).log_prob(move))
            after = bot + ways[move]
            out = ((after < 0) | (after > 14)).any(1)
            after = after.clamp(0, 14)
            closer = (target - bot).abs().sum(1) - (target - after).abs().sum(1)
            pay.append(closer.sign().float() - 0.5 * out)
            bot = after
        return logs, pay

    with doctor.watch(policy, optimizer) as watch:
        for _ in range(200):
            logs, pay = play(8, greedy=False)
            total, returns = torch.zeros(8), []
            for each in reversed(pay):
                total = each + 0.9 * total
                returns.append(total)
            goal = torch.stack(returns[::-1])
            goal = (goal - goal.mean()) / (goal.std() + 1e-6)
            loss = -(torch.stack(logs) * goal).sum(0).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return above(torch.stack(play(300, greedy=True)[1]).sum(0).mean(), 4.5)
