"""Faults of wiring: a judge that never steps, one term of two, a plain number, a copy of itself."""

from __future__ import annotations

import copy

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, below, fault
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="never-moved",
    where="judge",
    also=("not-optimised", "frozen-random"),
    project="Lornatang/ESRGAN-PyTorch",
    source="github.com/Lornatang/ESRGAN-PyTorch/issues/39",
)
def the_maker_steps_twice_and_the_judge_never(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Fine rows from coarse ones by an error and a judge; where the judge should step, the maker's optimiser is named again."""
    generator = torch.Generator().manual_seed(seed)
    stripes = torch.tensor([1.0, -1.0]).repeat(8)

    def rows(count: int) -> tuple[Tensor, Tensor]:
        """Coarse rows (N, 8) and fine ones (N, 16) with stripes of either sign that the coarse ones do not show."""
        coarse = torch.randn(count, 8, generator=generator).cumsum(1) * 0.4
        sign = torch.randint(2, (count, 1), generator=generator) * 2.0 - 1
        return coarse, coarse.repeat_interleave(2, 1) + sign * stripes

    maker = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16))
    judge = nn.Sequential(nn.Linear(24, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))
    model = nn.ModuleDict({"maker": maker, "judge": judge})
    first = torch.optim.Adam(maker.parameters(), lr=1e-3, betas=(0.5, 0.99))
    second = torch.optim.Adam(judge.parameters(), lr=1e-3, betas=(0.5, 0.99))

    def make(coarse: Tensor) -> Tensor:
        return maker(torch.cat([coarse, torch.randn(len(coarse), 4, generator=generator)], 1))

    with doctor.watch(model, [first, second]) as watch:
        for _ in range(1200):
            coarse, fine = rows(64)
            made = make(coarse)
            first.zero_grad()
            told = judge(torch.cat([coarse, made], 1))
            loss = F.binary_cross_entropy_with_logits(told, torch.ones_like(told)) + 0.02 * F.l1_loss(made, fine)
            loss.backward()
            first.step()
            second.zero_grad()
            real, false = judge(torch.cat([coarse, fine], 1)), judge(torch.cat([coarse, made.detach()], 1))
            wrong = F.binary_cross_entropy_with_logits(real, torch.ones_like(real))
            wrong = wrong + F.binary_cross_entropy_with_logits(false, torch.zeros_like(false))
            wrong.backward()
            (second if cured else first).step()
            watch.loss(loss)
    coarse, _ = rows(500)
    with torch.no_grad():
        made = make(coarse) - coarse.repeat_interleave(2, 1)
    return below((made.abs() - 1).abs().mean(), 0.35)


