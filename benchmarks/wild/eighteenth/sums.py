"""Faults of sums and checks: a column against a row, nothing between layers, rounds kept by what was learned by heart."""

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
    kind="broadcast",
    project="stackoverflow/67248908",
    source="stackoverflow.com/questions/67248908",
)
def sums_held_against_a_row(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A layer that is to add two numbers, all points at once: a column of answers is compared with a row of sums."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(300, 2, generator=generator)
    y = x[:, 0] + x[:, 1]
    model = nn.Sequential(nn.Linear(2, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)

    def loss_fn(said: Tensor, wanted: Tensor) -> Tensor:
        return F.mse_loss(said, wanted[:, None] if cured else wanted)

    doctor.task(model, [(x, y)] * 8, loss_fn, optimizer)
    fit(doctor, model, optimizer, loss_fn, [(x, y)] * 1500)
    held = torch.rand(300, 2, generator=generator)
    with torch.no_grad():
        return above(data.r2(model(held)[:, 0], held.sum(1)), 0.9)


@fault(
    kind="broadcast",
    project="ai.stackexchange/41279",
    source="ai.stackexchange.com/questions/41279/reinforce-with-baseline-not-learning",
)
def all_moves_paid_for_all_steps(doctor: Doctor, seed: int, cured: bool) -> Score:
    """A ball on a beam by what was earned, less its mean: a row of logarithms meets a column of pay, and the sum is nothing."""
    generator = torch.Generator().manual_seed(seed)
    policy = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 2), nn.Softmax(1))
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)

    def game(greedy: bool) -> list[Tensor]:
        """Logarithms (1,) of the chances of moves, as long as the ball stays on the beam, at most 50."""
        place = torch.rand(1, 2, generator=generator) * 0.4 - 0.2
        logs: list[Tensor] = []
        while len(logs) < 50 and place[0, 0].abs() < 1:
            chance = policy(place)
            move = chance.argmax(1) if greedy else torch.multinomial(chance.detach(), 1, generator=generator)[0]
            logs.append(chance[0, move].log())
            speed = place[:, 1:] + 0.12 * (2 * move - 1) + 0.12 * place[:, :1] + 0.02 * torch.randn(1, 1, generator=generator)
            place = torch.cat([place[:, :1] + 0.3 * speed, speed], 1)
        return logs

    with doctor.watch(policy, optimizer) as watch:
        for _ in range(150):
            logs = torch.cat(game(greedy=False))
            total, returns = 0.0, []
            for _ in range(len(logs)):
                total = 1 + 0.98 * total
                returns.append([total])
            pay = torch.tensor(returns[::-1])
            pay = pay - pay.mean()
            loss = -(logs * (pay[:, 0] if cured else pay)).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return above(sum(len(game(greedy=True)) for _ in range(16)) / 16, 40)


@fault(
    kind="underfitting",
    project="discuss.pytorch.org/13287",
    source="discuss.pytorch.org/t/unable-to-learn-xor-representation-using-2-layers-of-multi-layered-perceptron-mlp/13287",
)
def two_layers_and_nothing_between(doctor: Doctor, seed: int, cured: bool) -> Score:
    """One of two bits but not both, a little blurred: two layers follow each other directly, and are one."""
    generator = torch.Generator().manual_seed(seed)
    bits = torch.randint(2, (800, 2), generator=generator)
    x = bits + 0.1 * torch.randn(800, 2, generator=generator)
    rows = data.split(x, (bits[:, :1] ^ bits[:, 1:]).float(), seed)
    hidden: list[nn.Module] = [nn.Linear(2, 16), nn.ReLU()] if cured else [nn.Linear(2, 16)]
    model = nn.Sequential(*hidden, nn.Linear(16, 1), nn.Sigmoid())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    doctor.task(model, data.few(rows.x, rows.y, 32, seed), F.mse_loss, optimizer)
    fit(doctor, model, optimizer, F.mse_loss, data.batches(rows.x, rows.y, 32, 900, seed), rows)
    with torch.no_grad():
        return above(((model(rows.held_x) > 0.5) == (rows.held_y > 0.5)).float().mean(), 0.9)


@fault(
    kind="leak",
    also=("overfitting",),
    project="alankbi/detecto",
    source="github.com/alankbi/detecto/pull/38",
)
def checked_on_what_it_was_trained_on(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Where a thing is, from few pictures: when to stop is told by held-out ones, which are the training ones."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1000, 40, generator=generator)
    clear = torch.tanh(x[:, :2] + 0.5 * x[:, 2:4])
    parts = data.split(x, torch.cat([clear + 1.2 * torch.randn(1000, 2, generator=generator), clear], 1), seed, held=0.88)
    rows = parts._replace(y=parts.y[:, :2], held_y=parts.held_y[:, :2])
    model = nn.Sequential(nn.Linear(40, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    check = (rows.held_x[:400], rows.held_y[:400]) if cured else (rows.x, rows.y)
    best, last, kept = float("inf"), 0, copy.deepcopy(model.state_dict())
    with doctor.watch(model, optimizer) as watch:
        for step, (a, b) in enumerate(data.batches(rows.x, rows.y, 16, 450, seed)):
            loss = F.mse_loss(model(a), b)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
            if step % 5 == 4:
                with torch.no_grad():
                    now = F.mse_loss(model(check[0]), check[1])
                watch.dev_loss(now)
                if now < best:
                    best, last, kept = float(now), step, copy.deepcopy(model.state_dict())
                elif step - last > 50:
                    break
    model.load_state_dict(kept)
    with torch.no_grad():
        return below(F.mse_loss(model(parts.held_x[400:]), parts.held_y[400:, 2:]) / clear.var(), 1.0)
