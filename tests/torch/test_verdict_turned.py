"""Maps that are mirrored apart from their pictures, and networks that are told one amount of noise for all rows."""

from __future__ import annotations

from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from verdicts import alarms, watched  # noqa: E402

from lettrine import health  # noqa: E402

Pair = tuple[Tensor, Tensor]


def discs(count: int = 300, side: int = 24) -> tuple[Tensor, Tensor]:
    """(B, 1, H, W) pictures of a disc somewhere under noise, and (B, H, W) where it is."""
    generator = torch.Generator().manual_seed(2)
    places, middle = torch.arange(side), 4 + (side - 8) * torch.rand(2, count, 1, 1, generator=generator)
    maps = ((places[:, None] - middle[0]) ** 2 + (places - middle[1]) ** 2 < 9).float()
    return (maps + 0.4 * torch.randn(count, side, side, generator=generator))[:, None], maps


def smooth(count: int = 300, side: int = 24) -> Tensor:
    return functional.interpolate(torch.randn(count, 1, 4, 4), size=(side, side), mode="bilinear")


def outlined(x: Tensor, y: Tensor, change: Callable[[Tensor, Tensor], Pair], classes: int = 0) -> health.Report:
    """A small convolutional network; each row is changed by `change` before it is learned from."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 8, 5, padding=2), nn.Tanh(), nn.Conv2d(8, max(classes, 1), 5, padding=2)]
    generator = torch.Generator().manual_seed(1)

    def batches() -> object:
        while True:
            rows = torch.randint(len(x), (16,), generator=generator)
            pairs = [change(x[row], y[row]) for row in rows]
            yield torch.stack([a for a, _ in pairs]), torch.stack([b for _, b in pairs])

    def loss(model: nn.Module, a: Tensor, b: Tensor) -> Tensor:
        said = model(a)
        return functional.cross_entropy(said, b) if classes else functional.mse_loss(said.reshape(b.shape), b)

    return watched(nn.Sequential(*layers), batches(), loss, steps=60)


def found(report: health.Report, name: str) -> list[health.Finding]:
    return [each for each in report.findings if each.id == name]


def apart(a: Tensor, b: Tensor) -> Pair:
    return (a.flip(-1), b) if torch.rand(()) < 0.5 else (a, b)


def together(a: Tensor, b: Tensor) -> Pair:
    return (a.flip(-1), b.flip(-1)) if torch.rand(()) < 0.5 else (a, b)


def test_pictures_mirrored_apart_from_their_maps() -> None:
    x, y = discs()
    (finding,) = found(outlined(x, y, apart), "shuffled-targets")
    assert (finding.severity, 0.35 < finding.value < 0.65) == ("warning", True)
    assert "once for each example" in finding.remedy


def test_classes_of_places_turned_by_quarters() -> None:
    x, y = discs()
    quarters = lambda a, b: (a, b.rot90(int(torch.randint(4, ())), (-2, -1)))  # noqa: E731
    (finding,) = found(outlined(x, y.long(), quarters, classes=2), "shuffled-targets")
    assert 0.6 < finding.value < 0.9


@pytest.mark.parametrize("change", [together, lambda a, b: (a, b), lambda a, b: (a, b.flip(-2))])
def test_maps_that_go_with_their_pictures_or_all_lie_in_one_way(change: Callable[[Tensor, Tensor], Pair]) -> None:
    x, y = discs()
    report = outlined(x, y, change)
    assert report.trace.seen("turned")[0].figure("told") > 24
    assert found(report, "shuffled-targets") == []


def test_maps_that_have_nothing_to_do_with_single_places() -> None:
    torch.manual_seed(3)
    report = outlined(smooth(), smooth(), apart)
    assert report.trace.seen("turned")[0].figure("told") > 24
    assert not [each for each in found(report, "shuffled-targets") if "mirrored" in each.message]


class Denoiser(nn.Module):
    """Answers with the noise in x, told how much of it there is."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 32), nn.SiLU(), nn.Linear(32, 2))

    def forward(self, x: Tensor, amount: Tensor | float, kind: Tensor | None = None) -> Tensor:
        kind = torch.zeros(len(x), 1) if kind is None else kind[:, None]
        return self.body(torch.cat([x, torch.ones(len(x), 1) * amount, kind], 1))


def denoised(answer: Callable[[nn.Module, Tensor, Tensor], Tensor]) -> list[str]:
    torch.manual_seed(0)

    def loss(model: nn.Module, x: Tensor, _: Tensor) -> Tensor:
        amount = torch.rand(len(x), 1)
        noise = torch.randn_like(x)
        return functional.mse_loss(answer(model, (1 - amount) * x + amount * noise, amount), noise)

    report = watched(Denoiser(), [(torch.randn(64, 2).sign(), torch.zeros(1)) for _ in range(60)], loss)
    assert report.trace.seen("untold")
    return alarms(report)


def test_one_amount_of_noise_is_told_for_all() -> None:
    assert denoised(lambda model, x, _: model(x, 0.0)) == ["repeated-batch"]
    assert denoised(lambda model, x, _: model(x, torch.full((len(x), 1), 0.5))) == ["repeated-batch"]
    kinds = torch.arange(64) % 2
    assert denoised(lambda model, x, _: model(x, 0.0, kinds)) == ["repeated-batch"]


def test_the_amount_of_noise_is_told() -> None:
    assert denoised(lambda model, x, amount: model(x, amount)) == []
    assert denoised(lambda model, x, amount: model(x, 0.0, amount[:, 0])) == []  # by another name


class Blind(nn.Module):
    """Answers with the noise in x; may have been told by the side how much of it there is."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.time = nn.Linear(2, 32), nn.Linear(1, 32)
        self.body = nn.Sequential(nn.SiLU(), nn.Linear(32, 32), nn.SiLU(), nn.Linear(32, 2))
        self.amount: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self.enter(x) if self.amount is None else self.enter(x) + self.time(self.amount))


def blind(side: bool = False, added: bool = False) -> list[health.Finding]:
    """What is said of a network that may be told nothing, at points in a plane; added: noise is only added to them."""
    torch.manual_seed(0)

    def loss(model: nn.Module, x: Tensor, _: Tensor) -> Tensor:
        amount = torch.rand(len(x), 1)
        noise = torch.randn_like(x)
        if side:
            model.amount = amount
        return functional.mse_loss(model(x + amount * noise if added else (1 - amount) * x + amount * noise), noise)

    report = watched(Blind(), [(torch.randn(64, 2).sign(), torch.zeros(1)) for _ in range(400)], loss, steps=400)
    return [each for each in report.findings if "how much noise" in each.message]


def test_a_network_that_is_not_told_the_amount_of_noise() -> None:
    (finding,) = blind()
    assert (finding.id, finding.severity, 0.03 < finding.value < 0.3) == ("underfitting", "warning", True)
    assert "model(noisy, t)" in finding.remedy


def test_networks_that_are_told_by_the_side_or_clean_what_noise_was_added_to() -> None:
    assert blind(side=True) == []
    assert blind(added=True) == []
