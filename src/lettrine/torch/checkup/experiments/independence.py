"""Does output i change when example j does?

In eval mode a network answers each example on its own. The experiment replaces one example by another and compares the answers to
the others. It also asks autograd whether they depend on the replaced example. Both run in float64, where rounding is 1e-16. Batch
norm in training mode mixes its batch by design, and so do losses that compare examples; these are not examined.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor, nn

from lettrine.health.checks import Skip
from lettrine.health.findings import Finding
from lettrine.health.limits import CHECKUP_SAME, CHECKUP_SAME_SINGLE
from lettrine.torch.checkup.call import Call, NotCalled
from lettrine.torch.checkup.experiment import Result, changed, experiment, finding, part
from lettrine.torch.checkup.joined import Joined, joined
from lettrine.torch.checkup.layout import answers, by_example, examples_along, few_of, narrowed, others, with_row
from lettrine.torch.checkup.shifts import time_axis
from lettrine.torch.checkup.spread import Place, begins, change, record_calls
from lettrine.torch.checkup.task import Task
from lettrine.torch.checkup.values import in_double, leaves, mapped
from lettrine.torch.private import BATCH_NORM

_ONE_SEQUENCE: Final = (
    "All batches are the same: if its rows are the steps of one sequence, in their order, leave it as it is. If they are "
    "examples, give the recurrent module three axes (batch, time, features); two are one sequence without a batch."
)


@dataclass(frozen=True)
class Mixing:
    """The result along one axis. share: largest change of an answer that should not change, relative to the answers."""

    axis: int
    examples: int
    share: float
    by_gradient: float
    exact: bool
    place: Place | None

    @property
    def mixed(self) -> bool:
        """Whether examples influence each other."""
        limit = CHECKUP_SAME if self.exact else CHECKUP_SAME_SINGLE
        return max(self.share, self.by_gradient) > limit


@experiment("independence", "Independence of examples", passes=8)
def independence(task: Task) -> Result:
    """Change one example and compare the answers to the others.

    Measured: How much the answers to other examples change when one example is changed, in eval mode and float64; and the
    gradient of these answers at that example. Of examples that are joined, such as graphs, one gets noise.
    Formula: change = largest abs(after - before) / size of the answers.
    """
    try:
        call = task.inputs(task.batch())
    except NotCalled:
        raise Skip("not applicable", "the loss function does not call the model itself, so its inputs are not known") from None
    task.model.eval()
    with torch.no_grad():
        output = task.outputs(call)
    parts = joined(call, output)
    ways = (_of_joined(task, call, parts),) if parts else (_along(task, call, output, axis) for axis in (0, 1))
    seen = [mixing for mixing in ways if mixing is not None]
    # Axis 1 alone holds the examples only if inputs disagree on axis 0: two lengths, time first.
    if not seen or (seen[0].axis == 1 and examples_along(call, 0)):
        raise Skip("not applicable", "inputs and outputs have no axis of examples in common that can be shortened")
    first = seen[0]
    figures = {"examples": first.examples, "change": first.share, "by_gradient": first.by_gradient}
    if not first.mixed or (
        first.axis == 0 and len(seen) > 1 and not seen[1].mixed and _second_is_batch(task, call, seen[1].examples)
    ):
        clean = first if not first.mixed else seen[1]
        return Result(
            f"With one example changed, the answers to the others {changed(clean.share)}; examples lie along axis {clean.axis}.",
            figures=figures | {"axis": clean.axis},
        )
    found = _finding(first)
    if first.place is not None and _one_sequence(task, call, first.place):
        found = replace(found, severity="info", remedy=_ONE_SEQUENCE)
    return Result(found.message, (found,), figures | {"axis": first.axis}, where=found.where)


def _of_joined(task: Task, call: Call, parts: Joined) -> Mixing | None:
    """Mixing of examples that are joined along one axis; None if the model does not take noise on one of them."""
    for exact in task.exactness:
        given = Call(in_double(call.args), in_double(dict(call.kwargs))) if exact else call
        with suppress(Exception), task.boxed(exact=exact), torch.no_grad():
            task.model.eval()
            return _noised(task, given, parts, exact=exact)
    return None


def _noised(task: Task, call: Call, parts: Joined, *, exact: bool) -> Mixing:
    limit, share, place = CHECKUP_SAME if exact else CHECKUP_SAME_SINGLE, 0.0, None
    output, before = record_calls(task.model, partial(task.outputs, call))
    for example in (0, parts.count - 1):
        other, after = record_calls(task.model, partial(task.outputs, parts.with_noise(call, example)))
        kept = parts.others(example)
        one, two = ([kept(each) for _, each in leaves(made)] for made in (output, other))
        now = max(change(a, b) for a, b in zip(one, two, strict=True) if a is not None and b is not None)
        if now > share:
            share, place = now, begins(before, after, kept, limit)
    return Mixing(0, parts.count, share, 0.0, exact, place)


def _along(task: Task, call: Call, output: Any, axis: int) -> Mixing | None:
    """Mixing along one axis; None if examples do not lie there."""
    few = few_of(call, axis, output)
    if few < 2:
        return None
    small = narrowed(call, axis, few)
    for exact in task.exactness:
        mixing = _measured(task, small, axis, few, exact=exact)
        if mixing is not None:
            return mixing
    return None


def _measured(task: Task, small: Call, axis: int, few: int, *, exact: bool) -> Mixing | None:
    """The same in float64, or in the model's own type; None if the model does not take that."""
    limit = CHECKUP_SAME if exact else CHECKUP_SAME_SINGLE
    with task.boxed(exact=exact):
        task.model.eval()
        if exact:
            small = Call(in_double(small.args), in_double(dict(small.kwargs)))
        try:
            with torch.no_grad():
                output, before = record_calls(task.model, lambda: task.outputs(small))
                again = task.outputs(small)
        except Exception:  # noqa: BLE001  a model that cannot be called like this is not judged
            return None
        plain = answers(output, few)
        if not plain or any(change(one, other) > limit for (_, one), (_, other) in zip(plain, answers(again, few), strict=True)):
            return None
        share, place = 0.0, None
        for row in (few - 1, 0):
            changed = with_row(small, axis, few, row, (row + 1) % few)
            try:
                with torch.no_grad():
                    other, after = record_calls(task.model, partial(task.outputs, changed))
            except Exception:  # noqa: BLE001
                return None
            now = max(
                (_apart(one, two, few, row) for (_, one), (_, two) in zip(plain, answers(other, few), strict=True)), default=0
            )
            if now > share:
                share, place = now, begins(before, after, others(few, row), limit)
        return Mixing(axis, few, share, _by_gradient(task, small, axis, few) if exact else 0.0, exact, place)


