"""The published random numbers, against torch itself."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lettrine.errors import ConfigError
from lettrine.model.config import MLPConfig
from lettrine.model.initialisation import NAIVE, Initialisation
from lettrine.recipes.generator import SEED, GeneratorBatches, TorchGenerator, draw_parameters

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("seed", [SEED, 1, 4294967295])
def test_normal_and_whole_numbers_are_those_of_torch_in_one_stream(seed: int) -> None:
    generator, theirs = TorchGenerator(seed), torch.Generator().manual_seed(seed)
    for shape in [(27, 10), (30, 200), (200,), (17,), (16,), (27,)]:  # some of whole sixteens, some not
        np.testing.assert_allclose(generator.normal(shape), torch.randn(shape, generator=theirs).numpy(), atol=1e-6)
        drawn = torch.randint(0, 182_625, (5, 32), generator=theirs).numpy()
        np.testing.assert_array_equal(generator.integers(182_625, (5, 32)), drawn)


def test_weights_and_batches_are_drawn_in_the_order_of_the_lecture() -> None:
    config = MLPConfig(27, context=3, embedding=10, hidden=(200,), activation="tanh")
    g = torch.Generator().manual_seed(SEED)
    table = torch.randn((27, 10), generator=g)
    w1, b1 = torch.randn((30, 200), generator=g) * 0.3, torch.randn(200, generator=g) * 0.01
    w2, b2 = torch.randn((200, 27), generator=g) * 0.01, torch.randn(27, generator=g) * 0
    first = torch.randint(0, 1000, (32,), generator=g).numpy()
    generator = TorchGenerator()
    scheme = Initialisation(hidden=0.3, hidden_fan_in=False, hidden_bias=0.01, output=0.01, output_fan_in=False)
    ours = draw_parameters(config, scheme, generator)
    for name, value in {
        "embedding.weight": table,
        "layers.0.weight": w1.T,
        "layers.0.bias": b1,
        "output.weight": w2.T,
        "output.bias": b2,
    }.items():
        np.testing.assert_allclose(ours[name], value.numpy(), atol=1e-6)
        assert ours[name].flags.c_contiguous
    np.testing.assert_array_equal(GeneratorBatches(generator, 1000, 32).rows(0, 1)[0], first)


@pytest.mark.parametrize("hidden", [(200,), (100,) * 5])
def test_skipping_a_net_passes_over_just_what_drawing_it_takes(hidden: tuple[int, ...]) -> None:
    config = MLPConfig(27, context=3, embedding=10, hidden=hidden, activation="tanh", norm="batch", hidden_bias=True)
    drawn, skipped = TorchGenerator(), TorchGenerator()
    for _ in range(2):
        draw_parameters(config, NAIVE, drawn)
    drawn.integers(99, (7, 32))
    skipped.skip_nets(config, 2, 7, 32)
    np.testing.assert_array_equal(drawn.integers(10**6, (8,)), skipped.integers(10**6, (8,)))


def test_batches_are_the_same_however_they_are_asked_for() -> None:
    whole, pieces = GeneratorBatches(TorchGenerator(3), 500, 4), GeneratorBatches(TorchGenerator(3), 500, 4)
    expected = [whole.rows(step, step + 1)[0] for step in range(2100)]
    got, step = [], 0
    while step < 2100:
        rows = pieces.rows(step, min(step + 300, 2100))
        got.append(rows)
        step += len(rows)
    np.testing.assert_array_equal(np.concatenate(got), np.array(expected))


def test_few_numbers_are_still_normal() -> None:
    values = np.array([TorchGenerator(seed).normal((2,)) for seed in range(2000)])
    assert abs(float(values.mean())) < 3 / math.sqrt(4000)
    assert abs(float(values.std()) - 1) < 0.05


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, True])
def test_a_seed_outside_its_range_is_refused(seed: object) -> None:
    with pytest.raises(ConfigError, match="seed got"):
        TorchGenerator(seed)  # type: ignore[arg-type]
