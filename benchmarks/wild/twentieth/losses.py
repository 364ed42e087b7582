"""Faults of what is asked for: numbers of kinds as chances, a forger asked for noughts, a hasty judge, only the ayes, no noes."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


def painter() -> nn.Sequential:
    """A net that says of each place of a picture (N, 1, 16, 16) how likely five things are (N, 5, 16, 16)."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 24, 3, padding=2, dilation=2), nn.ReLU(),
        nn.Conv2d(24, 24, 3, padding=4, dilation=4), nn.ReLU(), nn.Conv2d(24, 5, 1),
    )  # fmt: skip


def alike(made: Tensor, real: Tensor) -> float:
    """1 if the mean picture and the spread of each place are those of the real ones, 0 if they are as far off as nothing."""
    off = (made.mean(0) - real.mean(0)).pow(2).sum() / real.mean(0).pow(2).sum()
    spread = (made.std(0) - real.std(0)).pow(2).sum() / real.std(0).pow(2).sum()
    return 1 - float(off + spread) / 2


def players() -> tuple[nn.Sequential, nn.Sequential]:
    """A maker of digits from 16 numbers, and a judge of digits whose answer is a chance."""
    maker = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 64), nn.Sigmoid())
    judge = nn.Sequential(
        nn.Linear(64, 64),
        nn.LeakyReLU(0.2),
        nn.Dropout(0.2),
        nn.Linear(64, 32),
        nn.LeakyReLU(0.2),
        nn.Linear(32, 1),
        nn.Sigmoid(),
    )
    return maker, judge


@fault(
    kind="target-range",
    also=("other-loss", "broadcast"),
    project="fuweifuvtoo/Semantic-segmentation",
    source="github.com/fuweifuvtoo/Semantic-segmentation/issues/8",
)
def numbers_of_kinds_taken_for_chances(doctor: Doctor, seed: int, cured: bool) -> Score:
    """What lies at each place, ground or one of four shapes: a loss for chances gets the numbers of kinds, and falls below 0."""
    x, kinds, masks = data.shapes(700, seed)
    rows = data.split(x, masks * (kinds[:, None, None] + 1), seed)

    def loss_fn(said: Tensor, y: Tensor) -> Tensor:
        if cured:
            return F.cross_entropy(said, y)
        return F.binary_cross_entropy_with_logits(said, y[:, None].expand_as(said).float())

    model = painter()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    doctor.task(model, data.few(rows.x, rows.y, 16, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 16, 260, seed), rows)
    with torch.no_grad():
        said = model(rows.held_x).argmax(1)
    there = rows.held_y > 0
    hits = ((said == rows.held_y) & there).sum() / (there | (said > 0)).sum()
    return above(hits, 0.4)


