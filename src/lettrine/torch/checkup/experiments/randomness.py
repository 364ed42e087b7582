"""Two passes in eval mode with different random numbers: do the answers agree? If not, which module draws, and is it intended?

Active dropout in eval mode is a fault unless its caller wrote training=True. Other draws, such as those of a variational
autoencoder or of a diffusion model, are intended; they are a remark.
"""

from __future__ import annotations

from math import isfinite

import torch
from torch import nn

from lettrine.health.checks import Skip
from lettrine.health.findings import Finding
from lettrine.health.limits import CHECKUP_SAME_SINGLE
from lettrine.torch.checkup.call import Call, NotCalled
from lettrine.torch.checkup.chance import Draw, listening
from lettrine.torch.checkup.experiment import Result, experiment, finding, part
from lettrine.torch.checkup.sandbox import seeded
from lettrine.torch.checkup.spread import Called, begins, change, record_calls
from lettrine.torch.checkup.task import Task
from lettrine.torch.checkup.values import fresh, leaves
from lettrine.torch.private import BATCH_NORM


@experiment("randomness", "Randomness", passes=4)
def randomness(task: Task) -> Result:
    """Compare eval passes with different random numbers, and one with the same.

    Measured: How much two passes in eval mode differ: with the same random numbers, and with different ones.
    Formula: change = largest abs(first - second) / size of the answers.
    """
    try:
        call = task.inputs(task.batch())
    except NotCalled:
        raise Skip("not applicable", "the loss function does not call the model itself, so its outputs are not known") from None
    task.model.eval()

    def answers(seed: int) -> list[torch.Tensor]:
        with task.boxed(), torch.no_grad():
            task.model.eval()
            seeded(seed)
            output = task.model(*fresh(call.args), **fresh(dict(call.kwargs)))
            return [each.clone() for _, each in leaves(output) if each.is_floating_point()]

    first, same, other = answers(1), answers(1), answers(2)
    repeat = max((change(a, b) for a, b in zip(first, same, strict=False)), default=0.0)
    share = max((change(a, b) for a, b in zip(first, other, strict=False)), default=0.0)
    evaluated, *trained = _losses(task)
    figures = {"change": share, "repeat": repeat, "eval_loss": evaluated, "train_loss": trained[0], "other_seed": trained[1]}
    told = f" The loss is {evaluated:.4g} in eval mode, {trained[0]:.4g} and {trained[1]:.4g} in training mode with two seeds."
    if repeat > CHECKUP_SAME_SINGLE:
        apart = _unrepeatable(task, call, repeat)
        return Result(apart.message + told, (apart,), figures, where=apart.where)
    if share <= CHECKUP_SAME_SINGLE:
        return Result(f"In eval mode, different random numbers change the answers by {part(share)}.{told}", figures=figures)
    with task.boxed(), torch.no_grad(), listening(task.model) as draws:
        task.model.eval()
        seeded(1)
        task.model(*fresh(call.args), **fresh(dict(call.kwargs)))
    found = _finding(draws, share)
    if found is None:
        said = f"The answers in eval mode differ by {part(share)} from one pass to the next, without a random draw of torch."
        return Result(said, figures=figures)
    return Result(found.message, (found,), figures, where=found.where)


def _finding(draws: list[Draw], share: float) -> Finding | None:
    kept = [draw for draw in draws if draw.mask and not draw.asked]
    if kept:
        where = tuple(dict.fromkeys(draw.module for draw in kept))
        attention = any("attention" in draw.operation for draw in kept)
        remedy = "dropout_p=self.p if self.training else 0.0" if attention else "training=self.training"
        return finding(
            "eval-dropout",
            "warning",
            where,
            f"Dropout goes on in eval mode, in {', '.join(where)}: two passes over one batch differ by {part(share)}.",
            "Every evaluation and every prediction uses a network with random parts missing, and differs from the last.",
            f"Write {remedy} in the call, or use nn.Dropout, which follows eval(). If it is meant, write training=True.",
            value=share,
            limit=CHECKUP_SAME_SINGLE,
            source="torch.nn.functional.dropout: training is True by default",
        )
    if draws:
        where = tuple(dict.fromkeys(draw.module for draw in draws))
        return finding(
            "eval-randomness",
            "info",
            where,
            f"{', '.join(where)} draws random numbers in eval mode ({draws[0].operation}); the answers differ by {part(share)} "
            "from one pass to the next.",
            "That is right for a model that samples; otherwise evaluations cannot be compared.",
            "If it is not meant, draw only while self.training.",
            value=share,
            limit=CHECKUP_SAME_SINGLE,
        )
    return None


def _unrepeatable(task: Task, call: Call, repeat: float) -> Finding:
    """Answers that differ although all of torch's, numpy's and Python's global generators start from one number."""

    def recorded() -> list[Called]:
        with task.boxed(), torch.no_grad():
            task.model.eval()
            return record_calls(task.model, lambda: task.outputs(call))[1]

    place = begins(recorded(), recorded(), lambda tensor: tensor, CHECKUP_SAME_SINGLE)
    where = (place.name,) if place else ()
    at = f" It begins in {place.name} ({place.kind})." if place else ""
    return finding(
        "eval-randomness",
        "info",
        where,
        f"Two passes in eval mode differ by {part(repeat)}, with the same weights and all random generators begun alike.{at}",
        "Evaluations cannot be compared, and no seed makes a run repeatable.",
        "Look for a generator of its own that is made anew (numpy.random.default_rng() without a seed), the time, the order of a "
        "set, or memory that is read before it is written (torch.empty).",
        value=repeat,
        limit=CHECKUP_SAME_SINGLE,
    )


def _losses(task: Task) -> list[float]:
    """The loss in eval mode, and in training mode with two seeds."""
    losses = []
    for training, seed in ((False, 1), (True, 1), (True, 2)):
        task.model.train(training)
        loss = task.same_loss(seed=seed)
        losses.append(loss if isfinite(loss) else float("nan"))
    return losses


def norms_of(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Batch norms with running statistics."""
    return [(name, each) for name, each in model.named_modules() if isinstance(each, BATCH_NORM) and each.track_running_stats]
