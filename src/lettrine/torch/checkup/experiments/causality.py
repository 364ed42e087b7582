"""If the targets are the inputs one place later: does the answer at place t change with the inputs after t?

If it does, the network can copy its answer from its input. The experiment changes everything after t and compares the answers up
to t.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from lettrine.health.checks import Skip
from lettrine.health.findings import Finding
from lettrine.health.limits import CHECKUP_SAME, CHECKUP_SAME_SINGLE
from lettrine.torch.checkup.call import Call, NotCalled
from lettrine.torch.checkup.experiment import Result, changed, experiment, finding, part
from lettrine.torch.checkup.shifts import Shift, shift_of
from lettrine.torch.checkup.spread import Place, begins, change, record_calls
from lettrine.torch.checkup.task import Task
from lettrine.torch.checkup.taught import taught
from lettrine.torch.checkup.values import in_double, leaves, mapped
from lettrine.torch.private import CONVOLUTION


@experiment("causality", "Causality", passes=8)
def causality(task: Task) -> Result:
    """Change the inputs after a place and compare the answers up to it.

    Measured: If the targets are the inputs one place later: how much the answers up to a place change when everything after it is
    changed. Answers that the loss does not look at are left out: what they read is a text that is given.
    Formula: change = largest abs(after - before) / size of the answers.
    """
    batch = task.batch()
    try:
        call = task.inputs(batch)
    except NotCalled:
        raise Skip("not applicable", "the loss function does not call the model itself, so its inputs are not known") from None
    shift = shift_of(task, call, batch)
    if shift is None:
        raise Skip("not applicable", "the targets are not the inputs one place later")
    shape = dict(leaves(call.given))[shift.path].shape
    asked = _asked(task, shape[:2])
    if not bool(asked.narrow(shift.axis, 0, shape[shift.axis] - 1).any()):
        raise Skip("not applicable", "nothing comes after the last place, the only one whose answer the loss looks at")
    for exact in (True, False):
        seen = _measured(task, call, shift, asked, exact=exact)
        if seen is not None:
            break
    else:
        raise Skip("not applicable", "no output has one answer a place")
    share, place, length = seen
    limit = CHECKUP_SAME if exact else CHECKUP_SAME_SINGLE
    figures = {"places": length, "axis": shift.axis, "change": share}
    if share <= limit:
        said = f"With everything after a place changed, the answers up to it {changed(share)}."
        return Result(said, figures=figures)
    found = _finding(share, limit, place)
    return Result(found.message, (found,), figures, where=found.where)


def _measured(task: Task, call: Call, shift: Shift, asked: Tensor, *, exact: bool) -> tuple[float, Place | None, int] | None:
    """Largest change, the module where it begins, and the number of places; None if the model does not take float64 or gives no
    answers.
    """
    given = dict(leaves(call.given))[shift.path]
    length, axis = given.shape[shift.axis], shift.axis
    with task.boxed(exact=exact), torch.no_grad():
        task.model.eval()
        if exact:
            call = Call(in_double(call.args), in_double(dict(call.kwargs)))
        try:
            output, before = record_calls(task.model, lambda: task.outputs(call))
        except Exception:  # noqa: BLE001  a model that cannot be called like this is not judged
            return None
        answers = _answers(output, given.shape[:2])
        if not answers:
            return None
        worst: tuple[float, Place | None] = (0.0, None)
        places = [place for place in range(length - 1) if bool(asked.select(axis, place).any())]
        for last in sorted({places[len(places) * quarter // 4] for quarter in (1, 2, 3)}):
            changed = _changed_after(call, shift, last)
            other, after = record_calls(task.model, partial(task.outputs, changed))
            kept = _up_to(last, axis, given.shape[:2])
            pairs = zip(answers, _answers(other, given.shape[:2]), strict=True)
            wanted = asked.narrow(axis, 0, last + 1)
            share = max(
                change(one.narrow(axis, 0, last + 1)[wanted], two.narrow(axis, 0, last + 1)[wanted]) for one, two in pairs
            )
            if share > worst[0]:
                worst = share, begins(before, after, kept, CHECKUP_SAME if exact else CHECKUP_SAME_SINGLE)
        return *worst, length


def _asked(task: Task, shape: torch.Size) -> Tensor:
    """Which places the loss looks at, as (axis 0, axis 1): all of them if that cannot be seen."""
    for gradient in taught(task):
        if placed := _answers(gradient, shape):
            asked = placed[0].abs().reshape(*shape, -1).sum(2) > 0
            if bool(asked.any()):
                return asked
    return torch.ones(shape, dtype=torch.bool, device=task.device)


def _changed_after(call: Call, shift: Shift, last: int) -> Call:
    """Everything after a place replaced by the same places of the next example, or of a single example in reverse order."""

    def put(path: str, tensor: Tensor) -> Tensor:
        if path != shift.path:
            return tensor
        changed = tensor.detach().clone()
        rest = changed.narrow(shift.axis, last + 1, tensor.shape[shift.axis] - last - 1)
        turned = rest.roll(1, 1 - shift.axis)
        if torch.equal(turned, rest):
            turned = rest.flip(shift.axis)
        if torch.equal(turned, rest):
            turned = tensor.narrow(shift.axis, 0, 1).expand_as(rest)
        rest.copy_(turned.clone())
        return changed

    return call.with_given({key: mapped(each, put, key) for key, each in call.given.items()})


def _answers(output: object, shape: torch.Size) -> list[Tensor]:
    """Outputs with one answer for each place, as (axis 0, axis 1, …): also if classes are axis 1, or both axes are flattened into
    one.
    """
    found = []
    for _, each in leaves(output):
        if not each.is_floating_point() or each.ndim < 2:
            continue
        if each.shape[:2] == shape:
            found.append(each)
        elif each.shape[0] == shape[0] and each.ndim == 3 and each.shape[2] == shape[1]:
            found.append(each.transpose(1, 2))
        elif each.ndim == 2 and each.shape[0] == shape[0] * shape[1]:
            found.append(each.reshape(*shape, -1))
    return found[:1]  # the logits come first; hidden states and caches follow


def _up_to(last: int, axis: int, shape: torch.Size) -> Callable[[Tensor], Tensor | None]:
    """The part of a tensor up to a place; also inside a module that has the two axes swapped."""

    def kept(tensor: Tensor) -> Tensor | None:
        if tensor.ndim >= 2 and tensor.shape[:2] == shape:
            return tensor.narrow(axis, 0, last + 1)
        if tensor.ndim >= 2 and tensor.shape[:2] == shape[::-1] and shape[0] != shape[1]:
            return tensor.narrow(1 - axis, 0, last + 1)
        if axis == 1 and tensor.ndim == 3 and tensor.shape[0] == shape[0] and tensor.shape[2] == shape[1]:
            return tensor.narrow(2, 0, last + 1)  # channels second
        return None

    return kept


def _finding(share: float, limit: float, place: Place | None) -> Finding:
    where = (place.name,) if place else ()
    at = f" It begins {'in' if place.inside else 'before'} {place.name} ({place.kind})." if place else ""
    module = place.module if place else None
    if place and place.inside and isinstance(module, nn.RNNBase) and module.bidirectional:
        remedy = f"Build {place.name} with bidirectional=False: its backward half reads from the end."
    elif place and place.inside and isinstance(module, CONVOLUTION):
        remedy = f"Pad the input of {place.name} on the left only: its kernel reaches beyond the current place."
    else:
        remedy = (
            "Give the attention a causal mask that hides the places after the query (is_causal=True, or "
            "torch.triu(ones(T, T), diagonal=1) as the masked places), and check its direction and its axis."
        )
    return finding(
        "future-leak",
        "critical",
        where,
        f"The answers up to a place change with the inputs after it, by {part(share)}, and the inputs after it are "
        f"the targets.{at}",
        "The network can copy the answer from its input: the loss falls towards 0, but the network cannot generate.",
        remedy,
        value=share,
        limit=limit,
        source="Karpathy 2019, A recipe for training neural networks: use backprop to chart dependencies",
    )
