"""Padded places that count in the loss: does its gradient reach the answers there, and is less learned about the real places?

The places are those that are padding in the inputs and hold one and the same number in the targets. A trial leaves them out of
the loss; both sides are compared by their loss on real places alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from torch import Tensor

from lettrine.health.checks import Skip
from lettrine.health.limits_wiring import PADDED_RUN
from lettrine.torch.checkup.call import NotCalled
from lettrine.torch.checkup.experiment import Result, experiment, finding
from lettrine.torch.checkup.padded import padding_of
from lettrine.torch.checkup.task import Task, takes_closure
from lettrine.torch.checkup.taught import taught
from lettrine.torch.checkup.trials import HELD_OUT, LEAST_BATCHES, Trial, compare, steps_for
from lettrine.torch.checkup.values import leaves, mapped
from lettrine.torch.devices import double

LEFT_OUT: Final = -100  # what cross_entropy leaves out by default
COUNTED: Final = 0.01  # of the gradient: less is rounding, or a weight that was chosen small
NAMES: Final = ("label", "target")


@dataclass(frozen=True)
class PaddedTargets:
    """The targets of a batch and which of them are padding. path: in the batch. pads: (B, T). value: that stands there."""

    path: str
    pads: Tensor
    value: float
    whole: bool


@experiment("padded-targets", "Padding in the targets", passes=2, trains=True)
def padded_targets(task: Task) -> Result:
    """Find out whether padded places count in the loss; if they do, train without them.

    Measured: The gradient of the loss with respect to the answers at padded places; and, where the targets are class numbers, how
    much lower the loss on real places gets when the others are left out.
    Formula: share = sum(abs(gradient)) at padded places / sum(abs(gradient)) at all places.
    """
    seen = _targets(task, task.batch())
    if seen is None:
        raise Skip("not applicable", "no padded places were seen in inputs and targets")
    run = float(double(seen.pads).mean())
    if run < PADDED_RUN:
        raise Skip("not applicable", f"{100 * run:.0f} % of the places are padding")
    share = _counted(task, seen)
    if share is None:
        raise Skip("not applicable", "the answers have no place for each target")
    figures = {"padded": run, "share": share}
    said = f"{100 * run:.0f} % of the targets are padding ({seen.value:g}); {100 * share:.0f} % of the loss's gradient is theirs."
    if share < COUNTED:
        return Result(said, figures=figures)
    steps = steps_for(task, 2)
    trial = compare(task, _left_out, steps, instead=_judged) if steps and _can_be_left_out(task, seen) else None
    if trial is not None:
        figures |= {"without": trial.without, "with": trial.with_remedy, "error": trial.error}
        said += f" With padding left out of the loss, on real places, {trial.said}."
    return Result(said, (_finding(said, seen, share, trial),), figures)


def _targets(task: Task, batch: Any) -> PaddedTargets | None:
    try:
        padded = padding_of(task.inputs(batch))
    except NotCalled:
        return None
    if padded is None:
        return None
    for path, each in leaves(batch):
        named = path == str(len(batch) - 1) if not task.whole else any(name in path.lower() for name in NAMES)
        if named and each.shape == padded.pads.shape:
            values = each[padded.pads]
            if len(values) and bool((values == values[0]).all()) and not bool((each == values[0]).all()):
                return PaddedTargets(path, padded.pads, float(values[0]), whole=not each.is_floating_point())
    return None


def _counted(task: Task, seen: PaddedTargets) -> float | None:
    """The share of the loss's gradient, with respect to the model's answers, at padded places; None if they have other shapes."""
    shares = [_share(gradient, seen.pads) for gradient in taught(task)]
    return max((each for each in shares if each is not None), default=None)


def _share(gradient: Tensor, pads: Tensor) -> float | None:
    """The part of a gradient at padded places; None if it has no entry for each place. Of two possible readings the milder."""
    rows, length = pads.shape
    sizes = double(gradient.detach().abs())
    if not sizes.ndim or not bool((sizes > 0).any()):
        return None
    placed = []
    if sizes.shape[:2] == (rows, length) or sizes.shape[0] == rows * length:
        placed.append(sizes.reshape(rows, length, -1).sum(2))
    if sizes.ndim == 3 and (sizes.shape[0], sizes.shape[2]) == (rows, length):  # (B, V, T), as cross_entropy takes it
        placed.append(sizes.sum(1))
    return min((float(each[pads].sum() / each.sum()) for each in placed), default=None)


def _can_be_left_out(task: Task, seen: PaddedTargets) -> bool:
    """Whether the loss leaves out targets of -100, and there are batches to compare on."""
    if not seen.whole or len(task.batches) < LEAST_BATCHES or (task.optimizer is not None and takes_closure(task.optimizer)):
        return False
    with task.boxed(), _left_out(task):
        try:
            return bool(task.loss(task.batch()).isfinite()) and (_counted(task, seen) or 0.0) < COUNTED
        except Exception:  # noqa: BLE001  a loss that refuses such a target cannot be tried
            return False


@contextmanager
def _left_out(task: Task) -> Iterator[None]:
    """Leave padding out in all batches."""
    with _changed(task, len(task.batches)):
        yield


@contextmanager
def _judged(task: Task) -> Iterator[None]:
    """Leave padding out in held-out batches only: they are judged by their real places, however the network was trained."""
    with _changed(task, max(1, len(task.batches) // HELD_OUT)):
        yield


@contextmanager
def _changed(task: Task, count: int) -> Iterator[None]:
    kept = list(task.batches)
    for number in range(count):
        if seen := _targets(task, task.batch(number)):
            task.batches[number] = _without(task.batches[number], seen)
    try:
        yield
    finally:
        task.batches[:] = kept


def _without(batch: Any, seen: PaddedTargets) -> Any:
    return mapped(batch, lambda path, each: each.masked_fill(seen.pads, LEFT_OUT) if path == seen.path else each)


def _finding(said: str, seen: PaddedTargets, share: float, trial: Trial | None) -> Any:
    label = f"{seen.value:g}"
    return finding(
        "padding-counted",
        "warning" if trial is not None and trial.helps else "info",
        (),
        said,
        "The mean is small because padding is easy, and much of each gradient is about padding.",
        f"Leave padding out of the loss: give it a target that no real place has, cross_entropy(..., ignore_index={label}) if "
        f"{label} is such a one (-100 is left out anyway); or multiply the loss of each place by the mask and divide by its sum.",
        value=share,
        limit=COUNTED,
        source="torch.nn.CrossEntropyLoss: ignore_index",
    )
