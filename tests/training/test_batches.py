"""Which examples form each batch."""

from __future__ import annotations

import numpy as np
import pytest

from lettrine.errors import ConfigError
from lettrine.training.batches import Batches, Epochs, batches


def drawn(source: Epochs | Batches, steps: int, stride: int) -> np.ndarray:
    """All batches, asked for `stride` steps at a time."""
    parts, step = [], 0
    while step < steps:
        parts.append(source.rows(step, min(step + stride, steps)))
        step += len(parts[-1])
    return np.concatenate(parts)


@pytest.mark.parametrize(("examples", "batch"), [(10, 3), (12, 4), (7, 7), (3, 8), (1, 5), (50, 1)])
def test_every_example_comes_once_in_each_epoch(examples: int, batch: int) -> None:
    rows = drawn(Epochs(1, examples, batch), 120, 7)
    assert rows.shape == (120, batch)
    flat = rows.reshape(-1)
    for start in range(0, len(flat) - examples + 1, examples):
        assert sorted(flat[start : start + examples]) == list(range(examples))
    if examples > 5:
        assert (flat[:examples] != flat[examples : 2 * examples]).any()  # shuffled anew


@pytest.mark.parametrize("kind", [Epochs, Batches])
def test_a_training_that_goes_on_in_the_middle_sees_the_same_batches(kind: type[Epochs | Batches]) -> None:
    whole = drawn(kind(3, 23, 4), 50, 11)
    for start in (0, 1, 5, 6, 17, 29, 49):
        fresh = kind(3, 23, 4).rows(start, start + 1)
        assert (fresh[0] == whole[start]).all()
    assert (drawn(kind(4, 23, 4), 50, 11) != whole).any()  # another seed


def test_the_draw_is_chosen_by_name() -> None:
    assert isinstance(batches("epochs", 0, 5, 2), Epochs)
    assert isinstance(batches("replacement", 0, 5, 2), Batches)
    with pytest.raises(ConfigError, match="expected one of epochs, replacement"):
        batches("twice", 0, 5, 2)
