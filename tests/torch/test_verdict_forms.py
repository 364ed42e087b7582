"""One loss, written in many ways: what it is, what it is held against and what it compares is found in each of them."""

from __future__ import annotations

from collections.abc import Callable
from math import isnan

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from verdicts import batches, classes, net, numbers, watched

Loss = Callable[[Tensor, Tensor], Tensor]
ROWS = torch.arange(32)


def hot(y: Tensor) -> Tensor:
    return functional.one_hot(y, 4).float()


OF_CLASSES: dict[str, Loss] = {
    "function": functional.cross_entropy,
    "summed": lambda z, y: functional.cross_entropy(z, y, reduction="sum") / len(y),
    "gathered": lambda z, y: -z.log_softmax(-1).gather(1, y[:, None]).mean(),
    "indexed": lambda z, y: -functional.log_softmax(z, 1)[ROWS, y].mean(),
    "taken": lambda z, y: -torch.take_along_dim(z.log_softmax(1), y[:, None], 1).squeeze(1).mean(),
    "log of a share": lambda z, y: -z.softmax(1)[ROWS, y].log().mean(),
    "guarded": lambda z, y: -torch.log(z.softmax(1).gather(1, y[:, None]) + 1e-9).mean(),
    "one-hot": lambda z, y: -(hot(y) * z.log_softmax(1)).sum(1).mean(),
    "einsum": lambda z, y: -torch.einsum("bk,bk->b", hot(y), z.log_softmax(1)).mean(),
    "logsumexp": lambda z, y: (z.logsumexp(1) - z[ROWS, y]).mean(),
    "logsumexp, gathered": lambda z, y: (z.logsumexp(1) - z.gather(1, y[:, None])[:, 0]).mean(),
}
OF_LABELS: dict[str, Loss] = {
    "function": functional.binary_cross_entropy_with_logits,
    "of probabilities": lambda z, y: functional.binary_cross_entropy(z.sigmoid(), y),
    "softplus": lambda z, y: (functional.softplus(z) - y * z).mean(),
    "two softplus": lambda z, y: (y * functional.softplus(-z) + (1 - y) * functional.softplus(z)).mean(),
    "log-sigmoid": lambda z, y: -(y * functional.logsigmoid(z) + (1 - y) * functional.logsigmoid(-z)).mean(),
    "logarithms": lambda z, y: -(y * torch.log(z.sigmoid() + 1e-7) + (1 - y) * torch.log(1 - z.sigmoid() + 1e-7)).mean(),
    "two means": lambda z, y: -(y * z.sigmoid().log()).mean() - ((1 - y) * (1 - z.sigmoid()).log()).mean(),
}
OF_NUMBERS: dict[str, Loss] = {
    "function": functional.mse_loss,
    "power": lambda p, y: ((y - p) ** 2).mean(),
    "product": lambda p, y: ((p - y) * (p - y)).mean(),
    "square": lambda p, y: torch.square(p - y).sum() / len(y),
}


def seen(loss: Loss, data: tuple[Tensor, Tensor], out: int) -> tuple[dict[str, str], float, bool]:
    """What a loss was taken for, what it is held against in its own units, and whether a comparison with data was seen."""
    report = watched(net(out=out), batches(*data), lambda model, x, y: loss(model(x), y), steps=12)
    (found,) = report.trace.seen("loss")
    compared = any(each.figure("given") == 1 for each in report.trace.seen("comparison"))
    return dict(found.words), found.figure("reference"), compared


@pytest.mark.parametrize("name", OF_CLASSES)
def test_cross_entropy(name: str) -> None:
    data = classes()
    words, reference, compared = seen(OF_CLASSES[name], data, 4)
    assert (words["kind"], words["nature"], compared) == ("cross-entropy", "", True)
    assert reference == pytest.approx(seen(functional.cross_entropy, data, 4)[1])


@pytest.mark.parametrize("name", OF_LABELS)
def test_binary_cross_entropy(name: str) -> None:
    x, y = classes(kinds=2)
    data = x, y[:, None].float()
    words, reference, compared = seen(OF_LABELS[name], data, 1)
    assert (words["kind"], words["nature"]) == ("binary cross-entropy", "")
    assert compared or name == "two softplus"  # whose labels multiply no prediction
    assert reference == pytest.approx(seen(functional.binary_cross_entropy_with_logits, data, 1)[1])


@pytest.mark.parametrize("name", OF_NUMBERS)
def test_squared_error(name: str) -> None:
    x, y = numbers()
    data = x, y[:, None]
    words, reference, compared = seen(OF_NUMBERS[name], data, 1)
    assert (words["kind"], words["nature"], compared) == ("squared error", "", True)
    assert reference == pytest.approx(seen(functional.mse_loss, data, 1)[1])


def test_a_norm_is_the_root_of_a_sum() -> None:
    x, y = numbers()
    _, square, _ = seen(lambda p, y: functional.mse_loss(p, y, reduction="sum"), (x, y[:, None]), 1)
    words, reference, _ = seen(lambda p, y: torch.norm(p - y), (x, y[:, None]), 1)
    assert words["kind"] == "squared error"
    assert reference == pytest.approx(square**0.5)


def test_rewards_times_the_logarithms_of_chosen_actions_are_no_cross_entropy() -> None:
    rewards = torch.randn(32, generator=torch.Generator().manual_seed(2))
    for loss in (
        lambda z, y: -(z.log_softmax(1).gather(1, y[:, None])[:, 0] * rewards).mean(),
        lambda z, y: -(torch.distributions.Categorical(logits=z).log_prob(y) * rewards).mean(),
        lambda z, y: -(torch.stack(list(torch.distributions.Categorical(logits=z).log_prob(y))) * (rewards - 10)).mean(),
    ):
        words, reference, _ = seen(loss, classes(), 4)
        assert words["nature"]
        assert isnan(reference)
