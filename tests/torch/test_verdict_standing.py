"""One of several inputs that is the same batch at every step, by mistake or for a reason."""

from __future__ import annotations

from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from verdicts import watched  # noqa: E402

from lettrine import health  # noqa: E402

ROWS, TASKS = 32, 5
Triple = tuple[Tensor, Tensor, Tensor]


class Told(nn.Module):
    """A number for each row, by a network that is told which of several tasks it is."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.task = nn.Embedding(TASKS, 4)
        self.body = nn.Sequential(nn.Linear(width + 4, 32), nn.Tanh(), nn.Linear(32, 1))

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        return self.body(torch.cat([x, told if told.is_floating_point() else self.task(told)], 1))


def trained(batch: Callable[[], Triple], width: int = 4) -> list[health.Finding]:
    """What is said of repeated batches, after 150 steps."""
    torch.manual_seed(0)

    def batches() -> object:
        while True:
            x, told, y = batch()
            yield (x, told), y

    report = watched(Told(width), batches(), lambda model, given, y: functional.mse_loss(model(*given), y), steps=150)
    return [each for each in report.findings if each.id == "repeated-batch"]


torch.manual_seed(1)
X, TASK, WAYS = torch.randn(600, 4), torch.randint(TASKS, (600,)), torch.randn(TASKS, 4)
Y = (X * WAYS[TASK]).sum(1, keepdim=True)


def rows() -> Tensor:
    return torch.randperm(len(X))[:ROWS]


@pytest.mark.parametrize("tasks", [TASK[:ROWS].clone, lambda: TASK[:ROWS]])
def test_the_first_batch_of_a_condition_beside_all_others(tasks: Callable[[], Tensor]) -> None:
    def batch() -> Triple:
        chosen = rows()
        return X[chosen], tasks(), Y[chosen]

    (finding,) = trained(batch)
    assert (finding.severity, "second input" in finding.message) == ("warning", True)
    assert "next(iter(loader))" in finding.remedy


def test_a_condition_read_once_before_the_loop() -> None:
    kept = TASK[:ROWS].clone()

    def batch() -> Triple:
        chosen = rows()
        return X[chosen], kept, Y[chosen]

    (finding,) = trained(batch)
    assert finding.severity == "warning"
    assert "came again" in finding.message


def test_random_numbers_kept_for_all_batches_are_a_remark() -> None:
    kept = torch.randn(ROWS, 4)

    def batch() -> Triple:
        chosen = rows()
        return X[chosen], kept, Y[chosen]

    assert [each.severity for each in trained(batch)] == ["info"]


def test_rows_that_are_the_same_tasks_in_every_batch() -> None:
    order = TASK[:ROWS].clone()

    def batch() -> Triple:
        x = X[rows()]
        return x, order.clone(), (x * WAYS[order]).sum(1, keepdim=True)

    assert trained(batch) == []


def test_stations_with_places_of_their_own_and_weather_for_all() -> None:
    places, weather = torch.randn(ROWS, 4), torch.randn(400, 1) + 0.5 * torch.randn(400, ROWS)

    def batch() -> Triple:
        day = int(torch.randint(4, 400, ()))
        return weather[day - 4 : day].T.contiguous(), places.clone(), weather[day][:, None]

    assert trained(batch) == []


def test_conditions_in_order() -> None:
    def batch() -> Triple:
        chosen = rows()
        return X[chosen], torch.arange(ROWS) % TASKS, Y[chosen]

    assert trained(batch) == []