def _apart(first: Tensor, second: Tensor, few: int, row: int) -> float:
    """Change of the other examples' answers, in the layout of the output that changes least."""
    stay = [place for place in range(few) if place != row]
    pairs = zip(by_example(first, few), by_example(second, few), strict=True)
    return min(change(one[stay], other[stay]) for one, other in pairs)


def _by_gradient(task: Task, small: Call, axis: int, few: int) -> float:
    """Largest gradient of the others' answers at one example's inputs, relative to that of its own answer; 0 if none flows."""
    for parameter in task.model.parameters():
        parameter.requires_grad_(False)
    asked: list[Tensor] = []

    def ask(_: str, tensor: Tensor) -> Tensor:
        if tensor.is_floating_point() and tensor.ndim > axis and tensor.shape[axis] == few:
            asked.append(tensor.detach().clone().requires_grad_())
            return asked[-1]
        return tensor

    given = small.with_given({key: mapped(each, ask) for key, each in small.given.items()})
    if not asked:
        return 0.0
    try:
        torch.manual_seed(1)
        output = task.model(*given.args, **given.kwargs)
    except Exception:  # noqa: BLE001  a model may write into its input; with a gradient torch forbids that
        return 0.0
    found = [_gradient_share(each, asked, axis, few) for _, each in answers(output, few) if each.requires_grad]
    return max(found, default=0.0)


def _gradient_share(output: Tensor, asked: list[Tensor], axis: int, few: int) -> float:
    """The gradient in the layout of the output in which least reaches the other examples."""
    shares = []
    for rows in by_example(output, few):
        weights = torch.linspace(0.5, 1.5, rows.shape[1], dtype=rows.dtype, device=rows.device)
        total = (rows[-1] * weights).sum()
        gradients = torch.autograd.grad(total, asked, retain_graph=True, allow_unused=True)
        own = across = 0.0
        for gradient in gradients:
            if gradient is not None and gradient.numel():
                across = max(across, float(gradient.narrow(axis, 0, few - 1).abs().max()))
                own = max(own, float(gradient.abs().max()))
        shares.append(across / own if own > 0 else 0.0)
    return min(shares, default=0.0)


