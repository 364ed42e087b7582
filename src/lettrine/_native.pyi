"""
The compiled half of lettrine.engine.native and lettrine.health.measure; call those.
"""

from collections.abc import Sequence
from typing import Any

import numpy
import numpy.typing


def train(shape: tuple[int, int, int, list[int], int, float, float], values: list[numpy.typing.NDArray[Any] | None], running: list[numpy.typing.NDArray[Any] | None], firsts: list[numpy.typing.NDArray[Any] | None], seconds: list[numpy.typing.NDArray[Any] | None], decays: list[float], penalties: list[float], optimiser: tuple[bool, float, float, float, float, int], contexts: numpy.typing.NDArray[numpy.int32], targets: numpy.typing.NDArray[numpy.int32], indices: numpy.typing.NDArray[numpy.int64], learning_rates: numpy.typing.NDArray[numpy.float64], threads: int = 1, isa: str = '') -> numpy.typing.NDArray[numpy.float64]:
    """Take steps in place and return their losses."""

def evaluate(shape: tuple[int, int, int, list[int], int, float, float], values: list[numpy.typing.NDArray[Any] | None], running: list[numpy.typing.NDArray[Any] | None], contexts: numpy.typing.NDArray[numpy.int32], targets: numpy.typing.NDArray[numpy.int32] | None, threads: int = 1, isa: str = '') -> numpy.typing.NDArray[Any]:
    """
    Losses (N,) of examples in eval mode, or, without targets, logits (N, V).
    """

def sample(shape: tuple[int, int, int, list[int], int, float, float], values: list[numpy.typing.NDArray[Any] | None], running: list[numpy.typing.NDArray[Any] | None], contexts: numpy.typing.NDArray[numpy.int32], uniforms: numpy.typing.NDArray[numpy.float64], temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0, isa: str = '') -> numpy.typing.NDArray[numpy.int32]:
    """Draw words (N, L) from starting contexts."""

def within(integers: numpy.typing.NDArray[Any], limit: int) -> bool:
    """Whether every integer is at least 0 and less than the limit."""

def moments(arrays: Sequence[numpy.typing.NDArray[Any]]) -> numpy.typing.NDArray[numpy.float64]:
    """Figures (n, 8) of each array; see lettrine.health.measure."""

def moments_of_difference(after: Sequence[numpy.typing.NDArray[Any]], before: Sequence[numpy.typing.NDArray[Any]]) -> numpy.typing.NDArray[numpy.float64]:
    """The same of each after - before."""

def zone_counts(arrays: Sequence[numpy.typing.NDArray[Any]], zones: Sequence[tuple[float, float, bool]]) -> list[numpy.typing.NDArray[numpy.int64]]:
    """By column of each (R, U) array, how many values lie in its zone."""

def histogram(arrays: Sequence[numpy.typing.NDArray[Any]], lows: Sequence[float], highs: Sequence[float], bins: int) -> numpy.typing.NDArray[numpy.int64]:
    """Counts (n, bins) over equal bins from low to high."""

def moments_at(addresses: numpy.typing.NDArray[numpy.int64], sizes: numpy.typing.NDArray[numpy.int64], out: numpy.typing.NDArray[numpy.float64], minus: numpy.typing.NDArray[numpy.int64] | None = None, copies: numpy.typing.NDArray[numpy.int64] | None = None) -> None:
    """
    Figures (n, 8) of float32 values at addresses, or of their differences from others; copies of the first are kept; see lettrine.health.live.
    """

def zone_counts_at(addresses: numpy.typing.NDArray[numpy.int64], rows: numpy.typing.NDArray[numpy.int64], units: numpy.typing.NDArray[numpy.int64], zones: Sequence[tuple[float, float, bool]], out: numpy.typing.NDArray[numpy.int64]) -> None:
    """
    By column of each float32 (R, U) array at an address, how many values lie in its zone.
    """

def histogram_at(addresses: numpy.typing.NDArray[numpy.int64], sizes: numpy.typing.NDArray[numpy.int64], lows: Sequence[float], highs: Sequence[float], bins: int) -> numpy.typing.NDArray[numpy.int64]:
    """
    Counts (n, bins) of float32 values at addresses over equal bins from low to high.
    """

def isa() -> str:
    """
    The instruction set in use: the best one there is, or the one LETTRINE_ISA names.
    """

def available_isas() -> list[str]:
    """
    The instruction sets this build holds and this processor has, best first.
    """

def multiply_adds(rounds: int, isa: str = '') -> float:
    """
    Run a loop of nothing but float32 multiply-adds on one core; returns how many operations that was.
    """
