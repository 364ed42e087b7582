"""Finds the tensors inside inputs and outputs of models: in tuples, mappings, dataclasses, and objects of a library."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor with its path, such as "0.hidden"."""
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from leaves(each, _join(path, key))
    elif isinstance(value, list | tuple):
        for place, each in enumerate(value):
            yield from leaves(each, _join(path, place))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for each in dataclasses.fields(value):
            yield from leaves(getattr(value, each.name, None), _join(path, each.name))


def mapped(value: Any, change: Callable[[str, Tensor], Tensor], path: str = "") -> Any:
    """The same structure with each tensor changed; objects of other kinds are copied as a whole."""
    if isinstance(value, Tensor):
        return change(path, value)
    if isinstance(value, Mapping):
        return {key: mapped(each, change, _join(path, key)) for key, each in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(mapped(each, change, _join(path, place)) for place, each in enumerate(value)))
    if isinstance(value, list | tuple):
        return type(value)(mapped(each, change, _join(path, place)) for place, each in enumerate(value))
    if isinstance(value, str | bytes | int | float | bool | type(None)):
        return value
    return copy.deepcopy(value)


def fresh(value: Any) -> Any:
    """A copy of a batch that a model may write into."""
    return mapped(value, lambda _, tensor: tensor.detach().clone().requires_grad_(tensor.requires_grad))


def moved(value: Any, device: torch.device) -> Any:
    """The same on another device."""
    return mapped(value, lambda _, tensor: tensor.to(device))


def in_double(value: Any) -> Any:
    """The same with its floating-point tensors in float64."""
    return mapped(value, lambda _, tensor: tensor.double() if tensor.is_floating_point() else tensor)


def floats(value: Any) -> list[tuple[str, Tensor]]:
    """The floating-point tensors that are not empty."""
    return [(path, tensor) for path, tensor in leaves(value) if tensor.is_floating_point() and tensor.numel() > 0]


def swapped(tensor: Tensor, axis: int, target: int, source: int) -> Tensor:
    """A copy in which one slice along an axis is that of another."""
    changed = tensor.detach().clone()
    changed.select(axis, target).copy_(tensor.detach().select(axis, source))
    return changed


def largest(tensor: Tensor) -> float:
    """Largest absolute value; 0 for an empty tensor."""
    return float(tensor.detach().abs().max()) if tensor.numel() else 0.0


def _join(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)
