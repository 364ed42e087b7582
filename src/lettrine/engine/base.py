"""What an engine is: the arithmetic of training, and nothing else.

An engine draws no random numbers and knows no schedule. It is told which examples form each batch, and the learning rate of each
step. So two engines with the same arrays do the same work, and can be compared number by number. `reference` is the definition;
`native` is its fast twin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lettrine.arguments import checked
from lettrine.errors import ConfigError, EngineError
from lettrine.model.config import MLPConfig
from lettrine.model.counts import Counts
from lettrine.model.kinds import Kinds
from lettrine.model.parameters import GROUPS, Array, Parameters, group_of, parameter_shapes

Integers: TypeAlias = NDArray[np.integer[Any]]  # of characters: one of SYMBOLS
Indices: TypeAlias = NDArray[np.int64]
Doubles: TypeAlias = NDArray[np.float64]

SYMBOLS: Final = (np.uint8, np.uint16, np.int32)
OPTIMISERS: Final = ("sgd", "adamw")
WEIGHT_DECAYS: Final = {"sgd": 0.0, "adamw": 0.01}  # torch's defaults


@checked
@dataclass(frozen=True)
class Optimiser:
    """How gradients become steps. The learning rate is not here: it is given for each step.

    kind: "sgd", or "adamw" (Loshchilov & Hutter 2019), both exactly as in torch.optim.
    momentum: of SGD: v = momentum * v + g, p -= lr * v.
    beta1, beta2, eps: of AdamW.
    weight_decay: on matrices only, never on biases or batch norm. SGD adds weight_decay * p to the
        gradient, AdamW shrinks p by lr * weight_decay. None takes that of WEIGHT_DECAYS for the kind.
    l2: coefficient of a penalty l2[group] * sum(p**2) on the loss, by parameter group (GROUPS);
        its gradient 2 * l2 * p is added before the optimiser sees it. Reported losses exclude it.
    """

    kind: str = "adamw"
    momentum: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float | None = None
    l2: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in OPTIMISERS:
            raise ConfigError(f"optimizer got {self.kind!r}; expected one of {', '.join(OPTIMISERS)}")
        for name in ("momentum", "beta1", "beta2"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ConfigError(f"{name} got {getattr(self, name)}; expected at least 0 and less than 1")
        if not self.eps > 0.0:
            raise ConfigError(f"eps got {self.eps}; expected more than 0")
        if not 0.0 <= self.decay < float("inf"):
            raise ConfigError(f"weight decay got {self.weight_decay}; expected 0 or more")
        for group, coefficient in self.l2.items():
            if group not in GROUPS:
                raise ConfigError(f"l2 got the group {group!r}; expected one of {', '.join(GROUPS)}")
            if not 0.0 <= coefficient < float("inf"):
                raise ConfigError(f"l2 of {group} got {coefficient}; expected 0 or more")

    @property
    def decay(self) -> float:
        """The weight decay of matrices."""
        return WEIGHT_DECAYS[self.kind] if self.weight_decay is None else self.weight_decay

    def decay_of(self, name: str) -> float:
        """Weight decay of one parameter."""
        return self.decay if group_of(name) not in ("norm", "bias") else 0.0

    def l2_of(self, name: str) -> float:
        """L2 coefficient of one parameter."""
        return self.l2.get(group_of(name), 0.0)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass
class TrainState:
    """Everything that a step changes. Engines write these arrays in place.

    parameters: trained arrays and running statistics, see `lettrine.model.parameters`.
    moments: the optimiser's memory: "momentum.NAME" for SGD with momentum; "exp_avg.NAME" and
        "exp_avg_sq.NAME" for AdamW; same shapes as the parameters. It is the same for every engine, so a run can begin on one
        engine and go on with another.
    step: optimiser steps taken so far, which AdamW's bias correction needs.
    """

    parameters: Parameters
    moments: Parameters
    step: int = 0

    @classmethod
    def fresh(cls, config: MLPConfig, parameters: Parameters, optimiser: Optimiser) -> TrainState:
        """The given parameters (kept, not copied), and moments of zeros."""
        kinds = moment_kinds(optimiser)
        moments = {f"{kind}.{name}": np.zeros_like(parameters[name]) for kind in kinds for name in parameter_shapes(config)}
        return cls(parameters, moments)


def moment_kinds(optimiser: Optimiser) -> tuple[str, ...]:
    """The arrays that the optimiser keeps for each parameter."""
    if optimiser.kind == "adamw":
        return ("exp_avg", "exp_avg_sq")
    return ("momentum",) if optimiser.momentum else ()


def check_moments(config: MLPConfig, optimiser: Optimiser, parameters: Mapping[str, Array], moments: Mapping[str, Array]) -> None:
    """Raise EngineError unless the optimiser's memory has an array of the same shape and type for each parameter.

    Engines write these arrays in place, so they must also be contiguous and writeable.
    """
    dtype = parameters["embedding.weight"].dtype
    for kind in moment_kinds(optimiser):
        for name, shape in parameter_shapes(config).items():
            moment = moments.get(f"{kind}.{name}")
            if moment is None:
                raise EngineError(f"the optimiser's memory lacks {kind}.{name}; make it with TrainState.fresh")
            if moment.shape != shape or moment.dtype != dtype:
                raise EngineError(f"{kind}.{name} is {moment.dtype} of shape {moment.shape}; expected {dtype} {shape}")
            if not moment.flags.c_contiguous or not moment.flags.writeable:
                raise EngineError(f"{kind}.{name} is not a contiguous, writeable array; pass a copy")


class Drawer(Protocol):
    """Draws words from a model that was prepared once; see `Engine.drawer`."""

    def __call__(self, contexts: Integers, uniforms: Doubles) -> Integers:
        """Characters from each starting context (N, T) until the end-of-word token or the L-th: (N, L), 0 after the end.

        uniforms (N, L) in [0, 1) are the random numbers: character = first index at which the cumulated probability, in
        vocabulary order, exceeds the uniform.
        """
        ...


class Evaluator(Protocol):
    """Computes logits and losses of a network in eval mode: an engine, or several networks and counts together.

    Every method raises EngineError for arrays of the wrong shape or type or an index out of range.
    """

    @property
    def name(self) -> str:
        """Its name for `--engine`."""
        ...

    def logits(self, config: MLPConfig, parameters: Mapping[str, Array], contexts: Integers) -> Array:
        """Logits (N, V) in eval mode: batch norm uses the running statistics."""
        ...

    def negative_log_likelihood(
        self, config: MLPConfig, parameters: Mapping[str, Array], contexts: Integers, targets: Integers, *, threads: int = 1
    ) -> Doubles:
        """Loss of each example (N,), in nats, in eval mode, in memory that does not grow with N beyond the result."""
        ...


class Engine(Evaluator, Protocol):
    """The arithmetic of one network. Engines hold no state between calls.

    The precision is that of the parameters: float32 or float64, all alike.
    Every method raises EngineError for arrays of the wrong shape or type or an index out of range,
    before anything is touched.
    """

    def drawer(
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
        """A drawer of words, to be used many times, from networks of one shape together with counts.

        The logits are the sum of weights[0] times the mean of the networks' logits, weights[1] times the logarithm of the counts'
        probabilities, and the terms of the kinds of characters.
        temperature divides them (0 takes the likeliest character). top_k > 0 keeps the k likeliest. top_p < 1 keeps the smallest
        set of likeliest characters whose probability reaches p. The cuts are applied in this order, then renormalised.
        Words depend neither on `threads` nor on earlier draws. The arrays must not change while it is in use.
        """
        ...

    def count_probabilities(self, counts: Counts, contexts: Integers, targets: Integers | None = None) -> Doubles:
        """Probabilities of counted words after each context (N, T): (N, V), or, with targets (N,), of those only, (N,)."""
        ...

    def train(
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
        """Take S steps in place and return the loss of each batch before its step, (S,), in nats.

        contexts (N, T) and targets (N,) are the examples; indices (S, B) picks each step's batch; learning_rates (S,).
        Batch norm uses the batch's statistics and updates the running ones. seed: of the dropout masks, which are a function of
        it and of the step (`lettrine.engine.dropout`).
        Stops early after a step whose loss is not finite, without applying it: the returned array is then
        shorter than S and its last entry is that loss.
        """
        ...


def check_examples(config: MLPConfig, contexts: Integers, targets: Integers | None = None) -> None:
    """Raise EngineError unless contexts are (N, T), targets (N,), of a type in SYMBOLS, with characters of the vocabulary."""
    if contexts.ndim != 2 or contexts.shape[1] != config.context:
        raise EngineError(f"contexts have shape {contexts.shape}; expected (N, {config.context})")
    if targets is not None and targets.shape != (len(contexts),):
        raise EngineError(f"targets have shape {targets.shape}; expected ({len(contexts)},), one for each context")
    for what, values in (("contexts", contexts), ("targets", targets)):
        if values is None:
            continue
        if values.dtype not in SYMBOLS:
            raise EngineError(f"{what} are {values.dtype}; expected int32, uint16 or uint8")
        if values.size and not 0 <= int(values.min()) <= int(values.max()) < config.vocabulary_size:
            raise EngineError(
                f"{what} hold characters {values.min()} to {values.max()}; expected 0 to {config.vocabulary_size - 1}"
            )


def check_batches(indices: Indices, learning_rates: Doubles, examples: int) -> None:
    """Raise EngineError unless indices (S, B) int64 point at examples and learning_rates (S,) float64 are finite, 0 or more."""
    if indices.ndim != 2 or indices.dtype != np.int64 or indices.shape[1] < 1:
        raise EngineError(f"indices are {indices.dtype} of shape {indices.shape}; expected int64 (S, B) with B at least 1")
    if learning_rates.shape != (len(indices),) or learning_rates.dtype != np.float64:
        raise EngineError(
            f"learning rates are {learning_rates.dtype} of shape {learning_rates.shape}; expected float64 ({len(indices)},)"
        )
    if not np.all(np.isfinite(learning_rates) & (learning_rates >= 0.0)):
        raise EngineError("learning rates hold values that are negative or not finite; expected 0 or more")
    if indices.size and not 0 <= int(indices.min()) <= int(indices.max()) < examples:
        raise EngineError(f"indices run from {indices.min()} to {indices.max()}; expected 0 to {examples - 1}")
