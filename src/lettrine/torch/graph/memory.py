"""Tensors by the memory they lie in, which views and detached tensors share; and all tensors within a value."""

from __future__ import annotations

from typing import Any, Final

from torch import Tensor

_DEEP: Final = 8  # levels looked into: a dataclass may hold itself


def memory(tensor: Tensor) -> int:
    """The address of the memory a tensor lies in."""
    return int(tensor.untyped_storage().data_ptr())


def tensors_within(value: Any, depth: int = _DEEP) -> list[Tensor]:
    """All tensors in nested tuples, lists, sets, dicts and dataclasses, in their order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    elif hasattr(value, "__dataclass_fields__"):
        value = [getattr(value, name, None) for name in value.__dataclass_fields__]
    if not depth or not isinstance(value, tuple | list | set):
        return []
    return [each for part in value for each in tensors_within(part, depth - 1)]
