"""If a batch is padded and masked: does the answer depend on the contents of the padded places, and on those of the real places?

Padded places are those that a mask among the inputs hides, or the run of one number at the end of each row. Their contents are
changed after the embedding, so that a mask computed from the token numbers stays the same. Only a network that masks is judged:
some networks read their padding on purpose, such as a convolution over short texts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from lettrine.health.checks import Skip
from lettrine.health.findings import Finding
from lettrine.health.limits import CHECKUP_SAME_SINGLE
from lettrine.torch.checkup.call import Call, NotCalled
from lettrine.torch.checkup.experiment import Result, experiment, finding, part
from lettrine.torch.checkup.padded import Padded, padding_of
from lettrine.torch.checkup.spread import Place, begins, change, record_calls
from lettrine.torch.checkup.task import Task
from lettrine.torch.checkup.values import leaves, mapped

GROWN: Final = 2  # places that a network may add to a sequence: a class token and an end token


@experiment("padding", "Padding", passes=6)
def padding(task: Task) -> Result:
    """Change the contents of the padded places, then those of the real places.

    Measured: How much the answers change with the contents of the padded places, and with those of the real places.
    Formula: change = largest abs(after - before) / size of the answers.
    """
    try:
        call = task.inputs(task.batch())
    except NotCalled:
        raise Skip("not applicable", "the loss function does not call the model itself, so its inputs are not known") from None
    padded = padding_of(call)
    if padded is None:
        raise Skip("not applicable", "no padding was seen in the inputs")
    task.model.eval()
    open_to_all = not padded.told and not masks(task, call)
    if open_to_all and not _attends(task, call, padded.pads.shape[1]):
        raise Skip("not applicable", "the network masks nothing, so its padding is read like anything else")
    rows = padded.pads.any(1)
    with _MaskNotes() as first:
        plain, before = _run(task, call, padded, None)
    with _MaskNotes() as second:
        pads, after = _run(task, call, padded, padded.pads)
    if not _alike(first.masks, second.masks):
        raise Skip("not applicable", "the network makes its mask of the embeddings of padding, so they cannot be changed alone")
    real, _ = _run(task, call, padded, ~padded.pads)
    kept = _kept(padded)
    by_pads, by_real = _moved(plain, pads, kept), _moved(plain, real, kept)
    figures = {
        "rows": float(rows.sum()),
        "share": float(padded.pads.float().mean()),
        "by_padding": by_pads,
        "by_content": by_real,
    }
    said = f"The contents of padded places change the answers by {part(by_pads)}, those of real places by {part(by_real)}."
    if by_pads <= CHECKUP_SAME_SINGLE:
        return Result(said, figures=figures)
    task.known["padding"] = "found"
    if open_to_all:
        return Result(said, (_unmasked(by_pads),), figures)
    found = _finding(by_pads, by_real, begins(before, after, kept, CHECKUP_SAME_SINGLE))
    return Result(said, (found,), figures, where=found.where)


def _run(task: Task, call: Call, padded: Padded, places: Tensor | None) -> tuple[list[Tensor], Any]:
    """Outputs with noise at some places, added to the first embedding of the sequence or to the sequence itself."""
    sequence = dict(leaves(call.given))[padded.path]
    with task.boxed(), torch.no_grad():
        task.model.eval()
        if sequence.is_floating_point():
            call = call.with_given({key: mapped(each, _noisy(padded.path, places), key) for key, each in call.given.items()})
        with _embedding_changed(task.model, sequence, places):
            output, calls = record_calls(task.model, lambda: task.outputs(call))
        return [each.detach().clone() for _, each in leaves(output) if each.is_floating_point()], calls


def _noisy(path: str, places: Tensor | None) -> Callable[[str, Tensor], Tensor]:
    def change_it(here: str, tensor: Tensor) -> Tensor:
        return tensor if here != path or places is None else _with_noise(tensor, places)

    return change_it


def _with_noise(tensor: Tensor, places: Tensor) -> Tensor:
    generator = torch.Generator(device=tensor.device).manual_seed(1)
    noise = torch.randn(tensor.shape, generator=generator, device=tensor.device, dtype=tensor.dtype)
    size = tensor.detach().std() if tensor.numel() > 1 else 1.0
    return torch.where(places[..., None], tensor + noise * (size + 1e-3), tensor)


@contextmanager
def _embedding_changed(model: nn.Module, sequence: Tensor, places: Tensor | None) -> Iterator[None]:
    """Add noise to the embeddings of the sequence."""

    def hook(_: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        given = args[0] if args else None
        same = isinstance(given, Tensor) and given.shape == sequence.shape and bool(torch.equal(given, sequence))
        return _with_noise(output, places) if same and places is not None and isinstance(output, Tensor) else None

    handles = [each.register_forward_hook(hook) for each in model.modules() if isinstance(each, nn.Embedding)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _MaskNotes(TorchFunctionMode):
    """Whether anything is masked, by masked_fill, attention with a mask or packed sequences, and the masks."""

    def __init__(self) -> None:
        super().__init__()
        self.found = False
        self.masks: list[Tensor] = []
        self.attended: list[int] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in ("masked_fill", "masked_fill_", "_pack_padded_sequence"):
            self.found = True
        if func is functional.scaled_dot_product_attention and (given.get("attn_mask") is not None or len(args) > 3):
            self.found = True
        if func is functional.multi_head_attention_forward and given.get("key_padding_mask") is not None:
            self.found = True
            self.masks.append(given["key_padding_mask"].clone())
        if name in ("masked_fill", "masked_fill_") and isinstance(
            mask := given.get("mask", args[1] if len(args) > 1 else None), Tensor
        ):
            self.masks.append(mask.clone())
        if func is functional.multi_head_attention_forward:
            self.attended.append(int(args[1].shape[0]))  # keys (T, B, E)
        if func is functional.scaled_dot_product_attention:
            self.attended.append(int(args[1].shape[-2]))
        output = func(*args, **given)
        if name == "softmax" and isinstance(output, Tensor) and output.ndim > 2 and output.shape[-1] == output.shape[-2]:
            self.attended.append(int(output.shape[-1]))
        return output


def _alike(first: list[Tensor], second: list[Tensor]) -> bool:
    """Whether two passes masked the same places."""
    return len(first) == len(second) and all(torch.equal(one, two) for one, two in zip(first, second, strict=True))


def masks(task: Task, call: Call) -> bool:
    """Whether the network masks anything in this call."""
    with task.boxed(), torch.no_grad(), _MaskNotes() as notes:
        task.model.train()
        task.outputs(call)
    found: bool = notes.found
    return found


def _attends(task: Task, call: Call, length: int) -> bool:
    """Whether the network weighs all places of the sequence for each of them. A convolution or a mean may read its padding."""
    with task.boxed(), torch.no_grad(), _MaskNotes() as notes:
        task.model.train()
        task.outputs(call)
    return any(0 <= places - length <= GROWN for places in notes.attended)


def _unmasked(by_pads: float) -> Finding:
    return finding(
        "padding",
        "info",
        (),
        f"The attention masks nothing, and the inputs seem to be padded: the contents of padded places change the answers by "
        f"{part(by_pads)}.",
        "The answer to an example then depends on the length of the longest example in its batch.",
        "If the run of one number at the end of the rows is padding, hide it: key_padding_mask = (x == pad) in torch's layers.",
        value=by_pads,
        limit=CHECKUP_SAME_SINGLE,
        source="Vaswani et al. 2017, Attention is all you need; torch.nn.MultiheadAttention",
    )


def _kept(padded: Padded) -> Callable[[Tensor], Tensor | None]:
    """The part that must not change: for a tensor with one row per example, the padded examples; with one entry per place, their
    real places.

    The network may have added a few places, such as a class token, at the beginning or the end: only places that are real in both
    readings count.
    """
    rows = padded.pads.any(1)
    count, length = padded.pads.shape

    def kept(tensor: Tensor) -> Tensor | None:
        if tensor.ndim > 2 and tensor.shape[0] == count and 0 <= (more := tensor.shape[1] - length) <= GROWN:
            pads = padded.pads
            if more:
                pads = functional.pad(pads, (more, 0)) | functional.pad(pads, (0, more))
            return tensor[(~pads) & rows[:, None]]
        if tensor.ndim == 2 and tensor.shape[0] == count and tensor.shape[1] != length:
            return tensor[rows]
        return None

    return kept


def _moved(first: list[Tensor], second: list[Tensor], kept: Callable[[Tensor], Tensor | None]) -> float:
    pairs = [(kept(a), kept(b)) for a, b in zip(first, second, strict=True)]
    return max((change(a, b) for a, b in pairs if a is not None and b is not None), default=0.0)


def _finding(by_pads: float, by_real: float, place: Place | None) -> Finding:
    where = (place.name,) if place else ()
    at = f" It begins {'in' if place.inside else 'before'} {place.name} ({place.kind})." if place else ""
    inverted = by_real <= CHECKUP_SAME_SINGLE
    if inverted:
        message = f"The answers change with the contents of the padded places and not at all with those of the real places.{at}"
        remedy = (
            "Invert the mask: torch's key_padding_mask is True at hidden places, attn_mask of "
            "scaled_dot_product_attention is True at visible places."
        )
    else:
        message = f"The contents of padded places change the answers, by {part(by_pads)}, although the network masks.{at}"
        remedy = (
            "Mask the padded keys in every attention (mask[:, None, None, :], not [:, None, :, None]), and leave padded places "
            "out of means, maxima and the last state of recurrent layers."
        )
    return finding(
        "padding",
        "critical" if inverted else "warning",
        where,
        message,
        "The answer to an example then depends on the length of the longest example in its batch.",
        remedy,
        value=by_pads,
        limit=CHECKUP_SAME_SINGLE,
        source="Vaswani et al. 2017, Attention is all you need; torch.nn.MultiheadAttention",
    )
