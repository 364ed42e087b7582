"""Along which axis a prediction's probabilities sum to 1, and along which its targets say that they should."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from lettrine.torch.devices import double
from lettrine.torch.graph.losses.comparisons import Comparison

_MOST: Final = 1 << 20  # numbers of a prediction that are summed
_NEARLY: Final = 1e-2  # from 1, of a sum
_ROWS: Final = 0.99  # of the sums


def shared_out(each: Comparison) -> bool:
    """Whether probabilities sum to 1 along the axis of the classes, wherever it is: a transposed prediction has it first.

    Targets tell which axis that is. Of the prediction's own shape: they sum to 1 along it, too. Numbers of classes: there is one
    for each sum, which is true of one axis alone.
    """
    given, target = each.prediction.detach(), each.target.detach()
    if given.ndim < 2 or given.numel() > _MOST:
        return False
    shares = given.exp() if each.head.last in ("LogSoftmax", "Log") else given
    axes = [axis for axis in range(given.ndim) if _sums(shares, axis)]
    if target.is_floating_point() or target.shape == given.shape:
        return any(target.shape == given.shape and _sums(target, axis) for axis in axes)
    told = [axis for axis, size in enumerate(given.shape) if target.numel() * size == given.numel()]
    return len(told) == 1 and told[0] in axes


def axis_of_ones(prediction: Tensor) -> int | None:
    """The first axis along which these probabilities, or their logarithms, sum to 1."""
    given = prediction.detach()
    if given.numel() > _MOST:
        return None
    shares = given if bool((given >= 0).all()) else given.exp()
    return next((axis for axis in range(given.ndim) if _sums(shares, axis)), None)


def _sums(tensor: Tensor, axis: int) -> bool:
    sums = double(tensor).sum(axis)
    return bool(double(torch.isclose(sums, torch.ones_like(sums), atol=_NEARLY, rtol=0.0)).mean() > _ROWS)
