"""Does a padded batch give the same answers as single examples? A few padded examples run alone, each cut to its own length.

`padding` changes the contents of padded places; this experiment finds what depends on their number: a sum over the real places
that is divided by the longest length, or a position counted from the end of the batch. Only networks that mask are judged, and
only padding at the end: cutting an example that is padded in front would move its places.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from lettrine.health.checks import Skip
from lettrine.health.limits import CHECKUP_SAME_SINGLE
from lettrine.torch.checkup.call import Call, NotCalled
from lettrine.torch.checkup.experiment import Result, experiment, finding, part
from lettrine.torch.checkup.experiments.padding import masks
from lettrine.torch.checkup.padded import Padded, padding_of
from lettrine.torch.checkup.spread import change
from lettrine.torch.checkup.task import Task
from lettrine.torch.checkup.values import leaves, mapped

MOST: Final = 4  # examples that run alone


@experiment("alone", "Padded batch against single examples", passes=MOST)
def alone(task: Task) -> Result:
    """Run a few padded examples alone and compare with their answers in the batch.

    Measured: The answers to a few padded examples, in the batch and alone without their padding, in eval mode.
    Formula: change = max |answer alone - answer in the batch| / max |answer in the batch|.
    """
    try:
        call = task.inputs(task.batch())
    except NotCalled:
        raise Skip("not applicable", "the loss function does not call the model itself, so its inputs are not known") from None
    padded = padding_of(call)
    if padded is None:
        raise Skip("not applicable", "no padding was seen in the inputs")
    lengths = (~padded.pads).sum(1)
    places = torch.arange(padded.pads.shape[1], device=lengths.device)
    if not torch.equal(padded.pads, places >= lengths[:, None]):
        raise Skip("not applicable", "the padding is not at the end")
    if not padded.told and not masks(task, call):
        raise Skip("not applicable", "the network masks nothing, so its padding is read like anything else")
    rows = [int(each) for each in padded.pads.any(1).nonzero().flatten()[:MOST]]
    with task.boxed(), torch.no_grad():
        task.model.eval()
        try:
            together = _answers(task, call)
            single = [_answers(task, shortened(call, padded, row, 0)) for row in rows]
            whole = [_answers(task, shortened(call, padded, row, padded.pads.shape[1])) for row in rows]
        except Exception:  # noqa: BLE001  a network of one length only, or of batches only
            raise Skip("not applicable", "the network does not take one example of another length") from None
    # Effects of the batch size alone, such as a mean over the batch, belong to another experiment.
    by_batch = max(_apart(together, own, row, padded) for row, own in zip(rows, whole, strict=True))
    by_length = max(_apart(together, own, row, padded) for row, own in zip(rows, single, strict=True))
    figures = {"examples": len(rows), "by_length": by_length, "by_batch": by_batch}
    said = f"{len(rows)} padded examples run alone and without their padding: the answers change by {part(by_length)}."
    if by_length <= CHECKUP_SAME_SINGLE or by_batch > CHECKUP_SAME_SINGLE or "padding" in task.known:
        return Result(said, figures=figures)
    found = finding(
        "padding",
        "warning",
        (),
        f"A padded example gets another answer when it runs alone, without its padding: it changes by {part(by_length)}.",
        "The answer to an example then depends on the length of the longest example in its batch.",
        "Divide sums over places by the number of real ones (mask.sum(1)), not by the padded length; count positions from the "
        "beginning; and mask before every mean, maximum, normalisation or convolution over places.",
        value=by_length,
        limit=CHECKUP_SAME_SINGLE,
        source="Vaswani et al. 2017, Attention is all you need",
    )
    return Result(said, (found,), figures)


def shortened(call: Call, padded: Padded, row: int, length: int) -> Call:
    """The call with one example alone; 0 for its own length."""
    shape = padded.pads.shape  # (B, T)
    length = length or int((~padded.pads[row]).sum())

    def cut(_: str, tensor: Tensor) -> Tensor:
        if tensor.ndim == 0 or tensor.shape[0] != shape[0]:
            return tensor
        own = tensor[row : row + 1]
        if tensor.ndim >= 2 and tensor.shape[1] == shape[1]:
            own = own[:, :length]
        if tensor.ndim >= 3 and tensor.shape[-1] == tensor.shape[-2] == shape[1]:  # a mask of places by places
            own = own[..., :length, :length]
        return own.clone()

    return call.with_given({key: mapped(each, cut) for key, each in call.given.items()})


def _answers(task: Task, call: Call) -> list[Tensor]:
    return [each for _, each in leaves(task.outputs(call)) if each.is_floating_point()]


def _apart(together: list[Tensor], own: list[Tensor], row: int, padded: Padded) -> float:
    """Change of one example's answers; at its real places if there is one answer for each place."""
    found = 0.0
    count, places = padded.pads.shape
    length = int((~padded.pads[row]).sum())
    for batch, single in zip(together, own, strict=False):
        if batch.ndim < 2 or batch.shape[0] != count or single.shape[:1] != (1,):
            continue
        first, second = batch[row], single[0]
        if batch.ndim >= 3 and batch.shape[1] == places:
            first, second = first[:length], second[:length]
        if first.shape == second.shape:
            found = max(found, change(first, second))
    return found
