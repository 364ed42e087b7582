"""Symptoms of which the rate or the padding is the cause: the check-up has to name the cause."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

from lettrine import health  # noqa: E402
from lettrine.torch.checkup.call import Call  # noqa: E402
from lettrine.torch.checkup.dying import Course  # noqa: E402
from lettrine.torch.checkup.experiments.rate import rises  # noqa: E402
from lettrine.torch.checkup.padded import padding_of  # noqa: E402

cross_entropy = nn.functional.cross_entropy


def columns() -> list[tuple[Tensor, Tensor]]:
    """The largest of the first four of eight columns, all above 0."""
    generator = torch.Generator().manual_seed(1)
    return [((x := torch.rand(32, 8, generator=generator)), x[:, :4].argmax(1)) for _ in range(12)]


@pytest.mark.parametrize(("rate", "kinds"), [(3.0, ["learning-rate-too-high"]), (0.03, [])])
def test_a_rate_that_wipes_the_inputs_out(rate: float, kinds: list[str]) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.Sigmoid(), nn.Linear(16, 4))
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    report = health.checkup(model, columns(), cross_entropy, optimizer, only=["inputs"], progress=False, minutes=5)
    assert [each.id for each in report.findings] == kinds
    if kinds:
        (found,) = report.findings
        assert found.message.startswith("The learning rate 3 wipes the inputs out: 10 steps make the answers the same")
        assert found.remedy.startswith("Lower the rate, or raise it from 0 over the first steps")
        assert "With a rate 100 times lower, tried for 40 steps" in found.remedy  # a tenth of it is too high as well


def test_answers_that_were_the_same_from_the_start_are_not_the_work_of_the_rate() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.Sigmoid(), nn.Linear(16, 4))
    with torch.no_grad():
        model[0].bias.fill_(200.0)  # all units give 1
    optimizer = torch.optim.Adam(model.parameters(), lr=3.0)
    report = health.checkup(model, columns(), cross_entropy, optimizer, only=["inputs"], progress=False, minutes=5)
    assert [each.id for each in report.findings] == ["unused-input"]


@pytest.mark.parametrize(("rate", "kinds"), [(3.0, ["learning-rate-too-high"]), (0.05, [])])
def test_the_last_layer_is_not_blamed_for_what_the_steps_do(rate: float, kinds: list[str]) -> None:
    """The first step alone multiplies the loss by ten: the mean of the first losses is as high as that of the last."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 30), nn.Sigmoid(), nn.Linear(30, 10))
    for layer in (model[0], model[2]):
        nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
        nn.init.normal_(layer.bias, std=2.0)
    x = torch.rand(80, 64)
    y = nn.functional.one_hot((x @ torch.randn(64, 10)).argmax(1), 10).float()

    def summed(output: Tensor, target: Tensor) -> Tensor:
        return nn.functional.binary_cross_entropy_with_logits(output, target, reduction="sum")

    batches = list(zip(x.split(10), y.split(10), strict=True))
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    only = ["first-loss", "start", "learning-rate"]
    report = health.checkup(model, batches, summed, optimizer, only=only, progress=False, minutes=5)
    assert [each.id for each in report.findings if each.severity != "info"] == kinds


def test_a_loss_that_rises_at_the_first_step_rises() -> None:
    course = Course([120.0, 1600.0, 1700.0], first=1660.0, last=1700.0, dead={}, begun=120.0)
    assert rises(course)
    assert not rises(replace(course, begun=1690.0))  # it moves about, as it did before


def test_padding_may_be_most_of_a_batch() -> None:
    """A dozen words, filled up to two hundred places."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(5, 20, (16, 1), generator=generator)
    words = torch.randint(1, 60, (16, 200), generator=generator) * (torch.arange(200) < lengths)
    found = padding_of(Call((words,), {}))
    assert found is not None
    assert (~found.pads).sum(1).tolist() == lengths[:, 0].tolist()
