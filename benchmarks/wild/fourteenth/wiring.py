"""Faults of wiring: a memory of plain tensors, a penalty through argmax, an echo detached before it is judged."""

from __future__ import annotations

import torch
from benchmarks.wild import data
from benchmarks.wild.case import Score, above, fault
from benchmarks.wild.doctor import Doctor
from benchmarks.wild.loop import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


@fault(
    kind="unregistered",
    where="memory",
    also=("frozen-random", "not-optimised", "never-moved"),
    project="SimonThomine/RememberingNormality",
    source="github.com/SimonThomine/RememberingNormality/issues/7",
)
def a_memory_of_plain_tensors(doctor: Doctor, seed: int, cured: bool) -> Score:
    """What normal features look like is to be remembered by keys and values; both are plain random tensors and never learn."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(3, 24, generator=generator)

    def normal(count: int) -> Tensor:
        inner = torch.randn(count, 3, generator=generator)
        return torch.sin(inner @ mix) + 0.05 * torch.randn(count, 24, generator=generator)

    class Memory(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.keys: Tensor
            self.values: Tensor
            for name in ("keys", "values"):
                start = torch.randn(60, 24)
                setattr(self, name, nn.Parameter(start) if cured else start)

        def forward(self, x: Tensor) -> Tensor:
            return (x @ self.keys.T / 24**0.5).softmax(1) @ self.values

    class Student(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ask, self.memory = nn.Linear(24, 24), Memory()

        def forward(self, x: Tensor) -> Tensor:
            return self.memory(self.ask(x))

    x, held = normal(1500), normal(400)
    rows = data.Split(x, x, held, held)
    model = Student()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    doctor.task(model, data.few(x, x, 64, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(x, x, 64, 700, seed), rows)
    with torch.no_grad():
        return above(data.r2(model(held), held), 0.6)


@fault(
    kind="no-gradient",
    project="Ugenteraan/Deep_Hierarchical_Classification",
    source="github.com/Ugenteraan/Deep_Hierarchical_Classification/issues/6",
)
def family_and_kind_at_odds_by_argmax(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A kind outside the family that was told costs extra; the price is worked out from argmaxes, and nothing learns from it."""
    generator = torch.Generator().manual_seed(seed)
    centre = torch.randn(12, 10, generator=generator)
    family = torch.arange(12) // 3

    def rows(count: int) -> tuple[Tensor, Tensor]:
        y = torch.randint(12, (count,), generator=generator)
        return centre[y] + 1.1 * torch.randn(count, 10, generator=generator), y

    body = nn.Sequential(nn.Linear(10, 64), nn.ReLU())
    model = nn.ModuleDict({"body": body, "family": nn.Linear(64, 4), "kind": nn.Linear(64, 12)})
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(500):
            a, b = rows(50)
            h = body(a)
            coarse, fine = model["family"](h), model["kind"](h)
            loss = F.cross_entropy(coarse, family[b]) + F.cross_entropy(fine, b)
            if cured:
                of_kind = fine.softmax(1).view(-1, 4, 3).sum(2)
                odds = 1 - (coarse.softmax(1) * of_kind).sum(1)
            else:
                odds = (family[fine.argmax(1)] != coarse.argmax(1)).float()
            loss = loss + 10 * odds.mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    x, _ = rows(2000)
    with torch.no_grad():
        h = body(x)
        return above((family[model["kind"](h).argmax(1)] == model["family"](h).argmax(1)).float().mean(), 0.925)


@fault(
    kind="detached-generator",
    also=("no-gradient",),
    project="nikhilsinghmus/image2reverb",
    source="github.com/nikhilsinghmus/image2reverb/issues/37",
)
def the_echo_is_detached_before_it_is_judged(doctor: Doctor, seed: int, cured: bool) -> Score:
    """The echo of a room from its picture: the judge's word on what was made is to count, but it hears a detached copy."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(24.0)

    def rooms(count: int) -> tuple[Tensor, Tensor]:
        """Pictures (N, 6) that tell how long it rings, and echoes (N, 24) that fall, rough all the way."""
        size = torch.rand(count, 1, generator=generator)
        seen = torch.cat([size, size**2, torch.randn(count, 4, generator=generator)], 1)
        rough = torch.randint(2, (count, 24), generator=generator) * 2.0 - 1
        return seen, (-time / (6 + 14 * size)).exp() * rough

    maker = nn.Sequential(nn.Linear(30, 96), nn.LeakyReLU(0.2), nn.Linear(96, 96), nn.LeakyReLU(0.2), nn.Linear(96, 24))
    judge = nn.Sequential(nn.Linear(30, 96), nn.LeakyReLU(0.2), nn.Linear(96, 96), nn.LeakyReLU(0.2), nn.Linear(96, 1))
    model = nn.ModuleDict({"maker": maker, "judge": judge})
    first, second = (torch.optim.Adam(each.parameters(), lr=1e-3, betas=(0.5, 0.99)) for each in (maker, judge))

    def make(seen: Tensor) -> Tensor:
        return maker(torch.cat([seen, torch.randn(len(seen), 24, generator=generator)], 1))

    with doctor.watch(model, [first, second]) as watch:
        for _ in range(900):
            seen, echo = rooms(64)
            made = make(seen)
            told = judge(torch.cat([seen, made if cured else made.detach()], 1))
            loss = F.mse_loss(told, torch.ones_like(told)) + 0.5 * F.l1_loss(made, echo)
            first.zero_grad()
            loss.backward()
            first.step()
            real, false = judge(torch.cat([seen, echo], 1)), judge(torch.cat([seen, made.detach()], 1))
            wrong = F.mse_loss(real, torch.ones_like(real)) + F.mse_loss(false, torch.zeros_like(false))
            second.zero_grad()
            wrong.backward()
            second.step()
            watch.loss(loss)
    seen, echo = rooms(500)
    with torch.no_grad():
        return above((make(seen).abs().mean(0) / echo.abs().mean(0)).clamp(max=1).mean(), 0.6)
