"""The random numbers of the published runs, without torch.

The study notebooks draw weights and batches from `torch.Generator().manual_seed(2147483647)`. That generator is the Mersenne
Twister (Matsumoto & Nishimura 1998), which numpy has too. What torch makes of its 32-bit words on a CPU is written down here.
So a recipe begins with the same weights, and sees the same batches, as the run it repeats. Its figures can then be compared
digit by digit, and not only with the spread of many seeds.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lettrine.engine.base import Indices
from lettrine.errors import ConfigError
from lettrine.model.config import MLPConfig
from lettrine.model.initialisation import Initialisation, width_of
from lettrine.model.parameters import Parameters, buffer_shapes, group_of, parameter_shapes

SEED: Final = 2147483647  # of the published runs
_CHUNK: Final = 16  # torch turns uniform numbers into normal ones sixteen at a time
_BLOCK_STEPS: Final = 1024

Words = NDArray[np.uint64]


class TorchGenerator:
    """A stream of random numbers, equal to that of `torch.Generator().manual_seed(seed)` on a CPU.

    Raises ConfigError for a seed outside 0 to 2**32 - 1.
    """

    def __init__(self, seed: int = SEED) -> None:
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
            raise ConfigError(f"seed got {seed!r}; expected a whole number from 0 to {2**32 - 1}")
        self._twister = np.random.MT19937()
        self._twister._legacy_seeding(seed)  # noqa: SLF001  # the seeding torch uses too

    def normal(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Numbers of N(0, 1), as `torch.randn(shape)` draws 16 or more of them; fewer are the first of 16."""
        count = math.prod(shape)
        uniform = self._uniform(max(count, _CHUNK))
        whole = len(uniform) // _CHUNK * _CHUNK  # and if some are left over, torch fills them by drawing the last sixteen anew
        values = np.empty_like(uniform)
        values[:whole] = _box_muller(uniform[:whole].reshape(-1, _CHUNK)).ravel()
        if whole < len(uniform):
            values[-_CHUNK:] = _box_muller(self._uniform(_CHUNK)[None])[0]
        return values[:count].reshape(shape)

    def integers(self, high: int, shape: tuple[int, ...]) -> Indices:
        """Whole numbers from 0 to high - 1, as `torch.randint(0, high, shape)` draws them."""
        drawn: Words = self._twister.random_raw(math.prod(shape))
        return (drawn % np.uint64(high)).astype(np.int64).reshape(shape)

    def skip_nets(self, config: MLPConfig, nets: int, steps: int, batch: int) -> None:
        """Pass over what initialising that many nets of such a shape, and taking that many steps, had drawn."""
        sizes = [math.prod(shape) for name, shape in parameter_shapes(config).items() if _drawn(config, name)]
        words = sum(max(size, _CHUNK) + (_CHUNK if size % _CHUNK and size > _CHUNK else 0) for size in sizes)
        self._twister.random_raw(nets * words + steps * batch)

    def _uniform(self, count: int) -> NDArray[np.float32]:
        """In [0, 1), of the lowest 24 bits: as many as a float32 holds."""
        drawn: Words = self._twister.random_raw(count)
        return (drawn & np.uint64(2**24 - 1)).astype(np.float32) * np.float32(2.0**-24)


def _box_muller(uniform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of sixteen uniform numbers to rows of sixteen normal ones (Box & Muller 1958), (n, 16)."""
    half = _CHUNK // 2
    radius = np.sqrt(np.float32(-2.0) * np.log(np.float32(1.0) - uniform[:, :half]))  # (n, 8)
    angle = np.float32(2.0 * math.pi) * uniform[:, half:]  # (n, 8)
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _drawn(config: MLPConfig, name: str) -> bool:
    """Whether the notebooks draw this array: not batch norm, and a bias only in nets of one hidden layer."""
    return group_of(name) != "norm" and (not name.endswith("bias") or len(config.hidden) == 1)


def draw_parameters(config: MLPConfig, scheme: Initialisation, generator: TorchGenerator) -> Parameters:
    """Starting weights drawn as the notebooks draw them.

    Matrices are drawn as (in, out), in the order of the forward pass. Nets of one hidden layer also draw every bias, even
    one that is then multiplied by 0; the deep nets' biases start at 0 and draw nothing.
    """
    parameters: Parameters = {}
    for name, shape in parameter_shapes(config).items():
        if group_of(name) == "norm":
            parameters[name] = np.full(shape, scheme.norm_start(name), np.float32)
        elif not _drawn(config, name):
            parameters[name] = np.zeros(shape, np.float32)
        else:
            turned = name != "embedding.weight" and len(shape) == 2
            values = generator.normal(shape[::-1]).T if turned else generator.normal(shape)
            parameters[name] = np.ascontiguousarray(values * np.float32(width_of(config, scheme, name, shape)))
    for name, shape in buffer_shapes(config).items():
        parameters[name] = np.full(shape, float(name.endswith("running_var")), np.float32)
    return parameters


class GeneratorBatches:
    """Row numbers of each step's batch, drawn after the weights from the same stream, as the notebooks draw them.

    block: steps drawn at a time.
    """

    def __init__(self, generator: TorchGenerator, examples: int, batch: int, block: int = _BLOCK_STEPS) -> None:
        self._generator, self._examples, self._batch, self._block = generator, examples, batch, block
        self._first, self._drawn = 0, np.empty((0, batch), np.int64)

    def rows(self, start: int, stop: int) -> Indices:
        """Batches of steps from start on: (S, B). Steps are asked for in order; see `training.batches.Rows`."""
        while start >= self._first + len(self._drawn):
            self._first += len(self._drawn)
            self._drawn = self._generator.integers(self._examples, (self._block, self._batch))
        return self._drawn[start - self._first : stop - self._first]
