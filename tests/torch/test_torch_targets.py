"""What the gradients of logits tell of targets, and of answers that do not look at the input."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from lettrine import health  # noqa: E402
from lettrine.health.checks import examine  # noqa: E402
from lettrine.health.findings import Report  # noqa: E402
from lettrine.torch.capture.targets import targets  # noqa: E402


def zipf(classes: int) -> tuple[Tensor, float]:
    """Probabilities that fall as 1 / rank, and their entropy, summed term by term."""
    shares = [1 / rank for rank in range(1, classes + 1)]
    total = sum(shares)
    entropy = -sum(share / total * math.log(share / total) for share in shares)
    return torch.tensor(shares, dtype=torch.float64) / total, entropy


def gradient_of(logits: Tensor, places: Tensor, **options: str) -> tuple[Tensor, float]:
    logits = logits.detach().requires_grad_()
    loss = functional.cross_entropy(logits, places, **options)
    loss.backward()
    assert logits.grad is not None
    return logits.grad, loss.item()


def test_the_entropy_of_a_thousand_unevenly_frequent_classes() -> None:
    """From 40 batches of 128 targets, drawn without luck; the check's own margin is 1 %."""
    shares, entropy = zipf(1_000)
    assert entropy == pytest.approx(5.191, abs=1e-3)
    generator = torch.Generator().manual_seed(1)
    even = (torch.arange(40 * 128, dtype=torch.float64) + 0.5) / (40 * 128)
    drawn = torch.searchsorted(shares.cumsum(0), even)[torch.randperm(len(even), generator=generator)]
    for spread in (0.0, 0.3):  # of the logits from example to example, which tells nothing of the targets
        blind, gains = [], []
        for places in drawn.split(128):
            logits = shares.log() + spread * torch.randn(128, 1_000, generator=generator, dtype=torch.float64)
            gradient, loss = gradient_of(logits, places)
            found = targets(gradient)
            blind.append(found.blind())
            gains.append(blind[-1] - loss)
            assert found.noise() == pytest.approx(spread**2 / 128, rel=0.2, abs=1e-12)
        error = spread / math.sqrt(128 * 40)
        assert np.mean(gains) == pytest.approx(-(spread**2) / 2, abs=3 * error + 1e-3)  # what the noise costs: E log exp = -v / 2
        assert np.mean(blind) == pytest.approx(entropy, rel=2e-3)


def test_what_the_input_tells_is_the_gain() -> None:
    """Inputs that tell in which half of 100 classes the target is are worth ln 2."""
    generator = torch.Generator().manual_seed(2)
    places = torch.randint(100, (1_024,), generator=generator)
    halves = torch.arange(100) // 50
    logits = torch.where(halves == halves[places][:, None], 0.0, -30.0)
    gradient, loss = gradient_of(logits, places)
    assert loss == pytest.approx(math.log(50), abs=1e-5)
    # A fiftieth off, as all targets have a probability of 1/50 and the least is taken for 0.
    assert targets(gradient).blind() - loss == pytest.approx(math.log(2) + math.log(0.98), abs=0.03)


def test_a_second_implementation_agrees_in_any_shape_scale_and_type() -> None:
    generator = torch.Generator().manual_seed(3)
    logits = 2 * torch.randn(6, 70, 9, generator=generator, dtype=torch.float64)  # classes along axis 1
    places = torch.randint(70, (6, 9), generator=generator)
    places[2, :4] = -100
    gradient, _ = gradient_of(logits, places)
    answers = logits.softmax(1).movedim(1, -1).reshape(-1, 70)
    flat = places.reshape(-1)
    kept = flat >= 0
    answers, flat = answers[kept], flat[kept]
    scale = 1 - float(min(answers[i, flat[i]] for i in range(len(flat))))
    logs = [torch.log(answers[flat != each][:, each].mean() / scale) for each in flat]
    expected = -float(torch.stack(logs).mean())
    for factor, dtype, tolerance in ((1.0, torch.float64, 1e-9), (65536.0, torch.float32, 1e-5), (0.25, torch.bfloat16, 0.02)):
        found = targets((factor * gradient).to(dtype), 1)
        assert found.places.tolist() == flat.tolist()
        assert found.blind() == pytest.approx(expected, rel=tolerance)
        assert found.others.shape == (50, 50)


def test_tables_of_any_size_are_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(4)
    gradient, _ = gradient_of(torch.randn(7, 30, 80, generator=generator).movedim(2, 1), torch.arange(210).reshape(7, 30) % 80)
    whole = targets(gradient, 1)
    monkeypatch.setattr("lettrine.torch.capture.targets._BLOCK", 5_000)
    for before, after in zip(whole, targets(gradient, 1), strict=True):
        assert after == pytest.approx(before, rel=1e-4, abs=1e-7)
    on_a_device = targets_as_on_a_device(gradient, monkeypatch)
    for before, after in zip(whole, on_a_device, strict=True):
        assert after == pytest.approx(before, rel=1e-4, abs=1e-7)


def targets_as_on_a_device(gradient: Tensor, monkeypatch: pytest.MonkeyPatch) -> tuple[np.ndarray, ...]:
    from lettrine.torch.capture import targets as module  # noqa: PLC0415

    monkeypatch.setattr(module, "_scanned", module._reduced)
    return module.targets(gradient, 1)


def test_without_another_target_nothing_is_known() -> None:
    gradient, _ = gradient_of(torch.randn(8, 70), torch.full((8,), 3))
    assert math.isnan(targets(gradient).blind())
    assert math.isnan(targets(gradient).noise())
    ignored, _ = gradient_of(torch.randn(8, 70), torch.full((8,), -100), reduction="sum")
    assert math.isnan(targets(ignored).blind())
    assert math.isnan(targets(ignored).noise())


def trained(classes: int, *, related: float, batch: int = 64, steps: int = 600, seed: int = 0) -> Report:
    """A network on unevenly frequent targets that the inputs tell something of, or nothing."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        shares, _ = zipf(classes)
        ties = related * torch.randn(20, classes)
        model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, classes))
        optimiser = torch.optim.AdamW(model.parameters(), 2e-3)
        with health.watch(model, optimiser) as watch:
            for _ in range(steps):
                x = torch.randn(batch, 20)
                y = torch.multinomial(torch.softmax(x @ ties + shares.log().float(), 1), 1)[:, 0]
                loss = functional.cross_entropy(model(x), y)
                loss.backward()
                optimiser.step()
                optimiser.zero_grad()
                watch.loss(loss)
    report = watch.report()
    assert report.trace.facts.errors == ()
    assert math.isnan(report.trace.facts.chance)  # too few targets were seen to know the frequencies
    return report


@pytest.mark.parametrize("classes", [300, 1_000])  # gradients that are copied whole, and in part
def test_a_network_stuck_at_the_chance_of_many_uneven_classes_is_named(classes: int) -> None:
    _, entropy = zipf(classes)
    report = trained(classes, related=0.0)
    (cause,) = report.findings
    assert cause.id == "shuffled-targets"  # no input has to do with its target
    (finding,) = examine(report.trace, only=["no-learning"]).findings
    assert finding.message in cause.explains
    assert "no better than giving every input the same answer" in finding.message
    assert finding.limit == pytest.approx(entropy, rel=0.03)
    assert finding.limit < 0.95 * math.log(classes)


def test_a_network_that_learns_many_uneven_classes_is_healthy() -> None:
    assert trained(300, related=0.5).healthy