def _second_is_batch(task: Task, call: Call, few: int) -> bool:
    """Whether axis 1 may hold the examples although axis 0 came first: time first, as torch's recurrent nets have it.

    It may not if a DataLoader stacked the examples, if each example has one target along axis 0, if the targets are the inputs
    shifted along axis 1, or if reordering axis 1 does not reorder the answers: then axis 1 is time.
    """
    if task.rows_first or time_axis(task) == 1:
        return False
    tensors = [tensor for _, tensor in leaves(call.given) if tensor.ndim > 1]
    targets = task.batches[0][-1] if not task.whole else None
    if isinstance(targets, Tensor) and targets.ndim and tensors:
        first, second = tensors[0].size(0), tensors[0].size(1)
        per_position = targets.ndim > 1 and targets.shape[1] == second
        if targets.shape[0] == first and not per_position and targets.numel() % (first * second):
            return False
    return _moves_along(task, call, few)


def _moves_along(task: Task, call: Call, few: int) -> bool:
    """Whether reordering axis 1 of the inputs reorders the answers in the same way."""
    small = narrowed(call, 1, few)
    turned = small.with_given({key: mapped(each, lambda _, t: _rolled(t, few)) for key, each in small.given.items()})
    with torch.no_grad():
        plain, other = answers(task.outputs(small), few), answers(task.outputs(turned), few)
    limit = CHECKUP_SAME_SINGLE
    for (_, one), (_, two) in zip(plain, other, strict=True):
        ways = zip(by_example(one, few), by_example(two, few), strict=True)
        if min(change(a.roll(1, 0), b) for a, b in ways) > limit:
            return False
    return True


def _rolled(tensor: Tensor, few: int) -> Tensor:
    return tensor.roll(1, 1) if tensor.ndim > 1 and tensor.shape[1] == few else tensor


def _one_sequence(task: Task, call: Call, place: Place) -> bool:
    """Whether a recurrent module is given rows without a batch (2 axes), and all batches are the same: the rows may be steps."""
    if not isinstance(place.module, nn.RNNBase) or not task.again:
        return False
    with torch.no_grad():
        _, calls = record_calls(task.model, lambda: task.outputs(call))
    return any(each.ndim == 2 for one in calls if one.module is place.module for _, each in leaves(one.inputs))


def _finding(mixing: Mixing) -> Finding:
    place, share = mixing.place, max(mixing.share, mixing.by_gradient)
    where: tuple[str, ...] = (place.name,) if place else ()
    at = f" It begins {'in' if place.inside else 'before'} {place.name} ({place.kind})." if place else ""
    running = place is not None and isinstance(place.module, BATCH_NORM)
    if running:
        remedy = f"Give {', '.join(where)} running statistics (track_running_stats=True), so that eval mode needs no batch."
    else:
        remedy = " ".join(_remedies(place))
    return finding(
        "batch-mixing",
        "warning" if running else "critical",
        where,
        f"The answer to one example changes with the other examples of its batch, by {part(share)} in eval mode.{at}",
        "The answer then depends on the neighbours: the loss falls on batches and means nothing for a single example.",
        remedy,
        value=share,
        limit=CHECKUP_SAME if mixing.exact else CHECKUP_SAME_SINGLE,
        source="Karpathy 2019, A recipe for training neural networks: use backprop to chart dependencies",
    )


def _remedies(place: Place | None) -> Iterator[str]:
    module: Any = place.module if place else None
    if place and place.inside and getattr(module, "batch_first", None) is False:
        yield f"Build {place.name} with batch_first=True, or give it (time, batch, features): it takes axis 0 for time."
    elif place and place.inside and isinstance(module, nn.Softmax | nn.LogSoftmax):
        yield f"Give {place.name} dim=-1: it normalises over axis {module.dim}."
    else:
        yield (
            "Look there for a softmax, mean or normalisation over axis 0, a view() instead of a transpose(), or attention "
            "and recurrent layers that take axis 0 for time (batch_first)."
        )