@fault(
    kind="other-loss",
    also=("detached-generator",),
    project="mlpack/mlpack",
    source="github.com/mlpack/mlpack/pull/1933",
)
def a_forger_asked_for_noughts(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Digits made to be taken for real ones: the maker's error is to answers that nobody set, and those are noughts."""
    rows = data.digits(seed)
    generator = torch.Generator().manual_seed(seed)
    real = rows.x.flatten(1)
    maker, judge = players()
    first = torch.optim.Adam(maker.parameters(), lr=1e-3, betas=(0.5, 0.999))
    second = torch.optim.Adam(judge.parameters(), lr=1e-3, betas=(0.5, 0.999))
    yes, no = torch.ones(32, 1), torch.zeros(32, 1)
    with doctor.watch(nn.ModuleDict({"maker": maker, "judge": judge}), [first, second]) as watch:
        for a, _ in data.batches(real, rows.y, 32, 900, seed):
            made = maker(torch.randn(32, 16, generator=generator))
            loss = F.binary_cross_entropy(judge(a), yes) + F.binary_cross_entropy(judge(made.detach()), no)
            second.zero_grad()
            loss.backward()
            second.step()
            watch.loss(loss)
            responses = torch.zeros_like(made)
            error = F.binary_cross_entropy(judge(made), yes) if cured else F.binary_cross_entropy(made, responses)
            first.zero_grad()
            error.backward()
            first.step()
    with torch.no_grad():
        return above(alike(maker(torch.randn(500, 16, generator=generator)), real), 0.45)


@fault(
    kind="learning-rate-too-high",
    also=("saturation", "no-gradient"),
    project="tdeboissiere/DeepLearningImplementations",
    source="github.com/tdeboissiere/DeepLearningImplementations/issues/11",
)
def a_judge_in_a_hurry(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Digits made to be taken for real ones: at this rate the judge is sure at once, and the maker's loss stays at 16.1."""
    rows = data.digits(seed)
    generator = torch.Generator().manual_seed(seed)
    real = rows.x.flatten(1)
    maker, judge = players()
    rate = 1e-3 if cured else 5e-2
    first = torch.optim.Adam(maker.parameters(), lr=rate, betas=(0.5, 0.999))
    second = torch.optim.Adam(judge.parameters(), lr=rate, betas=(0.5, 0.999))

    def error(said: Tensor, y: float) -> Tensor:
        """Of chances held off 0 and 1."""
        said = said.clamp(1e-7, 1 - 1e-7)
        return -(y * said.log() + (1 - y) * (1 - said).log()).mean()

    with doctor.watch(nn.ModuleDict({"maker": maker, "judge": judge}), [first, second]) as watch:
        for a, _ in data.batches(real, rows.y, 32, 900, seed):
            made = maker(torch.randn(32, 16, generator=generator))
            loss = error(judge(a), 0.9) + error(judge(made.detach()), 0.0)
            second.zero_grad()
            loss.backward()
            second.step()
            fooled = error(judge(made), 1.0)
            first.zero_grad()
            fooled.backward()
            first.step()
            watch.loss(fooled)
    with torch.no_grad():
        return above(alike(maker(torch.randn(500, 16, generator=generator)), real), 0.45)


@fault(
    kind="other-loss",
    also=("saturation",),
    project="deeplearning4j/nd4j",
    source="github.com/deeplearning4j/nd4j/issues/1328",
)
def nothing_is_learned_of_the_noes(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Five things true of a digit or not: where the label is 0 the loss has no slope, and all is soon said to be true."""
    rows = data.digits(seed)
    facts = torch.tensor([[k % 2 == 0, k > 4, k in (0, 6, 8, 9), k in (2, 3, 5, 7), k % 3 == 0] for k in range(10)]).float()
    y, held_y = facts[rows.y], facts[rows.held_y]

    def loss_fn(said: Tensor, y: Tensor) -> Tensor:
        if cured:
            return -(y * F.logsigmoid(said) + (1 - y) * F.logsigmoid(-said)).mean()
        return -(y * F.logsigmoid(said)).mean()

    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 5))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    doctor.task(model, data.few(rows.x, y, 32, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, y, 32, 700, seed), rows._replace(y=y, held_y=held_y))
    with torch.no_grad():
        return above(((model(rows.held_x) > 0) == (held_y > 0.5)).float().mean(), 0.85)


@fault(
    kind="relu-logits",
    also=("dead-units",),
    project="dtcms.com/394596",
    source="www.dtcms.com/a/394596.html",
)
def a_net_that_may_not_say_no(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Where in a noisy picture a shape is: behind the last layer stands a ReLU, before a loss for either sign."""
    x, _, masks = data.shapes(700, seed, noise=0.4)
    rows = data.split(x, masks[:, None].float(), seed)
    last: nn.Module = nn.Identity() if cured else nn.ReLU()
    model = nn.Sequential(painter()[:-1], nn.Conv2d(24, 1, 1), last)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    loss_fn = F.binary_cross_entropy_with_logits
    doctor.task(model, data.few(rows.x, rows.y, 16, seed), loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, data.batches(rows.x, rows.y, 16, 260, seed), rows)
    with torch.no_grad():
        said = model(rows.held_x) > 0
    there = rows.held_y > 0.5
    return above((said & there).sum() / (said | there).sum(), 0.6)
