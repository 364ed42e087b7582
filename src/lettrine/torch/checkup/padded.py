"""Which places of a batch are padding, as far as its inputs show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from lettrine.torch.checkup.call import Call
from lettrine.torch.checkup.values import leaves

LEAST_ROWS: Final = 2  # padded rows
MOST_SHARE: Final = 0.98  # largest share of padded places: reviews of a dozen words, filled up to a few hundred places


@dataclass(frozen=True)
class Padded:
    """path: of the sequence. pads: (B, T), True at padding. told: whether an input says so; otherwise it was inferred from the
    values.
    """

    path: str
    pads: Tensor
    told: bool


def padding_of(call: Call) -> Padded | None:
    """The padded places of the first sequence that has some."""
    given = list(leaves(call.given))
    for path, tensor in given:
        if not _sequence(tensor):
            continue
        for _, mask in given:
            if mask is not tensor and mask.shape == tensor.shape[:2] and (pads := _ruled_out(mask)) is not None:
                return Padded(path, pads, told=True)
    for path, tensor in given:
        if tensor.dtype is torch.long and tensor.ndim == 2 and (pads := trailing(tensor)) is not None:
            return Padded(path, pads, told=False)
    return None


def trailing(tensor: Tensor) -> Tensor | None:
    """The run of one number at the end of each row (B, T), if that number occurs nowhere else; None if rows do not end so."""
    pad = int(tensor[:, -1].mode().values)
    is_pad = tensor == pad
    at_end = is_pad.flip(1).cumprod(1).flip(1).bool()
    lengths = at_end.sum(1)
    if bool((is_pad & ~at_end).any()) or int((lengths > 0).sum()) < LEAST_ROWS or bool((lengths == lengths[0]).all()):
        return None
    if int(lengths.max()) < 2 or not 0.0 < float(at_end.float().mean()) < MOST_SHARE or bool(at_end.all(1).any()):
        return None
    return at_end


def _ruled_out(mask: Tensor) -> Tensor | None:
    """Padded places from a mask of 0 and 1, which stand at the end of rows.

    The meaning of 0 and 1 depends on the library: in transformers 1 is attended to; in torch's key_padding_mask 1 is hidden. The
    first place of every row is never padding, so its value tells which convention holds. If this does not decide, transformers'
    convention is used. Masks padded on the left are reversed first.
    """
    if mask.dtype is not torch.bool and not bool(((mask == 0) | (mask == 1)).all()):
        return None
    is_one = mask == 1
    if bool(is_one.all()) or bool((~is_one).all()):
        return None
    for first in (is_one[:, 0], is_one[:, -1]):  # padded at the end, or at the beginning
        if bool(first.all()):
            return ~is_one
        if bool((~first).all()):
            return is_one
    return None


def _sequence(tensor: Tensor) -> bool:
    return (tensor.dtype is torch.long and tensor.ndim == 2) or (tensor.is_floating_point() and tensor.ndim == 3)
