"""
The compiled half of lettrine.engine.native, lettrine.health and lettrine.torch; call those.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy
import numpy.typing


def train(shape: tuple[int, int, int, list[int], str, float, float], values: list[numpy.typing.NDArray[Any] | None], running: list[numpy.typing.NDArray[Any] | None], firsts: list[numpy.typing.NDArray[Any] | None], seconds: list[numpy.typing.NDArray[Any] | None], decays: list[float], penalties: list[float], optimiser: tuple[bool, float, float, float, float, int], contexts: numpy.typing.NDArray[Any], targets: numpy.typing.NDArray[Any], indices: numpy.typing.NDArray[numpy.int64], learning_rates: numpy.typing.NDArray[numpy.float64], dropout: tuple[float, int] = (0.0, 0), threads: int = 1, isa: str = '') -> numpy.typing.NDArray[numpy.float64]:
    """Take steps in place and return their losses."""

def evaluate(shape: tuple[int, int, int, list[int], str, float, float], values: list[numpy.typing.NDArray[Any] | None], running: list[numpy.typing.NDArray[Any] | None], contexts: numpy.typing.NDArray[Any], targets: numpy.typing.NDArray[Any] | None, threads: int = 1, isa: str = '') -> numpy.typing.NDArray[Any]:
    """
    Losses (N,) of examples in eval mode, or, without targets, logits (N, V).
    """

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

class Tensors:
    """
    Reads tensors of one type where they lie, by the functions it offers by DLPack (`__dlpack_c_exchange_api__`).
    """

    def __init__(self, kind: type) -> None: ...

    def number(self, tensor: object) -> float | None:
        """
        The number it is or holds; None if it is neither a float nor a tensor of float32 or float64 in this memory.
        """

class Live:
    """
    Tensors of another library that are measured where they lie; see lettrine.health.live.
    """

    def __init__(self, tensors: Tensors, parameters: Sequence[tuple[int, int, int, int, int, int]], outputs: Sequence[tuple[int, int, int, int, int, int]], zones: Sequence[tuple[int, float, float, bool, bool]], moments: numpy.typing.NDArray[numpy.float64], moved: numpy.typing.NDArray[numpy.float64], earlier: numpy.typing.NDArray[numpy.float32], totals: numpy.typing.NDArray[numpy.float64], range: Callable[[float, float, float, float], tuple[float, float] | None], look: Callable[[int, Any], None]) -> None: ...

    @property
    def expected(self) -> bool: ...

    @expected.setter
    def expected(self, arg: bool, /) -> None: ...

    @property
    def heard(self) -> int: ...

    def listen(self, slot: int, bins: int, looked: Sequence[int]) -> None: ...

    def restart(self) -> None: ...

    def again(self, places: Sequence[int]) -> bool: ...

    def unanswered(self) -> list[int]: ...

    def before(self, parameters: list[Any]) -> bool: ...

    def after(self, parameters: list[Any]) -> None: ...

    def keep(self) -> None: ...

    def units(self) -> tuple[numpy.typing.NDArray[numpy.int64], numpy.typing.NDArray[numpy.int64]]: ...

    def details(self) -> tuple[list[tuple[int, float, float]], numpy.typing.NDArray[numpy.int64]]: ...

class OutputHook:
    """The forward hook of a module whose output is measured when it is made."""

    def __call__(self, /, *args, **kwargs):
        """Call self as a function."""

    def __init__(self, live: Live, place: int, otherwise: Callable[..., None], grad_enabled: Callable[[], bool], graph_task: Callable[[], int], level: Callable[[], object]) -> None: ...

    def __reduce__(self) -> tuple[Any, ...]: ...

    __torch_unserializable__: Final[bool] = ...
    """(arg: object, /) -> bool"""

class StepCounter:
    """
    A watch at the steps that are not sampled; see lettrine.torch.fast.counting.
    """

    def __init__(self, tensors: Tensors, stepped: Callable[[Any, Any, Any], None], lost: Callable[[Any], None], room: int) -> None: ...

    @property
    def counting(self) -> bool: ...

    @counting.setter
    def counting(self, arg: bool, /) -> None: ...

    @property
    def noting(self) -> bool: ...

    @noting.setter
    def noting(self, arg: bool, /) -> None: ...

    @property
    def step(self) -> int: ...

    @step.setter
    def step(self, arg: int, /) -> None: ...

    @property
    def next(self) -> int: ...

    @next.setter
    def next(self, arg: int, /) -> None: ...

    @property
    def late(self) -> int: ...

    @late.setter
    def late(self, arg: int, /) -> None: ...

    def stepped(self, optimiser: object | None, args: object | None, kwargs: object | None) -> None: ...

    def loss(self, loss: object | None) -> None: ...

    def losses(self) -> list[tuple[int, float]]: ...

class Run:
    """Sampled steps one after another; see lettrine.torch.fast.in_place."""

    def __init__(self, counter: StepCounter, before: object, paused: object, grad_enabled: object, graph_task: object, level: object) -> None: ...

    @property
    def running(self) -> bool: ...

    @running.setter
    def running(self, arg: bool, /) -> None: ...

    def begin(self, live: Live, parameters: list[Any], groups: list[Any], modules: list[Any], until: int, room: int, most: int) -> None: ...

    def ran(self) -> tuple[int, list[float]]: ...

    def before(self, optimiser: object | None, args: object | None, kwargs: object | None) -> None: ...

    def stepped(self, optimiser: object | None, args: object | None, kwargs: object | None) -> None: ...

class CallHook:
    """The hook of a module the user calls, before it runs."""

    def __init__(self, run: Run, places: Sequence[int], otherwise: object) -> None: ...

    def __reduce__(self) -> tuple[Any, ...]: ...

    def __call__(self, module: object, args: object, kwargs: object) -> None: ...

def count_probabilities(counts: tuple[int, numpy.typing.NDArray[numpy.int64], numpy.typing.NDArray[numpy.int64], numpy.typing.NDArray[numpy.int64], numpy.typing.NDArray[numpy.int32], numpy.typing.NDArray[numpy.float64], numpy.typing.NDArray[numpy.float64]], contexts: numpy.typing.NDArray[numpy.int32], targets: numpy.typing.NDArray[numpy.int32] | None) -> numpy.typing.NDArray[numpy.float64]:
    """
    Probabilities of counted words (N, V), or, with targets, of those (N,).
    """

class Drawer:
    """Networks and counts made ready to draw from."""

    def __call__(self, contexts: numpy.typing.NDArray[numpy.int32], uniforms: numpy.typing.NDArray[numpy.float64]) -> numpy.typing.NDArray[numpy.int32]:
        """Words (N, L) from starting contexts."""

def drawer(shape: tuple[int, int, int, list[int], str, float, float], networks: list[tuple[list[numpy.typing.NDArray[Any] | None], list[numpy.typing.NDArray[Any] | None]]], counts: tuple[int, numpy.typing.NDArray[numpy.int64], numpy.typing.NDArray[numpy.int64], numpy.typing.NDArray[numpy.int64], numpy.typing.NDArray[numpy.int32], numpy.typing.NDArray[numpy.float64], numpy.typing.NDArray[numpy.float64]] | None, weights: tuple[float, float], kinds: tuple[numpy.typing.NDArray[numpy.int64], numpy.typing.NDArray[numpy.float64]] | None, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0, threads: int = 1, isa: str = '') -> Drawer:
    """
    Networks, each by `weights[0]`, and counts, by `weights[1]`, made ready to draw from.
    """

def activations() -> list[str]:
    """The activations that have a kernel."""

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
