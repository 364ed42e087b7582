"""Ranking losses that are bent once for a whole batch, and those that are bent for each pair."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from verdicts import batches, classes, watched

FAULTS = {
    "log of a sum": lambda p, n: -F.logsigmoid((p - n).sum()),
    "log of sums": lambda p, n: -torch.log(torch.sigmoid(p.sum() - n.sum()) + 1e-8),
    "softplus of a mean": lambda p, n: F.softplus((n - p).mean()) + 0.01 * p.square().mean(),
    "hinge of a sum": lambda p, n: (1 - (p - n).sum()).clamp(min=0),
    "hinge of distances": lambda p, n: F.relu(1 + torch.norm(n[:, None] - 1) - torch.norm(p[:, None] - 1)),
}
HEALTHY = {
    "log": lambda p, n: -F.logsigmoid(p - n).mean(),
    "softplus": lambda p, n: F.softplus(n - p).sum(),
    "hinge": lambda p, n: (1 - p + n).clamp(min=0).mean(),
    "at least so much": lambda p, n: (p - n).square().mean().clamp(min=0.1),
    "a bound": lambda p, n: -(p.mean() - torch.log(torch.exp(n).mean())),  # of Donsker and Varadhan
}


def ranked(form) -> tuple[nn.Module, list]:
    torch.manual_seed(0)
    x, _ = classes()
    tower = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 1), nn.Flatten(0))
    better = [(pair[0], pair[0].flip(0)) for pair, _ in zip(batches(x, x), range(8), strict=False)]
    return tower, watched(tower, better, lambda model, a, b: form(model(a), model(b)), steps=40, every=5)


@pytest.mark.parametrize("form", FAULTS)
def test_bent_once(form):
    _, report = ranked(FAULTS[form])
    finding = next(each for each in report.findings if each.id == "averaged-first")
    assert finding.severity == "warning"
    assert "is taken of all 32" in finding.message
    assert ("distance" in finding.remedy) is ("hinge" in form)


@pytest.mark.parametrize("form", HEALTHY)
def test_bent_for_each_pair(form):
    _, report = ranked(HEALTHY[form])
    assert "averaged-first" not in {each.id for each in report.findings}


def test_probabilities_of_a_whole_batch():
    def one(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return -(model(x).softmax(1) * F.one_hot(y, 4)).sum().log()

    model = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 4))
    found = {each.id: each for each in watched(model, batches(*classes()), one, steps=40, every=5).findings}
    assert "all 32 probabilities" in found["averaged-first"].message
    each = watched(model, batches(*classes()), lambda m, x, y: -(m(x).softmax(1) * F.one_hot(y, 4)).sum(1).log().mean(), steps=40)
    assert "averaged-first" not in {each.id for each in each.findings}


def test_one_pair_at_a_time():
    """The sum over the numbers of two vectors is the score of a pair, not a sum over pairs."""
    torch.manual_seed(0)
    table = nn.Embedding(64, 16)

    def of_one(model: nn.Module, x: Tensor, _: Tensor) -> Tensor:
        user, liked, other = model(x[0]), model(x[1]), model(x[2])
        ahead = (user * (liked - other)).sum()
        return F.relu(1 + torch.norm(user - liked) - torch.norm(user - other)) - F.logsigmoid(
            ahead + (user * liked).sum() - (user * other).sum()
        )

    draws = [(torch.randint(64, (3,)), torch.zeros(3)) for _ in range(40)]
    assert "averaged-first" not in {each.id for each in watched(table, draws, of_one, steps=40, every=5).findings}


def test_a_text_at_a_time():
    """Tokens of one text: the log-probability of the text is the sum over them."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(32, 16), nn.Tanh(), nn.Linear(16, 32))

    def preferred(model: nn.Module, better: Tensor, worse: Tensor) -> Tensor:
        told = [model(each).log_softmax(-1).gather(1, each[:, None])[:, 0].sum() for each in (better, worse)]
        return -F.logsigmoid(0.1 * (told[0] - told[1]))

    draws = [(torch.randint(32, (24,)), torch.randint(32, (24,))) for _ in range(40)]
    assert "averaged-first" not in {each.id for each in watched(model, draws, preferred, steps=40, every=5).findings}
