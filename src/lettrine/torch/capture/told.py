"""What is told of layers of other libraries, which have neither torch's types nor its attributes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from weakref import WeakKeyDictionary

from torch import Tensor, nn


@dataclass(frozen=True)
class Running:
    """The running statistics of a batch norm. mean, var: read them. eps: as of torch. axis: of the channels in its input.
    share: of the batch in each update; None for a mean over all batches.
    """

    mean: Callable[[], Tensor]
    var: Callable[[], Tensor]
    eps: float
    axis: int
    share: float | None


@dataclass(frozen=True)
class Told:
    """Of one layer. role: as in `ModuleInfo`, "" if it is to be found out. activation: what makes its output, in the table of
    activations; "" for none. axis: of the units in its output, None as in torch. running: of a batch norm.
    """

    role: str = ""
    activation: str = ""
    axis: int | None = None
    running: Running | None = None


TOLD: Final[WeakKeyDictionary[nn.Module, Told]] = WeakKeyDictionary()
"""By layer."""

NOTHING: Final = Told()


def told_of(module: nn.Module | None) -> Told:
    """What was told of a layer."""
    return NOTHING if module is None else TOLD.get(module, NOTHING)
