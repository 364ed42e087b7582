"""From tensors to the arrays that `lettrine.health.measure` reads.

A tensor may be on any device, of any floating type and any memory layout. The values to measure are picked on its device, by the
rule of `health.measure` for large arrays. They are copied at once into memory of the probe, as float32 or float64: the user may
overwrite the tensor a moment later, and no large activation is kept alive. (A numpy view would be as fast, but a tensor with a
view cannot be resized.) Copies on another device are moved to the CPU together, in one transfer per step.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from functools import lru_cache
from math import ceil, prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lettrine.health.parts import CAP, Values, picks, stride
from lettrine.torch.capture.graphs import being_captured
from lettrine.torch.private import in_transform


class Copy:
    """The values of one tensor at the time of `take`. The next step uses the same memory.

    rows: whether it is an output, kept as the (R, U) table of `health.parts.rows`, or any other tensor.
    size: the number of values of the tensor.
    """

    __slots__ = ("_array", "_axis", "_buffer", "_dtype", "_rows", "_shape", "size")

    made = 0  # how often memory was allocated; while it does not change, every `array` is in the same memory

    def __init__(self, *, rows: bool = False) -> None:
        self._rows = rows
        self._shape: torch.Size | None = None
        self._dtype: torch.dtype | None = None
        self._axis = -1
        self._buffer: Tensor | None = None
        self._array: Values | None = None
        self.size = 0

    def take(self, tensor: Tensor, axis: int = -1) -> None:
        """Copy the values, or the part of them that `health.measure` would look at."""
        buffer, picked = self.prepare(local(tensor.detach()), axis)
        buffer.copy_(picked)

    def prepare(self, tensor: Tensor, axis: int = -1) -> tuple[Tensor, Tensor]:
        """The memory to copy to, and the values to copy there, for those who copy many tensors at once."""
        if tensor.shape != self._shape or tensor.dtype is not self._dtype or axis != self._axis:
            self._shape, self._dtype, self._axis, self.size = tensor.shape, tensor.dtype, axis, tensor.numel()
            self._buffer = None
        if self.size > CAP:
            tensor = rows(tensor if tensor.ndim > 1 else tensor.unsqueeze(-1), axis) if self._rows else part(tensor)
        elif self._rows and axis != -1:
            tensor = tensor.movedim(axis, -1)
        buffer = self._buffer
        if buffer is None or buffer.device != tensor.device:
            wanted = torch.float64 if tensor.dtype is torch.float64 else torch.float32
            buffer = self._buffer = torch.empty(tensor.shape, dtype=wanted, device=tensor.device)
            self._array = self._table(buffer.numpy()) if tensor.is_cpu else None
            Copy.made += 1
        return buffer, tensor

    @property
    def shape(self) -> torch.Size:
        """Shape of the tensor."""
        return self._shape or torch.Size()

    @property
    def array(self) -> Values:
        """The copied values. If they are on another device, call `fetch` first."""
        if self._array is None:
            raise RuntimeError("the copied values were not fetched")
        return self._array

    @property
    def remote(self) -> Tensor | None:
        """The copied values if they are on another device, else None."""
        return None if self._buffer is None or self._buffer.is_cpu else self._buffer

    def deliver(self, array: Values) -> None:
        """Take in the fetched values."""
        self._array = self._table(array)

    def _table(self, array: Values) -> Values:
        """An output with all its examples and positions along the first axis."""
        if not self._rows:
            return array
        return array.reshape(-1, array.shape[-1]) if array.ndim > 1 else array.reshape(-1, 1)


def take_all(copies: Sequence[Copy], tensors: Sequence[Tensor], axes: Sequence[int] | None = None) -> None:
    """Copy many tensors in one call, three times faster than one by one."""
    if copies:
        with torch.no_grad():
            triples = zip(copies, tensors, axes or [-1] * len(copies), strict=True)
            pairs = [copy.prepare(tensor, axis) for copy, tensor, axis in triples]
            torch._foreach_copy_([pair[0] for pair in pairs], [pair[1] for pair in pairs])


class Batch:
    """Copies the same tensors together, at one step after another. For small tensors on the CPU, views are made once."""

    def __init__(self, copies: Sequence[Copy]) -> None:
        self._copies = list(copies)
        self._shapes: list[torch.Size] = []
        self._buffers: list[Tensor] = []

    def take(self, tensors: list[Tensor]) -> None:
        """Copy tensors of any kind."""
        if not tensors:
            return
        if [tensor.shape for tensor in tensors] == self._shapes:
            with torch.no_grad():
                torch._foreach_copy_(self._buffers, tensors)
            return
        tensors = [local(tensor.detach()) for tensor in tensors]
        take_all(self._copies, tensors)
        if all(copy.size <= CAP and copy.remote is None for copy in self._copies):
            pairs = [copy.prepare(tensor) for copy, tensor in zip(self._copies, tensors, strict=True)]
            if all(buffer.shape == tensor.shape for buffer, tensor in pairs):
                self._shapes, self._buffers = [tensor.shape for tensor in tensors], [buffer for buffer, _ in pairs]


def fetch(copies: Iterable[Copy]) -> None:
    """Move the copies on other devices to the CPU, in one transfer for each device and type."""
    groups: dict[tuple[torch.device, torch.dtype], list[tuple[Copy, Tensor]]] = {}
    for copy in copies:
        if (remote := copy.remote) is not None:
            groups.setdefault((remote.device, remote.dtype), []).append((copy, remote))
    for group in groups.values():
        joined = torch.cat([remote.reshape(-1) for _, remote in group]).cpu().numpy()
        ends = np.cumsum([remote.numel() for _, remote in group])
        for (copy, remote), flat in zip(group, np.split(joined, ends[:-1]), strict=True):
            copy.deliver(flat.reshape(tuple(remote.shape)))


def measurable(tensor: Tensor) -> bool:
    """Whether a tensor can be measured: real numbers, dense, at least one, and no stand-in inside a function transform."""
    return (
        tensor.is_floating_point()
        and tensor.layout is torch.strided
        and tensor.numel() > 0
        and not tensor.is_meta
        and not in_transform(tensor)
        and not (tensor.is_cuda and being_captured())
    )


def local(tensor: Tensor) -> Tensor:
    """The part of a DTensor that this process holds; any other tensor as it is."""
    detached: Any = tensor.detach() if hasattr(tensor, "to_local") else None
    return tensor if detached is None else detached.to_local()


def first_values(tensor: Tensor, most: int) -> Tensor:
    """(at most `most`,) The first values of the part that this process holds, without a graph: a view where it can be one."""
    return local(tensor).detach().reshape(-1)[:most]


def dense(gradient: Tensor | None) -> Tensor | None:
    """A gradient as a dense tensor; of a sparse embedding, with its rows in their places. None if there is nothing to measure."""
    if gradient is None:
        return None
    gradient = local(gradient.detach())
    if gradient.layout is torch.sparse_coo:
        gradient = gradient.to_dense()
    return gradient if measurable(gradient) else None


def rows(tensor: Tensor, axis: int) -> Tensor:
    """The twin of `health.parts.rows` for a tensor of two axes or more: its last axis holds the units, the others the examples.

    A view wherever the tensor's memory allows it; in any case a large tensor is never copied whole.
    """
    walk = _walk(tensor.shape, tensor.stride(), axis % tensor.ndim)
    if walk is not None:
        return tensor.as_strided(*walk)
    moved, pattern = tensor.movedim(axis, -1), picks(tensor.shape, axis % tensor.ndim)
    if pattern is None:
        return moved
    return moved[_unravelled(tensor.shape, axis % tensor.ndim, tensor.device)][:, :: pattern.unit_step]


@lru_cache(maxsize=1024)
def _walk(shape: torch.Size, strides: tuple[int, ...], axis: int) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Shape and strides of the view of the picked values; None if all values are picked, or if there is no such view."""
    pattern = picks(shape, axis)
    before, behind = _one_stride(shape[:axis], strides[:axis]), _one_stride(shape[axis + 1 :], strides[axis + 1 :])
    if pattern is None or before is None or behind is None:
        return None
    images, wander = divmod(pattern.image_gap, prod(shape[axis + 1 :]))
    return (
        (pattern.images, pattern.runs, pattern.length, ceil(shape[axis] / pattern.unit_step)),
        (images * before + wander * behind, pattern.run_gap * behind, behind, strides[axis] * pattern.unit_step),
    )


