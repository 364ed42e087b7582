"""Tensors by the memory they lie in, which views and detached tensors share; and all tensors within a value."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def memory(tensor: Tensor) -> int:
    """The address of the memory a tensor lies in."""
    return int(tensor.untyped_storage().data_ptr())


def tensors_within(value: Any) -> list[Tensor]:
    """All tensors in nested tuples, lists and dicts, in their order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [each for part in value for each in tensors_within(part)] if isinstance(value, tuple | list) else []
