"""Does every feature and place matter? After a few steps each slice of the inputs is blanked in turn, and the loss is compared.

A blanked slice holds the mean over the batch in every example; whole numbers, such as tokens, come from another example instead.
A slice is one index along one axis of an input: a column of a table, a place of a text, a channel, a row of a picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite, nan
from typing import Any, Final

import torch
from torch import Tensor, nn

from lettrine.health.checks import Skip
from lettrine.health.findings import Finding
from lettrine.health.limits import CHECKUP_MATTERS
from lettrine.torch.checkup.call import NotCalled, inputs_changed
from lettrine.torch.checkup.experiment import Result, experiment, finding
from lettrine.torch.checkup.experiments.inputs import STEPS, is_flags
from lettrine.torch.checkup.layout import examples_along
from lettrine.torch.checkup.spread import change
from lettrine.torch.checkup.task import Task
from lettrine.torch.checkup.values import leaves

MOST: Final = 96  # slices
ALONG: Final = 32  # slices of one axis; longer axes are blanked in groups
SHARE: Final = 0.05  # share of the remaining time
PASS: Final = 0.4  # share of a forward and backward pass that the forward pass takes
LEAST: Final = 4  # least number of slices along an axis for the finding that only one matters
BORDER: Final = 0.25  # share of an axis that may have no effect without a finding: strides cut the border off


@dataclass(frozen=True)
class Slice:
    """Some indices of one input along one axis."""

    path: str
    shape: torch.Size
    axis: int
    start: int
    length: int

    @property
    def said(self) -> str:
        """The slice in Python's notation: "input x[:, 3]"."""
        at = f"{self.start}" if self.length == 1 else f"{self.start}:{self.start + self.length}"
        return f"input {self.path}[{', '.join([':'] * self.axis)}, {at}]"

    def blanked(self, path: str, tensor: Tensor) -> Tensor:
        """The same tensor without the information of this slice."""
        if path != self.path or tensor.shape != self.shape:
            return tensor
        changed = tensor.detach().clone()
        part = changed.narrow(self.axis, self.start, self.length)
        part.copy_(part.mean(0, keepdim=True).expand_as(part) if tensor.is_floating_point() else part.roll(1, 0))
        return changed


