"""A generator and its judge: opposite ways, and the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from lettrine import health  # noqa: E402

Score = Callable[[Tensor], Tensor]


def entropy(label: float) -> Score:
    return lambda score: functional.binary_cross_entropy_with_logits(score, torch.full_like(score, label))


def squares(label: float) -> Score:
    return lambda score: functional.mse_loss(score, torch.full_like(score, label))


def higher(score: Tensor) -> Tensor:
    return -score.mean()


def lower(score: Tensor) -> Tensor:
    return score.mean()


def hinge(sign: float) -> Score:
    return lambda score: functional.relu(1 + sign * score).mean()


def logarithm(score: Tensor) -> Tensor:
    return -(score.sigmoid() + 1e-8).log().mean()


def opposite(score: Tensor) -> Tensor:
    return -(1 - score.sigmoid() + 1e-8).log().mean()


def said(real: Score, made: Score, maker: Score, *, apart: bool = False, at_once: bool = False) -> list[health.Finding]:
    """Losses of the judge for real and made examples, and of the generator. apart: the judge's are two passes; at_once: one loss
    steps both.
    """
    torch.manual_seed(0)
    g = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
    d = nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
    of_g, of_d = (torch.optim.Adam(each.parameters(), lr=1e-3) for each in (g, d))
    with health.watch(nn.ModuleDict({"g": g, "d": d}), [of_d, of_g]) as watch:
        for _ in range(40):
            of_d.zero_grad()
            loss = real(d(torch.randn(16, 2) + 1))
            if apart:
                loss.backward()
                loss = torch.zeros(())
            fake = g(torch.randn(16, 4))
            loss = loss + made(d(fake.detach()))
            if not at_once:
                loss.backward()
                of_d.step()
            of_g.zero_grad()
            loss = maker(d(fake)) + (loss if at_once else 0)
            loss.backward()
            of_g.step()
            if at_once:
                of_d.step()
            watch.loss(loss)
    report = watch.report()
    assert report.trace.facts.errors == ()
    return [each for each in report.findings if each.id == "same-side" and each.severity != "info"]


PAIRS = [(entropy(1), entropy(0)), (squares(0.9), squares(0)), (higher, lower), (hinge(-1), hinge(1)), (logarithm, opposite)]


@pytest.mark.parametrize(("real", "made"), PAIRS)
def test_a_generator_on_the_side_of_its_judge(real: Score, made: Score) -> None:
    (found,) = said(real, made, made)
    assert found.severity == "critical"
    assert found.where == ("d", "g")
    assert "The steps of g make the score that d gives to its examples lower" in found.message
    assert said(real, made, real) == []
    assert said(made, real, made) == []  # labels the other way round


def test_passes_of_their_own() -> None:
    assert len(said(entropy(1), entropy(0), entropy(0), apart=True)) == 1
    assert said(entropy(1), entropy(0), entropy(1), apart=True) == []


@pytest.mark.parametrize("score", [entropy(1), higher])
def test_a_judge_that_is_told_one_thing(score: Score) -> None:
    (found,) = said(score, score, score)
    assert "for real examples and for those of g alike" in found.message


def test_one_loss_for_both() -> None:
    assert said(entropy(1), entropy(1), entropy(1), at_once=True) == []


@pytest.mark.parametrize("sound", [True, False])
def test_signs_handed_to_the_backward_pass(sound: bool) -> None:
    torch.manual_seed(0)
    g = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
    d = nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
    of_g, of_d = (torch.optim.Adam(each.parameters(), lr=1e-3) for each in (g, d))
    up, down = torch.tensor(-1.0), torch.tensor(1.0)
    with health.watch(nn.ModuleDict({"g": g, "d": d}), [of_d, of_g]) as watch:
        for _ in range(40):
            of_d.zero_grad()
            real = d(torch.randn(16, 2) + 1).mean()
            real.backward(up)
            fake = g(torch.randn(16, 4))
            made = d(fake.detach()).mean()
            made.backward(gradient=down)
            of_d.step()
            of_g.zero_grad()
            d(fake).mean().backward(up if sound else down)
            of_g.step()
            watch.loss(made - real)
    report = watch.report()
    assert report.trace.facts.errors == ()
    assert any(each.id == "same-side" for each in report.findings) is not sound


@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize("sound", [True, False])
def test_five_steps_of_the_judge_before_one_of_the_generator(sound: bool, apart: bool) -> None:
    """As a Wasserstein critic is trained. apart: its score of real and of made examples are two passes, each step."""
    torch.manual_seed(0)
    g = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
    d = nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
    of_g, of_d = (torch.optim.RMSprop(each.parameters(), lr=1e-3) for each in (g, d))
    with health.watch(nn.ModuleDict({"g": g, "d": d}), [of_g, of_d]) as watch:
        for _ in range(40):
            for _ in range(2 if apart else 5):
                of_d.zero_grad()
                loss = d(g(torch.randn(16, 4)).detach()).mean()
                if apart:
                    loss.backward()
                    loss = torch.zeros(())
                (loss - d(torch.randn(16, 2) + 1).mean()).backward()
                of_d.step()
            of_g.zero_grad()
            loss = d(g(torch.randn(16, 4))).mean()
            (-loss if sound else loss).backward()
            of_g.step()
            watch.loss(loss)
    assert [each.id for each in watch.report().findings if each.severity != "info"] == ([] if sound else ["same-side"])
