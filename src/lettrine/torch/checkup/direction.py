"""A loss that right answers make higher: a sign is wrong, or a measure of what is right is handed over as a loss.

The network is left out: the loss is given the targets themselves as answers, and answers that are wrong.
"""

from __future__ import annotations

from math import isfinite, nan
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from lettrine.health.findings import Finding
from lettrine.torch.checkup.experiment import finding
from lettrine.torch.checkup.task import Task

SURE: Final = 3.0  # size of the right answer, as a logit
LEAST: Final = 0.01  # of the loss's size: a smaller difference may be rounding
ROUNDING: Final = 1e-6  # and so is this one, of losses that are 0
AWAY: Final = 0.3  # of the targets' spread: how far beside them the wrong answers lie


def wrong_direction(task: Task, output: Tensor | None) -> Finding | None:
    """The finding, if right answers have a higher loss than every kind of wrong ones; None otherwise."""
    target = None if task.whole else task.batch()[-1]
    if output is None or not isinstance(target, Tensor) or len(target) < 4:
        return None
    if target.ndim == 1 and not target.is_floating_point() and output.ndim == 2:
        answers = _of_classes(target, output)
    elif target.is_floating_point() and target.shape == output.shape and float(target.std()) > 0:
        answers = _of_numbers(target.to(output.dtype))
    else:
        return None
    right, *wrong = _losses(task, answers or [], target)
    if not wrong or not min(right - each for each in wrong) > max(LEAST * max(map(abs, (right, *wrong))), ROUNDING):
        return None
    return finding(
        "wrong-direction",
        "critical",
        (),
        f"The loss is higher for right answers than for wrong ones: {right:.3g} for the targets themselves, {max(wrong):.3g} or "
        "less for others.",
        "Each step makes the answers worse, while the loss falls.",
        "Turn the sign of the loss round; if it measures what is right, such as a cosine or an overlap, train on 1 minus it.",
        value=right,
        limit=max(wrong),
    )


def _losses(task: Task, answers: list[Tensor], target: Tensor) -> list[float]:
    """The loss of each answer; NaN alone if one is refused or not finite."""
    with torch.no_grad():
        try:
            found = [float(task.loss_fn(each, target)) for each in answers]
        except Exception:  # noqa: BLE001  a loss that refuses such answers is not judged
            return [nan]
    return found if found and all(isfinite(each) for each in found) else [nan]


def _of_classes(target: Tensor, output: Tensor) -> list[Tensor] | None:
    """Logits of the classes themselves, of another class for each example, and of the contrary."""
    if int(target.min()) < 0 or int(target.max()) >= output.shape[1] or output.shape[1] < 2:
        return None
    right = SURE * functional.one_hot(target.long(), output.shape[1]).to(output.dtype)
    return [right, right.roll(1, 1), -right]


def _of_numbers(target: Tensor) -> list[Tensor]:
    """The targets, those of other examples, and numbers on both sides of them: right answers are then no mere end of a slope."""
    generator = torch.Generator(device=target.device).manual_seed(1)
    noise = torch.randn(target.shape, generator=generator, device=target.device, dtype=target.dtype) * AWAY * target.std()
    return [target, target.roll(1, 0), target + noise, target - noise]