@experiment("blanking", "Features and places matter", passes=STEPS + 12, trains=True)
def blanking(task: Task) -> Result:
    """Blank each slice in turn.

    Measured: The loss, and the answers, with one slice of the inputs blanked, after {STEPS} steps, for each slice.
    Formula: cost = loss with the slice blanked - loss; change = max |answer - answer blanked| / max |answer|.
    """
    try:
        call = task.inputs(task.batch())
    except NotCalled:
        raise Skip("not applicable", "the loss function does not call the model itself, so its inputs are not known") from None
    rows = examples_along(call, 0)
    given = [(path, each) for path, each in leaves(call.given) if _is_input(path, each, rows)]
    if rows < 2 or not given:
        raise Skip("not applicable", "the inputs have no axis of examples, or no features")
    optimizer = task.fallback_optimizer()
    task.model.train()
    for number in range(STEPS):
        task.step(number, optimizer)
    plain = _asked(task, None)
    again = _asked(task, None)
    if not plain[0] or not all(bool(each.isfinite().all()) for each in plain[0]):
        raise Skip("not run", f"after {STEPS} steps the answers are not finite, or no tensors")
    if any(not torch.equal(a, b) for a, b in zip(plain[0], again[0], strict=False)):
        raise Skip("not applicable", "the model answers differently when it is asked the same again")
    most = min(MOST, task.steps_in(SHARE / PASS, MOST))
    effects = {each: _effect(task, each, plain) for path, tensor in given for each in slices(path, tensor, most // len(given))}
    if not effects:
        raise Skip("not run", "there was no time to blank anything")
    dearest = max(effects, key=lambda each: effects[each][1])
    cost = effects[dearest][1]
    idle = [each for each, (moved, _) in effects.items() if moved <= CHECKUP_MATTERS]
    figures = {"slices": len(effects), "idle": len(idle), "loss": plain[1], "dearest": plain[1] + cost}
    said = f"Of {len(effects)} slices of the inputs, blanked one at a time, {dearest.said} matters most: "
    said += f"loss {plain[1]:.3g} → {plain[1] + cost:.3g}."
    said += f" {len(idle)} make no difference." if idle else ""
    found = _finding(effects, idle)
    return Result(said, (found,) if found else (), figures, where=found.where if found else ())


def slices(path: str, tensor: Tensor, most: int) -> Iterator[Slice]:
    """Slices along every axis except that of the examples, at most `most` in all. Slices that are equal in all examples are left
    out.
    """
    axes = [axis for axis in range(1, tensor.ndim) if tensor.shape[axis] > 1]
    along = min(ALONG, most // max(1, len(axes)))
    for axis in axes if along else ():
        length = -(-tensor.shape[axis] // along)
        for start in range(0, tensor.shape[axis], length):
            part = tensor.narrow(axis, start, min(length, tensor.shape[axis] - start))
            if not torch.equal(part, part.roll(1, 0)):
                yield Slice(path, tensor.shape, axis, start, part.shape[axis])


def _is_input(path: str, tensor: Tensor, rows: int) -> bool:
    """Whether to leave an input out: some models get the labels too, and masks may have no effect."""
    return tensor.ndim >= 2 and tensor.shape[0] == rows and "label" not in path and not is_flags(tensor)


def _asked(task: Task, blank: Slice | None) -> tuple[list[Tensor], float]:
    """The answers and the loss, in training mode: running statistics of a few steps may be far off."""
    answers: list[Tensor] = []

    def keep(_: nn.Module, __: Any, output: Any) -> None:
        answers.extend(each.detach().clone() for _, each in leaves(output) if each.is_floating_point())

    with task.boxed(), inputs_changed(task.model, blank.blanked if blank else None):
        handle = task.model.register_forward_hook(keep)
        try:
            task.model.train()
            return answers, task.same_loss()
        finally:
            handle.remove()


def _effect(task: Task, blank: Slice, plain: tuple[list[Tensor], float]) -> tuple[float, float]:
    """Change of the answers, and of the loss."""
    answers, loss = _asked(task, blank)
    moved = max((change(a, b) for a, b in zip(plain[0], answers, strict=False)), default=nan)
    return moved, loss - plain[1] if isfinite(loss) else 0.0


def _finding(effects: dict[Slice, tuple[float, float]], idle: list[Slice]) -> Finding | None:
    """A finding if only one slice of many matters; otherwise a remark on slices without effect, except a border that strides cut
    off.
    """
    for path, axis in dict.fromkeys((each.path, each.axis) for each in idle):
        here = [each for each in effects if (each.path, each.axis) == (path, axis)]
        still = [each for each in idle if (each.path, each.axis) == (path, axis)]
        alone = [each for each in here if each not in still]
        if len(here) >= LEAST and len(alone) == 1 and all(each.length == 1 for each in here):
            return _only(alone[0], len(here))
        if len(still) < len(here) and (len(here[0].shape) == 2 or len(still) >= BORDER * len(here)):
            return _unused(still, len(here))
    return None


def _only(one: Slice, count: int) -> Finding:
    return finding(
        "unused-input",
        "warning",
        (one.path,),
        f"Of {count} slices of input {one.path} along axis {one.axis}, only {one.said} changes the answers.",
        "The network cannot learn from the others.",
        f"Look in forward() for an index that takes one place although all are meant: h[:, 0] of a recurrent layer has read the "
        f"first place only, h[-1] of one with batch_first=True is the last example; or for what cuts input {one.path} along axis "
        f"{one.axis}.",
        value=1,
        limit=count,
        source="Karpathy 2019, A recipe for training neural networks: use backprop to chart dependencies",
    )


def _unused(still: list[Slice], count: int) -> Finding:
    named = ", ".join(each.said for each in still[:3]) + (", …" if len(still) > 3 else "")
    return finding(
        "unused-input",
        "info",
        (still[0].path,),
        f"{len(still)} of {count} slices of input {still[0].path} do not change the answers: {named}.",
        "The network cannot learn from them.",
        f"If they are meant to be used, look where input {still[0].path} is cut or masked in forward().",
        value=len(still),
        limit=count,
        source="Karpathy 2019, A recipe for training neural networks: use backprop to chart dependencies",
    )
