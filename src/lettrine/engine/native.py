"""The compiled engine: the reference's arithmetic at the speed of the processor.

This file checks its arguments and passes plain arrays to `lettrine._native`, which does not check shapes again.
`lettrine.engine.reference` defines what is computed.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lettrine import _native
from lettrine.engine.base import (
    SYMBOLS,
    Doubles,
    Drawer,
    Indices,
    Integers,
    Optimiser,
    TrainState,
    check_batches,
    check_examples,
    check_moments,
    moment_kinds,
)
from lettrine.errors import EngineError
from lettrine.model.config import MLPConfig
from lettrine.model.counts import Counts
from lettrine.model.kinds import Kinds
from lettrine.model.parameters import Array, check_parameters, parameter_shapes

_Shape: TypeAlias = tuple[int, int, int, list[int], str, float, float]
_Counted: TypeAlias = tuple[int, Indices, Indices, Indices, NDArray[np.int32], Doubles, Doubles]


class NativeEngine:
    """The compiled engine; see `lettrine.engine.base.Engine` for what each method promises.

    isa: the instruction set, one of `lettrine._native.available_isas()`; "" takes that of the environment variable LETTRINE_ISA,
    else the best of this processor. All sets give the same numbers, except for rounding.
    Results do not depend on `threads`: no sum is split between them.

    Raises EngineError for an instruction set this processor does not have.
    """

    name: Final = "native"

    def __init__(self, isa: str = "") -> None:
        self.isa = isa or _default_isa()
        if self.isa not in _native.available_isas():
            raise EngineError(f"instruction set got {isa!r}; expected one of {', '.join(_native.available_isas())}")

    def train(  # noqa: D102 - documented by the protocol
        self,
        config: MLPConfig,
        optimiser: Optimiser,
        state: TrainState,
        contexts: Integers,
        targets: Integers,
        indices: Indices,
        learning_rates: Doubles,
        *,
        threads: int = 1,
        seed: int = 0,
    ) -> Doubles:
        check_parameters(config, state.parameters)
        check_moments(config, optimiser, state.parameters, state.moments)
        contexts, targets = _examples(config, contexts, targets)
        indices = _batches(indices, learning_rates, len(targets))
        names = _names(config)
        o = optimiser
        moments = [_arrays(state.moments, f"{kind}.", names) for kind in moment_kinds(o)]
        firsts, seconds = [*moments, [], []][:2]
        losses = _native.train(
            _shape(config),
            _arrays(state.parameters, "", names),
            _running(config, state.parameters),
            firsts,
            seconds,
            [0.0 if name is None else o.decay_of(name) for name in names],
            [0.0 if name is None else o.l2_of(name) for name in names],
            (o.kind == "adamw", o.momentum, o.beta1, o.beta2, o.eps, state.step),
            contexts,
            targets,
            indices,
            np.ascontiguousarray(learning_rates),
            (config.dropout, seed),
            threads,
            self.isa,
        )
        finite = len(losses) == 0 or bool(np.isfinite(losses[-1]))
        state.step += len(losses) if finite else len(losses) - 1
        return losses

    def drawer(  # noqa: D102
        self,
        config: MLPConfig,
        networks: Sequence[Mapping[str, Array]],
        counts: Counts | None = None,
        weights: tuple[float, float] = (1.0, 0.0),
        kinds: Kinds | None = None,
        *,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        threads: int = 1,
    ) -> Drawer:
        for parameters in networks:
            check_parameters(config, parameters)
        names = _names(config)
        draw = _native.drawer(
            _shape(config),
            [(_arrays(parameters, "", names), _running(config, parameters)) for parameters in networks],
            None if counts is None else _counts(counts),
            (weights[0] / max(len(networks), 1), weights[1]),
            None if kinds is None else (kinds.kinds, kinds.weight * kinds.logs),
            temperature,
            top_k,
            top_p,
            threads,
            self.isa,
        )

        def drawer(contexts: Integers, uniforms: Doubles) -> Integers:
            contexts, _ = _examples(config, contexts)
            if uniforms.ndim != 2 or len(uniforms) != len(contexts) or uniforms.dtype != np.float64:
                raise EngineError(
                    f"uniforms are {uniforms.dtype} of shape {uniforms.shape}; expected float64 ({len(contexts)}, L)"
                )
            return draw(contexts.astype(np.int32, copy=False), np.ascontiguousarray(uniforms))

        return drawer

    def count_probabilities(self, counts: Counts, contexts: Integers, targets: Integers | None = None) -> Doubles:  # noqa: D102
        chosen = None if targets is None else np.ascontiguousarray(targets, np.int32)
        return _native.count_probabilities(_counts(counts), np.ascontiguousarray(contexts, np.int32), chosen)

    def logits(self, config: MLPConfig, parameters: Mapping[str, Array], contexts: Integers) -> Array:  # noqa: D102
        check_parameters(config, parameters)
        contexts, _ = _examples(config, contexts)
        result: Array = self._evaluate(config, parameters, contexts, None, 1)
        return result

    def negative_log_likelihood(  # noqa: D102
        self, config: MLPConfig, parameters: Mapping[str, Array], contexts: Integers, targets: Integers, *, threads: int = 1
    ) -> Doubles:
        check_parameters(config, parameters)
        contexts, targets = _examples(config, contexts, targets)
        result: Doubles = self._evaluate(config, parameters, contexts, targets, threads)
        return result

    def _evaluate(
        self, config: MLPConfig, parameters: Mapping[str, Array], contexts: Integers, targets: Integers | None, threads: int
    ) -> Any:
        values, running = _arrays(parameters, "", _names(config)), _running(config, parameters)
        return _native.evaluate(_shape(config), values, running, contexts, targets, threads, self.isa)


def describe() -> dict[str, str]:
    """The instruction sets of this machine, and the one in use, for `lettrine info --engine`."""
    return {
        "native": _default_isa(),
        "instruction sets": f"{', '.join(_native.available_isas())} (the environment variable LETTRINE_ISA chooses)",
    }


def _default_isa() -> str:
    try:
        return _native.isa()
    except ValueError as error:  # LETTRINE_ISA names one that this machine does not have
        raise EngineError(str(error)) from None


def _shape(config: MLPConfig) -> _Shape:
    sizes = (config.vocabulary_size, config.context, config.embedding, list(config.hidden))
    return (*sizes, config.activation, config.norm_momentum, config.norm_eps)


def _counts(counts: Counts) -> _Counted:
    """The arrays in the order of the compiled side."""
    smoothed = (counts.followers, counts.shares, counts.passed_on)
    return (counts.vocabulary_size, counts.levels, counts.children, counts.begin, *smoothed)


def _names(config: MLPConfig) -> list[str | None]:
    """Parameters in the order of the compiled side: embedding, direct, and four for each layer; None for absent ones."""
    layers = [(f"layers.{layer}", f"norms.{layer}") for layer in range(len(config.hidden))]
    wanted = ["embedding.weight", "direct.weight"]
    for linear, norm in [*layers, ("output", "output_norm")]:
        wanted += [f"{linear}.weight", f"{linear}.bias", f"{norm}.weight", f"{norm}.bias"]
    present = parameter_shapes(config)
    return [name if name in present else None for name in wanted]


def _arrays(arrays: Mapping[str, Array], prefix: str, names: list[str | None]) -> list[Array | None]:
    return [None if name is None else arrays[prefix + name] for name in names]


def _running(config: MLPConfig, parameters: Mapping[str, Array]) -> list[Array | None]:
    norms = [f"norms.{layer}" for layer in range(len(config.hidden))]
    return [parameters.get(f"{norm}.{part}") for norm in [*norms, "output_norm"] for part in ("running_mean", "running_var")]


_checked: dict[int, tuple[weakref.ref[Integers], int]] = {}  # read-only arrays by identity, with the limit that was checked


def _within(integers: Integers, limit: int) -> bool:
    """Whether every integer is at least 0 and less than the limit. A read-only array is checked only once."""
    if integers.flags.writeable:
        return _native.within(integers, limit)
    array, below = _checked.get(id(integers), (None, 0))
    if array is not None and array() is integers and below <= limit:
        return True
    if not _native.within(integers, limit):
        return False
    key = id(integers)
    _checked[key] = (weakref.ref(integers, lambda _: _checked.pop(key, None)), limit)
    return True


def _examples(config: MLPConfig, contexts: Integers, targets: Integers | None = None) -> tuple[Integers, Integers]:
    """The same arrays, contiguous, after a check that every character is in the vocabulary."""
    contexts = np.ascontiguousarray(contexts)
    found = np.zeros(0, contexts.dtype) if targets is None else np.ascontiguousarray(targets)
    alike = contexts.dtype in SYMBOLS and contexts.dtype == found.dtype
    plain = alike and contexts.ndim == 2 and contexts.shape[1] == config.context
    fitting = plain and (targets is None or found.shape == (len(contexts),))
    if not (fitting and _within(contexts, config.vocabulary_size) and _within(found, config.vocabulary_size)):
        check_examples(config, contexts, targets)  # raises, and says what is wrong
        contexts, found = contexts.astype(np.int32), found.astype(np.int32)  # raises only for their types
    return contexts, found


def _batches(indices: Indices, learning_rates: Doubles, examples: int) -> Indices:
    check_batches(indices, learning_rates, examples)
    return np.ascontiguousarray(indices)