@fault(
    kind="no-gradient",
    where="box",
    also=("never-moved",),
    project="tom-roddick/oft",
    source="github.com/tom-roddick/oft/issues/6",
)
def only_the_score_is_in_the_sum(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Where things are and how large, by cell: a line left in from a test takes only the score's error for the total."""
    generator = torch.Generator().manual_seed(seed)

    def scenes(count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures (N, 1, 16, 16), scores of cells (N, 4, 4), boxes in cells (N, 4, 4, 3)."""
        there = (torch.rand(count, 4, 4, generator=generator) < 0.25).float()
        place = torch.rand(count, 4, 4, 2, generator=generator) * 2 + 1
        size = torch.rand(count, 4, 4, 1, generator=generator) + 0.6
        cell = torch.stack(torch.meshgrid(torch.arange(4.0), torch.arange(4.0), indexing="ij"), -1)
        far = (cell[None, None, None] - place[:, :, :, None, None]).norm(dim=-1)
        drawn = torch.sigmoid(4 * (size[..., None] - far)) * there[..., None, None]
        picture = drawn.permute(0, 1, 3, 2, 4).reshape(count, 1, 16, 16)
        return picture + 0.05 * torch.randn(picture.shape, generator=generator), there, torch.cat([place - 2, size - 1], -1)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            conv = [
                nn.Conv2d(1, 16, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(16, 32, 4, 4),
                nn.ReLU(),
                nn.Conv2d(32, 32, 1),
                nn.ReLU(),
            ]
            self.body, self.score, self.box = nn.Sequential(*conv), nn.Conv2d(32, 1, 1), nn.Conv2d(32, 3, 1)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            h = self.body(x)
            return self.score(h)[:, 0], self.box(h).permute(0, 2, 3, 1)

    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(400):
            picture, there, box = scenes(24)
            score, said = model(picture)
            errors = {"score": F.binary_cross_entropy_with_logits(score, there)}
            errors["box"] = ((said - box).abs().mean(-1) * there).sum() / there.sum().clamp(min=1)
            loss = errors["score"] + errors["box"] if cured else errors["score"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    picture, there, box = scenes(200)
    with torch.no_grad():
        return below((model(picture)[1] - box)[there > 0].abs().mean(), 0.15)


@fault(
    kind="no-gradient",
    project="guopengf/FL-MRCM",
    source="github.com/guopengf/FL-MRCM/issues/10",
)
def what_the_judge_of_sites_says_as_a_plain_number(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Features of two hospitals are to look alike; the term that makes them so is turned into a number before it is added."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(12, 20, generator=generator) / 12**0.5

    def site(count: int, other: bool) -> tuple[Tensor, Tensor]:
        """Rows (N, 20) and classes; at home six marks of the machine go with the class, elsewhere they do not."""
        y = torch.randint(2, (count,), generator=generator)
        body = (y[:, None] * 2.0 - 1) * 0.7 + torch.randn(count, 6, generator=generator)
        marks = (torch.full((count, 1), 2.0) if other else (y[:, None] * 2.0 - 1) * 1.2 - 2) + 0.5 * torch.randn(
            count, 6, generator=generator
        )
        return torch.cat([body, marks], 1) @ mix, y

    features = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 8))
    model = nn.ModuleDict({"features": features, "classes": nn.Linear(8, 2)})
    judge = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    second = torch.optim.Adam(judge.parameters(), lr=3e-3)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(900):
            (home, y), (away, _) = site(64, other=False), site(64, other=True)
            here, there = features(home), features(away)
            second.zero_grad()
            told = judge(torch.cat([here, there]).detach())[:, 0]
            F.binary_cross_entropy_with_logits(told, torch.arange(128).lt(64).float()).backward()
            second.step()
            told = judge(torch.cat([here, there]))[:, 0]
            fooled: Tensor | float = F.binary_cross_entropy_with_logits(told, torch.arange(128).ge(64).float())
            if not cured:
                fooled = float(fooled)
            loss = F.cross_entropy(model["classes"](here), y) + fooled
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    away, y = site(2000, other=True)
    with torch.no_grad():
        return above(data.accuracy(model["classes"](features(away)), y), 0.8)


@fault(
    kind="never-moved",
    where="target",
    also=("frozen-random", "not-optimised"),
    project="thesouther/MARL",
    source="github.com/thesouther/MARL/issues/8",
)
def the_target_is_a_copy_of_itself(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Two walkers paid when both are home: the slow copy that gives the targets is filled, now and then, with its own weights."""
    generator = torch.Generator().manual_seed(seed)

    class Pair(nn.Module):
        """What each walker's moves are worth, joined by weights above nought that the state decides."""

        def __init__(self) -> None:
            super().__init__()
            self.walker = nn.Sequential(nn.Linear(14, 48), nn.ReLU(), nn.Linear(48, 3))
            self.weigh, self.add = nn.Linear(12, 2), nn.Linear(12, 1)

        def each(self, place: Tensor) -> Tensor:
            seen = F.one_hot(place, 6).float()
            who = torch.eye(2).expand(len(place), 2, 2)
            return self.walker(torch.cat([seen, seen.flip(1), who], -1))

        def join(self, worth: Tensor, place: Tensor) -> Tensor:
            state = F.one_hot(place, 6).float().flatten(1)
            return (worth * self.weigh(state).abs()).sum(1) + self.add(state)[:, 0]

    class Policy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.live = Pair()
            self.target = copy.deepcopy(self.live)

    def step(place: Tensor, move: Tensor) -> tuple[Tensor, Tensor]:
        after = (place + move - 1).clamp(0, 5)
        return after, (after == 5).all(1).float()

    model = Policy()
    optimizer = torch.optim.RMSprop(model.live.parameters(), lr=1e-3)
    with doctor.watch(model, optimizer) as watch:
        for turn in range(1200):
            place = torch.randint(6, (96, 2), generator=generator)
            move = torch.randint(3, (96, 2), generator=generator)
            after, pay = step(place, move)
            with torch.no_grad():
                best = model.target.join(model.target.each(after).amax(2), after)
                wanted = pay + 0.9 * (1 - pay) * best
            said = model.live.join(model.live.each(place).gather(2, move[..., None])[..., 0], place)
            loss = F.mse_loss(said, wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if turn % 40 == 39:
                model.target.load_state_dict((model.live if cured else model.target).state_dict())
    place, paid = torch.randint(6, (300, 2), generator=generator), torch.zeros(300)
    with torch.no_grad():
        for _ in range(7):
            place, pay = step(place, model.live.each(place).argmax(2))
            paid = torch.maximum(paid, pay)
    return above(paid.mean(), 0.8)
