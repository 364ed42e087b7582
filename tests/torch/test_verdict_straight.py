"""Steps that all go one way while the loss falls like a line, and weights with a rate of their own that is far lower."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional
from verdicts import alarms, batches, classes, first, net

from lettrine import health
from lettrine.health.findings import Report
from lettrine.health.trace import Trace
from lettrine.torch.capture.looks import Stepping
from lettrine.torch.graph.steps.travel import Travel


def straight(trace: Trace) -> float:
    (seen,) = trace.seen("travel")
    return seen.figure("straight")


def taught(rate: float, *, steps: int = 600, schedule: Callable[[int], float] = lambda _: 1.0, clip: float = 0.0) -> Report:
    """A pupil that learns from labels and from what a network says that was trained before: no loss of guessing is known."""
    x, y = classes(512, kinds=4)
    teacher, pupil = net(out=4), net(out=4)
    teacher.requires_grad_(requires_grad=False)[-1].weight *= 8
    optimiser = torch.optim.SGD(pupil.parameters(), lr=rate)
    rates = torch.optim.lr_scheduler.LambdaLR(optimiser, schedule)
    with health.watch(pupil, optimiser) as watch:
        for _, (a, b) in zip(range(steps), batches(x, y, 128), strict=False):
            said = pupil(a)
            soft = -(teacher(a).softmax(1) * said.log_softmax(1)).sum(1).mean()
            loss = functional.cross_entropy(said, b) + soft
            optimiser.zero_grad()
            loss.backward()
            if clip:
                nn.utils.clip_grad_norm_(pupil.parameters(), clip)
            optimiser.step()
            rates.step()
            watch.loss(loss)
    return watch.report()


def test_a_pupil_whose_steps_could_have_been_one() -> None:
    report = taught(1e-3)
    assert straight(report.trace) > 0.9
    finding = first(report)
    assert (finding.id, finding.severity) == ("update-too-small", "warning")
    assert "go straight on" in finding.message
    assert "from 0.001 to 0.01" in finding.remedy
    assert not alarms(taught(0.1))
    rising = taught(5e-3, schedule=lambda step: min(1.0, (step + 1) / 1000))  # a warm-up goes on
    assert straight(rising.trace) > 0.9
    assert not alarms(rising)
    assert not alarms(taught(1e-3, steps=200))  # too short a run to tell


def test_what_holds_the_steps_back_is_named() -> None:
    assert "clipped to a norm of 0.01 at" in first(taught(0.1, clip=0.01)).remedy


def test_weights_with_a_lower_rate_of_their_own_are_told() -> None:
    x, y = classes(512, kinds=4)
    for own in (1e-6, 0.1):
        model = net(out=4)
        optimiser = torch.optim.SGD([{"params": model[0].parameters()}, {"params": model[2].parameters(), "lr": own}], lr=0.1)
        with health.watch(model, optimiser) as watch:
            for _, (a, b) in zip(range(300), batches(x, y), strict=False):
                loss = functional.cross_entropy(model(a), b)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                watch.loss(loss)
        report = watch.report()
        if own < 0.1:
            assert first(report).remedy.startswith("Raise the learning rate of 2.weight alone, from 1.0e-06 towards the 0.1")
        else:
            assert not alarms(report)


def test_the_way_of_a_table_that_grows_is_left_out() -> None:
    table, fixed = nn.Parameter(torch.zeros(4, 3)), nn.Parameter(torch.zeros(2, 2))
    optimiser, model, travel = torch.optim.SGD([table, fixed], lr=1.0), nn.Module(), Travel()
    model.table, model.fixed = table, fixed
    for step in (0, 10, 20):
        travel.stepping(Stepping(step, model, [optimiser], optimiser, 1))
        fixed.data += torch.tensor([[1.0, 2.0], [3.0, 4.0]])
        table.data = torch.zeros(len(table) + 1, 3)
    (seen,) = travel.finish()
    assert seen.figure("straight") == pytest.approx(1.0)
    assert seen.steps == (0, 20)
