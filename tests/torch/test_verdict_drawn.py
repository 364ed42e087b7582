"""Targets drawn at random, terms of a loss with the wrong sign, triplets in another order, and layers without a bias."""

from __future__ import annotations

from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from lettrine import health  # noqa: E402


def report_of(model: nn.Module, loss_of: Callable[[], Tensor], steps: int = 60, rate: float = 1e-2) -> health.Report:
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)
    with health.watch(model, optimiser) as watch:
        for _ in range(steps):
            loss = loss_of()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            watch.loss(loss)
    report = watch.report()
    assert report.trace.facts.errors == ()
    return report


def loud(report: health.Report) -> list[health.Finding]:
    return [each for each in report.findings if each.severity != "info"]


class Denoiser(nn.Module):
    """Answers with the noise in x, told how much of it there is."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 32), nn.SiLU(), nn.Linear(32, 2))

    def forward(self, x: Tensor, amount: Tensor) -> Tensor:
        return self.body(torch.cat([x, amount], 1))


def denoising(again: Callable[[Tensor], Tensor]) -> health.Report:
    torch.manual_seed(0)
    model = Denoiser()

    def loss() -> Tensor:
        x, amount = torch.randn(64, 2).sign(), torch.rand(64, 1)
        noise = torch.randn_like(x)
        noisy = (1 - amount).sqrt() * x + amount.sqrt() * noise
        return functional.mse_loss(model(noisy, amount), again(noise))

    return report_of(model, loss)


def test_noise_that_was_drawn_for_the_loss_alone() -> None:
    (found,) = loud(denoising(torch.randn_like))
    assert (found.id, found.severity, found.where) == ("shuffled-targets", "critical", ("body.2",))
    assert "come from randn_like" in found.message
    assert "Draw the noise once" in found.remedy


def test_the_noise_in_the_input() -> None:
    assert loud(denoising(lambda noise: noise)) == []


def test_noise_that_the_network_is_given() -> None:
    """An autoencoder of random numbers, and targets to which noise was added."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 4))

    def itself() -> Tensor:
        x = torch.randn(64, 4)
        return functional.mse_loss(model(x), x)

    def noisy() -> Tensor:
        x = torch.randn(64, 4)
        return functional.mse_loss(model(x), x + 0.1 * torch.randn_like(x))

    assert loud(report_of(model, itself)) == []
    assert loud(report_of(model, noisy)) == []


class Coder(nn.Module):
    """A variational autoencoder."""

    def __init__(self) -> None:
        super().__init__()
        self.mean, self.log_var, self.back = nn.Linear(6, 3), nn.Linear(6, 3), nn.Linear(3, 6)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_var = self.mean(x), self.log_var(x)
        return self.back(mean + torch.randn_like(mean) * (0.5 * log_var).exp()), mean, log_var


def coding(sign: float) -> health.Report:
    torch.manual_seed(0)
    model = Coder()

    def loss() -> Tensor:
        x = torch.randn(64, 1).expand(64, 6) + 0.1 * torch.randn(64, 6)
        y, mean, log_var = model(x)
        kl = -0.5 * (1 + log_var - mean.square() - log_var.exp()).sum(1).mean()
        return (y - x).square().sum(1).mean() + sign * kl

    return report_of(model, loss, steps=300)


def test_a_divergence_that_is_subtracted() -> None:
    (found,) = loud(coding(-1.0))
    assert (found.id, found.severity) == ("wrong-direction", "critical")
    assert found.value < found.limit < 0
    assert "falls without end" in found.message
    assert "do not subtract it" in found.remedy


def test_a_divergence_that_is_added() -> None:
    assert loud(coding(1.0)) == []


def test_another_term_without_a_lowest_value() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))

    def loss() -> Tensor:
        x = torch.randn(64, 4)
        y = model(x)
        return functional.mse_loss(y, x[:, :2]) - 10 * y.var(0).sum()

    (found,) = loud(report_of(model, loss, steps=200, rate=0.1))
    assert found.id == "wrong-direction"
    assert "term that grows" in found.remedy


def test_a_density_below_0() -> None:
    """A negative log-likelihood of numbers that are known to a thousandth: far below 0, and no fault."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 4))

    def loss() -> Tensor:
        x = torch.randn(64, 4)
        mean, log_std = model(x).chunk(2, 1)
        return 100 * ((1e-3 * x[:, :2] - mean).square() / (2 * (2 * log_std).exp() + 1e-9) + log_std).sum(1).mean()

    assert not [each for each in loud(report_of(model, loss, steps=300)) if "without end" in each.message]


def triplets(order: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]) -> health.Report:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 8))
    centres = torch.randn(6, 8)

    def loss() -> Tensor:
        kind = torch.randint(0, 6, (64,))
        elsewhere = (kind + torch.randint(1, 6, (64,))) % 6
        three = [model(centres[each] + 0.3 * torch.randn(64, 8)) for each in (kind, kind, elsewhere)]
        return functional.triplet_margin_loss(*order(*three))

    return report_of(model, loss, steps=120, rate=3e-3)


def test_triplets_in_another_order() -> None:
    (found,) = loud(triplets(lambda anchor, positive, negative: (anchor, negative, positive)))
    assert (found.id, found.severity) == ("no-learning", "warning")
    assert found.value > 0.8
    assert "triplet_margin_loss(anchor, positive, negative)" in found.remedy


def test_triplets_as_they_should_be() -> None:
    assert loud(triplets(lambda *three: three)) == []


def test_the_hardest_of_a_batch() -> None:
    """Farther positives than negatives are chosen on purpose."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 8))
    centres, kind = torch.randn(6, 8), torch.arange(60) % 6

    def loss() -> Tensor:
        vectors = model(centres[kind] + 2 * torch.randn(60, 8))
        far, alike = torch.cdist(vectors, vectors).detach(), kind[:, None] == kind
        hardest = (far * alike).argmax(1), (far + 1e3 * alike).argmin(1)
        return functional.triplet_margin_loss(vectors, vectors[hardest[0]], vectors[hardest[1]], margin=1e3)

    report = report_of(model, loss, steps=60, rate=1e-5)
    (seen,) = report.trace.seen("triplets")
    assert seen.figure("farther") > 0.6
    assert seen.figure("value") > 0.9 * seen.figure("first")
    assert seen.figure("chosen") == 1
    assert not [each for each in loud(report) if "Before any training" in each.message]


def numbers(*, bias: bool, mean: float) -> health.Report:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 32, bias=bias), nn.Tanh(), nn.Linear(32, 1, bias=bias))

    def loss() -> Tensor:
        x = torch.randn(64, 4)
        y = 0.5 * torch.sin(2 * x[:, 0]) + 0.3 * x[:, 1] + mean
        return functional.mse_loss(model(x)[:, 0], y)

    return report_of(model, loss, steps=300)


def test_targets_far_from_0_without_a_bias() -> None:
    (found,) = loud(numbers(bias=False, mean=6.0))
    assert (found.id, found.severity, found.where) == ("target-scale", "warning", ("2",))
    assert found.value == pytest.approx(12, rel=0.1)  # 6 by a std of 0.5
    assert "2 has no bias" in found.message
    assert "(bias=True), best begun at 6" in found.remedy


@pytest.mark.parametrize(("bias", "mean"), [(True, 6.0), (False, 0.0), (False, 0.3)])
def test_targets_that_can_be_reached(bias: bool, mean: float) -> None:
    assert loud(numbers(bias=bias, mean=mean)) == []