def _one_stride(shape: Sequence[int], strides: Sequence[int]) -> int | None:
    """The stride of several neighbouring axes taken as one; None if they cannot be taken as one."""
    sizes = [(size, stride) for size, stride in zip(shape, strides, strict=True) if size > 1]
    for (_, outer), (size, inner) in itertools.pairwise(sizes):
        if outer != size * inner:
            return None
    return sizes[-1][1] if sizes else 1


def part(tensor: Tensor) -> Tensor:
    """The twin of `health.measure.part`: of more than CAP values every n-th, in the order of memory."""
    if tensor.numel() <= CAP:
        return tensor
    if not tensor.is_contiguous():
        tensor = tensor.permute(sorted(range(tensor.ndim), key=tensor.stride, reverse=True))
    return tensor.reshape(-1)[:: stride(tuple(tensor.shape))]


@lru_cache(maxsize=256)
def _unravelled(shape: torch.Size, axis: int, device: torch.device) -> tuple[Tensor, ...]:
    """The examples looked at, as one index for each axis but that of the units."""
    pattern = picks(shape, axis)
    examples = np.empty(0, dtype=np.int64) if pattern is None else pattern.examples()
    indices = np.unravel_index(examples, (*shape[:axis], *shape[axis + 1 :]))
    return tuple(torch.from_numpy(index.copy()).to(device) for index in indices)
