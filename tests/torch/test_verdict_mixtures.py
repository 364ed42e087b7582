"""Likelihoods of mixtures whose weights sum to 1, and of others."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from verdicts import batches, net, numbers, watched

from lettrine import health

Weights = Callable[[Tensor], Tensor]
BELL = (2 * torch.pi) ** 0.5


def found(likelihood: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]) -> list[health.Finding]:
    x, y = numbers()

    def loss(model, x: Tensor, y: Tensor) -> Tensor:
        weights, mean, width = model(x).chunk(3, 1)  # (B, 4) each
        return -likelihood(weights, mean, width.clamp(-3, 3).exp(), y).mean()

    report = watched(net(out=12), batches(x, y[:, None]), loss, steps=120, rate=3e-3)
    return [each for each in report.findings if each.id in ("other-loss", "softmax-axis")]


def of_a_sum(weigh: Weights):
    def likelihood(weights: Tensor, mean: Tensor, width: Tensor, y: Tensor) -> Tensor:
        bells = torch.exp(-0.5 * ((y - mean) / width) ** 2) / (width * BELL)
        return torch.log((weigh(weights) * bells).sum(1) + 1e-8)

    return likelihood


def of_logarithms(weigh: Weights):
    def likelihood(weights: Tensor, mean: Tensor, width: Tensor, y: Tensor) -> Tensor:
        return torch.logsumexp(weigh(weights) + torch.distributions.Normal(mean, width).log_prob(y), 1)

    return likelihood


@pytest.mark.parametrize(
    ("form", "weigh", "check", "word"),
    [
        (of_a_sum, torch.sigmoid, "other-loss", "sigmoid"),
        (of_a_sum, lambda z: z.softmax(0), "softmax-axis", "along another axis"),
        (of_logarithms, F.logsigmoid, "other-loss", "sigmoid"),
        (of_logarithms, lambda z: F.softplus(z).log(), "other-loss", "softplus"),
        (of_logarithms, lambda z: z.log_softmax(0), "softmax-axis", "along another axis"),
        (of_logarithms, lambda z: 10 * z - 9 * z, "", ""),  # not read
    ],
)
def test_weights_that_do_not_sum_to_one(form, weigh: Weights, check: str, word: str) -> None:
    findings = found(form(weigh))
    assert [(each.id, each.severity) for each in findings] == ([(check, "warning")] if check else [])
    assert all(word in each.message and "softmax along axis 1" in each.remedy for each in findings)


@pytest.mark.parametrize(
    "likelihood",
    [
        of_a_sum(lambda z: z.softmax(1)),
        of_logarithms(lambda z: z.log_softmax(1)),
        of_logarithms(lambda z: z.softmax(1).log()),
        lambda z, mean, width, y: torch.logsumexp(
            z.log_softmax(1) - 0.5 * ((y - mean) / width) ** 2 - F.softplus(width).log(), 1
        ),
        # opacities of bells, which are no densities
        lambda z, mean, width, y: torch.log((z.sigmoid() * torch.exp(-(((y - mean) / width) ** 2))).sum(1) + 1e-6),
        # yes or no of two parts
        lambda z, mean, width, y: torch.log(
            (
                torch.stack([z[:, 0].sigmoid(), 1 - z[:, 0].sigmoid()], 1)
                * torch.exp(-0.5 * ((y - mean[:, :2]) / width[:, :2]) ** 2)
                / width[:, :2]
            ).sum(1)
            + 1e-8
        ),
        lambda z, mean, width, y: torch.distributions.MixtureSameFamily(
            torch.distributions.Categorical(logits=z), torch.distributions.Normal(mean, width)
        ).log_prob(y[:, 0]),
    ],
)
def test_mixtures_that_are_right(likelihood) -> None:
    assert found(likelihood) == []
