"""A fault of what acts: a guess of the length that is pulled along with the chances."""

from __future__ import annotations

import torch
from benchmarks.wild.case import Score, below, fault
from benchmarks.wild.doctor import Doctor
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Tour(nn.Module):
    """Points at one city after another; a second net guesses how long the tour will be."""

    def __init__(self) -> None:
        super().__init__()
        self.city = nn.Sequential(nn.Linear(2, 48), nn.ReLU(), nn.Linear(48, 48))
        self.ask = nn.Sequential(nn.Linear(96, 48), nn.ReLU(), nn.Linear(48, 48))
        self.guess = nn.Sequential(nn.Linear(2, 48), nn.ReLU(), nn.Linear(48, 48))
        self.length = nn.Linear(48, 1)

    def baseline(self, cities: Tensor) -> Tensor:
        return self.length(self.guess(cities).mean(1))[:, 0]

    def forward(self, cities: Tensor) -> tuple[Tensor, Tensor]:
        h, rows = self.city(cities), torch.arange(len(cities))
        at, gone = torch.zeros(len(cities), dtype=torch.long), torch.zeros(cities.shape[:2]).bool()
        length, log = torch.zeros(len(cities)), torch.zeros(len(cities))
        for _ in range(cities.shape[1] - 1):
            gone = gone.scatter(1, at[:, None], value=True)
            asked = self.ask(torch.cat([h[rows, at], h.mean(1)], 1))
            score = ((h * asked[:, None]).sum(2) / 7).masked_fill(gone, -1e9).log_softmax(1)
            after = torch.multinomial(score.detach().exp(), 1)[:, 0]
            log = log + score[rows, after]
            length = length + (cities[rows, after] - cities[rows, at]).norm(dim=1)
            at = after
        return length, log


@fault(
    kind="other-loss",
    also=("gradient-scale",),
    project="jingw2/neural-combinatorial-optimization-rl",
    source="github.com/jingw2/neural-combinatorial-optimization-rl/issues/1",
)
def a_guess_that_is_pulled_along(doctor: Doctor, seed: int, cured: bool) -> Score:
    """Ways through eight cities, less a guess of their length: the loss of the ways reaches the guess and draws it off."""
    torch.manual_seed(seed)
    model = Tour()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    with doctor.watch(model, optimizer) as watch:
        for _ in range(500):
            cities = torch.rand(96, 8, 2)
            length, log = model(cities)
            guess = model.baseline(cities)
            gain = length - (guess.detach() if cured else guess)
            loss = (gain * log).mean() + F.mse_loss(guess, length)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.loss(loss)
    with torch.no_grad():
        return below(model(torch.rand(1000, 8, 2))[0].mean(), 2.5)
