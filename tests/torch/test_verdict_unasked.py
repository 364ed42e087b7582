"""Judges whose answers a generator is never trained by, and those that it is trained by now and then."""

from __future__ import annotations

from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from lettrine import health  # noqa: E402


def entropy(score: Tensor, label: float) -> Tensor:
    return functional.binary_cross_entropy_with_logits(score, torch.full_like(score, label))


def squares(score: Tensor, label: float) -> Tensor:
    return functional.mse_loss(score, torch.full_like(score, label))


def zeros(made: Tensor, _: Tensor) -> Tensor:
    return functional.mse_loss(made, torch.zeros_like(made))


def copies(made: Tensor, given: Tensor) -> Tensor:
    return functional.l1_loss(made, given[:, :2])


def said(
    of_judge: Callable[[Tensor, float], Tensor], own: Callable[[Tensor, Tensor], Tensor], asked: str, *, labels: int = 0
) -> list[str]:
    """labels: numbers that the judge is told beside each example. asked: at which steps the generator's loss holds the judge's
    answer: "never", "late", "fifth" or "always"; "both" steps the two after one loss, in which the judge sees a detached copy.
    """
    torch.manual_seed(0)
    g = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
    judge = nn.Sequential(nn.Linear(2 + labels, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
    told = torch.ones(16, labels)

    def d(example: Tensor) -> Tensor:
        return judge(torch.cat([example, told], 1) if labels else example)

    of_g, of_d = (torch.optim.Adam(each.parameters(), lr=1e-3) for each in (g, judge))
    with health.watch(nn.ModuleDict({"g": g, "d": judge}), [of_d, of_g]) as watch:
        for step in range(80):
            of_d.zero_grad()
            of_g.zero_grad()
            given = torch.randn(16, 4)
            made = g(given)
            loss = of_judge(d(torch.randn(16, 2) + 1), 1) + of_judge(d(made.detach()), 0)
            if asked == "both":
                (loss + own(made, given)).backward()
                of_d.step()
                of_g.step()
                watch.loss(loss)
                continue
            loss.backward()
            of_d.step()
            turn = asked == "always" or (asked == "late" and step >= 40) or (asked == "fifth" and step % 5 == 4)
            if turn or asked in ("never", "late"):
                of_g.zero_grad()
                (own(made, given) + (of_judge(d(made), 1) if turn else 0)).backward()
                of_g.step()
            watch.loss(loss)
    report = watch.report()
    assert report.trace.facts.errors == ()
    return [each.message for each in report.findings if each.id == "detached-generator" and each.severity != "info"]


@pytest.mark.parametrize("of_judge", [entropy, squares])
@pytest.mark.parametrize("own", [zeros, copies])
@pytest.mark.parametrize("asked", ["never", "both"])
def test_a_generator_that_asks_nobody(of_judge, own, asked) -> None:
    (message,) = said(of_judge, own, asked)
    assert "d is trained to tell what g makes from real examples, but no loss of g asks d" in message


def test_a_judge_that_is_told_labels() -> None:
    assert said(entropy, copies, "always", labels=3) == []
    assert len(said(entropy, copies, "never", labels=3)) == 1


@pytest.mark.parametrize("of_judge", [entropy, squares])
@pytest.mark.parametrize("asked", ["always", "late", "fifth"])
def test_a_generator_that_asks_now_and_then(of_judge, asked) -> None:
    assert said(of_judge, copies, asked) == []


def test_a_judge_of_two_views_of_one_network() -> None:
    """It only measures what the codes of two kinds of examples tell of their kind."""
    torch.manual_seed(0)
    encoder, probe = nn.Sequential(nn.Linear(4, 8), nn.Tanh()), nn.Linear(8, 1)
    head = nn.Linear(8, 4)
    model = nn.ModuleDict({"encoder": encoder, "probe": probe, "head": head})
    own, other = torch.optim.Adam([*encoder.parameters(), *head.parameters()], 1e-3), torch.optim.Adam(probe.parameters(), 1e-3)
    with health.watch(model, [own, other]) as watch:
        for _ in range(60):
            near, far = torch.randn(16, 4), torch.randn(16, 4) + 2
            loss = sum(functional.mse_loss(head(encoder(each)), each) for each in (near, far))
            own.zero_grad()
            loss.backward()
            own.step()
            other.zero_grad()
            (entropy(probe(encoder(near).detach()), 1) + entropy(probe(encoder(far).detach()), 0)).backward()
            other.step()
            watch.loss(loss)
    assert "detached-generator" not in [each.id for each in watch.report().findings]
