"""What is taken of a tensor is what `health.measure` would take of the same array."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lettrine.health import measure, parts
from lettrine.health.parts import CAP
from lettrine.torch.capture.copies import Copy, dense, fetch, measurable, part, rows, take_all

SHAPES = [
    ((5, 3), -1),
    ((64, 50, 31), -1),
    ((16, 24, 9, 7), 1),
    ((64, 32, 17, 19), 1),
    ((40, 9000), -1),
    ((20_000,), -1),
    ((7, 5, 3), 1),
    ((1, 1), -1),
    ((), -1),
]


def numbered(shape: tuple[int, ...]) -> torch.Tensor:
    """Values that tell where they stood."""
    return torch.arange(int(np.prod(shape)), dtype=torch.float32).reshape(shape)


@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_rows_are_those_of_the_numpy_twin(shape: tuple[int, ...], axis: int) -> None:
    tensor = numbered(shape)
    copy = Copy(rows=True)
    copy.take(tensor, axis)
    expected = parts.rows(tensor.numpy(), axis)
    np.testing.assert_array_equal(copy.array, expected)
    assert copy.size == tensor.numel()
    assert copy.array.size <= max(CAP, 64 * 300)


@pytest.mark.parametrize(("shape", "axis"), [pair for pair in SHAPES if len(pair[0]) > 1])
def test_memory_layout_does_not_matter_to_rows(shape: tuple[int, ...], axis: int) -> None:
    tensor = numbered(shape)
    turned = tensor.transpose(0, 1).contiguous().transpose(0, 1)
    copy = Copy(rows=True)
    copy.take(turned, axis)
    np.testing.assert_array_equal(copy.array, parts.rows(tensor.numpy(), axis))


@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_parts_are_those_of_the_numpy_twin(shape: tuple[int, ...], axis: int) -> None:
    del axis
    tensor = numbered(shape)
    np.testing.assert_array_equal(part(tensor).numpy().ravel(), parts.part(tensor.numpy()).ravel())


def test_a_part_of_a_channels_last_tensor_is_as_large_and_never_copies_it_whole() -> None:
    tensor = numbered((16, 32, 20, 20)).to(memory_format=torch.channels_last)
    picked = part(tensor)
    assert picked.numel() == parts.part(tensor.numpy()).size
    assert picked.untyped_storage().data_ptr() == tensor.untyped_storage().data_ptr()


def test_a_copy_is_of_the_moment_and_its_memory_is_used_again() -> None:
    copy = Copy()
    tensor = torch.ones(3)
    copy.take(tensor)
    first = copy.array
    tensor.fill_(7.0)
    assert first.tolist() == [1.0, 1.0, 1.0]
    copy.take(tensor)
    assert copy.array is first
    assert first.tolist() == [7.0, 7.0, 7.0]
    copy.take(torch.zeros(2, 2))
    assert copy.array.shape == (2, 2)
    assert tensor.untyped_storage().resizable(), "a numpy view would have forbidden that"


@pytest.mark.parametrize(
    ("dtype", "wanted"),
    [(torch.bfloat16, np.float32), (torch.float16, np.float32), (torch.float32, np.float32), (torch.float64, np.float64)],
)
def test_types(dtype: torch.dtype, wanted: type) -> None:
    copy = Copy()
    copy.take(torch.tensor([1.0, -0.5, 3.0], dtype=dtype))
    assert copy.array.dtype == wanted
    assert copy.array.tolist() == [1.0, -0.5, 3.0]


def test_many_at_once() -> None:
    copies = [Copy(), Copy(), Copy()]
    tensors = [numbered((3, 4)), numbered((200, 300)).double(), torch.nn.Parameter(numbered((5,)))]
    take_all(copies, tensors)
    for copy, tensor in zip(copies, tensors, strict=True):
        np.testing.assert_array_equal(copy.array.ravel(), parts.part(tensor.detach().numpy()).ravel())


class Elsewhere(Copy):
    """Pretends that its memory is on another device."""

    __slots__ = ()

    @property
    def remote(self) -> torch.Tensor | None:
        return self._buffer


def test_fetching_gives_each_its_own() -> None:
    copies = [Elsewhere(), Elsewhere(), Elsewhere()]
    tensors = [numbered((3, 4)), numbered((2, 2)).double(), numbered((5,)) + 100]
    for copy, tensor in zip(copies, tensors, strict=True):
        copy.take(tensor)
        copy._array = None
    fetch(copies)
    for copy, tensor in zip(copies, tensors, strict=True):
        np.testing.assert_array_equal(copy.array, tensor.numpy())
        assert copy.array.dtype == tensor.numpy().dtype


def test_what_has_figures() -> None:
    assert measurable(torch.ones(2))
    assert not measurable(torch.ones(2, dtype=torch.cfloat))
    assert not measurable(torch.ones(2, dtype=torch.int64))
    assert not measurable(torch.ones(0, 3))
    assert not measurable(torch.ones(2, device="meta"))
    assert not measurable(torch.eye(2).to_sparse())
    sparse = torch.sparse_coo_tensor(torch.tensor([[0, 2, 2]]), torch.tensor([1.0, 2.0, 3.0]), (4,), check_invariants=True)
    found = dense(sparse)
    assert found is not None
    assert found.tolist() == [1.0, 0.0, 5.0, 0.0]
    assert dense(None) is None
    assert dense(torch.ones(2, dtype=torch.cfloat)) is None


def test_figures_of_a_transposed_tensor_equal_those_of_its_values() -> None:
    tensor = torch.linspace(-3, 3, 60).reshape(3, 4, 5).permute(2, 0, 1)
    copy = Copy(rows=True)
    copy.take(tensor, 1)
    ours = measure.output(copy.array, -1, "tanh").row
    theirs = measure.output(tensor.contiguous().numpy(), 1, "tanh").row
    np.testing.assert_array_equal(ours, theirs)
    assert rows(tensor, 1).shape == (5, 4, 3)
