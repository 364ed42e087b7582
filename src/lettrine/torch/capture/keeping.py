"""How tensors of noted calls are kept: large ones only as long as the training keeps them."""

from __future__ import annotations

import weakref
from typing import Any, Final

from torch import Tensor

SMALL: Final = 1 << 16  # values; many tensors of at most this size can be kept alive
LARGE: Final = 1 << 20  # values; a larger tensor is not kept alive by us: the user may need all memory


class Gone:
    """Stands for a large tensor that the training has freed. Test `isinstance(value, Tensor)` before reading one."""

    def __repr__(self) -> str:
        return "gone"


GONE: Final = Gone()


class _Weak:
    """A large tensor, as long as somebody else holds it."""

    __slots__ = ("_reference",)

    def __init__(self, tensor: Tensor) -> None:
        self._reference = weakref.ref(tensor)

    def value(self) -> Any:
        tensor = self._reference()
        return GONE if tensor is None else tensor


def kept(value: Any) -> Any:
    """What stands for an argument or a result."""
    if isinstance(value, Tensor):
        return _Weak(value) if value.numel() > LARGE else value
    if type(value) in (tuple, list):
        return type(value)(map(kept, value))
    return value


def kept_small(value: Any) -> Any:
    """The same for calls before the model's, of whose tensors only small ones are kept."""
    if isinstance(value, Tensor):
        return _Weak(value) if value.numel() > SMALL else value
    if type(value) in (tuple, list):
        return type(value)(map(kept_small, value))
    return value


def given(value: Any) -> Any:
    """The argument or result that something stands for."""
    if type(value) is _Weak:
        return value.value()
    if type(value) in (tuple, list):
        return type(value)(map(given, value))
    return value
