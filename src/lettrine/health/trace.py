"""What was seen while a network trained: plain arrays, one row for each sampled step.

Two producers fill a `Recorder`: the torch watch, for any nn.Module, and the trainer, for the language model's own engines. All
that follows (checks, report) reads its `Trace` and cannot tell the difference. Missing is NaN, never 0.

Axis letters: K sampled steps, D detailed ones among them, U units, G bins of a histogram.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lettrine.arguments import checked
from lettrine.errors import HealthError, quote
from lettrine.health.evidence import Evidence

Floats = NDArray[np.float64]

BINS: Final = 64  # of every density histogram
ALIKE: Final = "prepared alike"  # of the notes of `Facts`, as the next two
KEPT: Final = "kept"
GOES_ON: Final = "goes on"
RECENT: Final = 1_000  # last steps whose losses are kept one by one

OUTPUT_STATS: Final = ("mean", "std", "rms", "min", "max", "saturated", "dead", "zero", "nonfinite")
"""Of one module's output. saturated: share of values; dead: share of units dead on the whole batch;
zero: share of values exactly 0; nonfinite: share of values NaN or infinite (the other figures leave those out)."""

GRADIENT_STATS: Final = ("mean", "std", "rms", "nonfinite")
"""Of the gradient of the loss with respect to one module's output."""

PARAMETER_STATS: Final = (
    "mean",
    "std",
    "rms",
    "gradient_mean",
    "gradient_std",
    "gradient_norm",
    "gradient_data",
    "update_data",
    "update_rms",
    "duplicate",
    "nonfinite",
    "gradient_nonfinite",
    "learning_rate",
)
"""Of one parameter. gradient_data = std(gradient) / std(data); update_data = std(after - before) / std(before),
from the real step; update_rms is that of after - before; duplicate: share of units (rows) whose incoming
weights equal those of another unit; nonfinite, gradient_nonfinite: share of values. A parameter without a gradient at that step
has NaN gradient figures."""

NORM_STATS: Final = ("mean_gap", "variance_ratio")
"""Of one batch norm: rms over channels of (running mean - batch mean) / sqrt(batch variance), and the
geometric mean over channels of running variance / batch variance."""

STEP_STATS: Final = ("loss", "learning_rate", "gradient_norm", "leftover_gradient", "training", "clipped")
"""Of a whole sampled step. gradient_norm: of all parameters together, unscaled; leftover_gradient: 1 where the backward pass
began with gradients of an earlier optimiser step still in place, 0 where it did not; training: share of modules in
training mode; clipped: 1 where gradients shrank between the backward pass and the step. Gradients are followed from the backward
pass to the step only where histograms are taken too."""


@checked
@dataclass(frozen=True)
class ModuleInfo:
    """A module that was watched.

    name: qualified name, as `named_modules` gives it. A functional activation found between modules is
        named after the module it feeds, such as "fc2.input".
    kind: class name, such as "Linear".
    role: "linear" (anything with a weight matrix or kernel), "activation", "norm", "embedding", "recurrent", "attention",
        "dropout", "output" (the network's last module, whatever else it is: its output is the logits) or "other".
    activation: name in the table of `lettrine.activations`, "" where the table has no entry.
    units: how many units its output has, 0 if unknown. A unit is a channel of a convolution, else the last axis.
    fed_by: name of the module whose output is this module's input, "" if unknown.
    depth: place in the first forward pass, from 0.
    bias: whether it has a bias of its own.
    """

    name: str
    kind: str
    role: str = "other"
    activation: str = ""
    units: int = 0
    fed_by: str = ""
    depth: int = 0
    bias: bool = False

    @property
    def bends(self) -> bool:
        """Whether its output is that of an activation: it is one, or a layer that applies one itself."""
        return self.role == "activation" or (self.role == "linear" and self.activation not in {"", "identity"})


@checked
@dataclass(frozen=True)
class ParameterInfo:
    """A parameter that was watched. optimised: whether some optimiser holds it; None where no optimiser is known."""

    name: str
    module: str
    shape: tuple[int, ...]
    trainable: bool = True
    optimised: bool | None = None


@checked
@dataclass(frozen=True)
class Facts:
    """Facts about the whole run, as far as they were told or seen.

    classes: the number of classes, 0 if unknown. source: "torch" or the engine's name.
    batch_size: 0 if unknown. loss_chain: operations that made the loss, from the loss inwards, as autograd names
        them, such as ("NllLoss", "LogSoftmax", "Addmm"). chance: loss in nats of guessing by the frequencies of the
        classes seen, NaN if unknown. gain: nats by which the answers after warm-up are better than one and the same answer
        to every input, gain_error its standard error; NaN if unknown. optimiser: class name. momentum: of the optimiser,
        NaN if it has none.
    norm_momentum: batch norm's share of the batch in each update of the running statistics, NaN without.
    errors: what went wrong inside the health code itself; never empty silently. notes: more words, such as "reduction"
        ("mean" or "sum": how the loss gathers its batch), "batches" ("one, repeated" if all that were compared are the same)
        "held-out" (ALIKE if the same code made the held-out data and the training data), "momentum" (KEPT if batch norm is
        told the share that it keeps, as in Keras) and "training" (GOES_ON while it is not over).
    result: figures of the whole training once it has ended, losses in nats: "train" and "held_out" of the kept weights, "model"
        of everything together and "simple" of the best simple model on the same held-out data, "error" the standard error of
        "model", "alone" 1 where the simple model is no part of it, "passes" over the training data, "repeated" the share of
        held-out data that was trained on too, "shuffled_pass" the steps of one pass over training data that are shuffled anew
        for each, "best_kept" 1 where the weights of the best held-out loss are those that are kept.
    """

    source: str = ""
    classes: int = 0
    batch_size: int = 0
    loss_chain: tuple[str, ...] = ()
    chance: float = float("nan")
    gain: float = float("nan")
    gain_error: float = float("nan")
    optimiser: str = ""
    momentum: float = float("nan")
    norm_momentum: float = float("nan")
    errors: tuple[str, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)
    result: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class NonFinite:
    """The first value that was not finite.

    phase: "forward", "backward", "loss", "update" or "data". exact: False if steps between the last sampled one and this one were
    not looked at.
    """

    step: int
    where: str
    phase: str
    exact: bool = True


@dataclass(frozen=True)
class Units:
    """Flags of one activation's units over the sampled steps.

    steps: how many sampled steps they were gathered over; rows: on how many examples, all steps together.
    dead (U,): share of those steps in which the unit was dead on the whole batch. saturated (U,): share of values
    saturated, all steps together. last_dead (U,): 1 where dead at the last sampled step; streak (U,): in how many of the
    latest sampled steps without a break. NaN where the activation table has no such zone. Of a very wide layer
    these are units spread evenly over it.
    """

    steps: int
    rows: int
    dead: Floats
    saturated: Floats
    last_dead: Floats
    streak: Floats


@dataclass(frozen=True)
class Histogram:
    """Counts (D, G) over equal bins from low (D,) to high (D,), at the optimiser steps `steps` (D,).

    Only some sampled steps are detailed; values beyond the range are in the outermost bins.
    """

    steps: NDArray[np.int64]
    counts: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class Curve:
    """Loss against optimiser step, of bounded size: each point stands for a run of steps.

    step (N,): first step of the run. mean, high: mean of its finite values (NaN if none) and the highest value in it, infinite if
    one was not finite. peak: step of the highest value. A single spike is in `high` however long the run.
    """

    step: Floats
    mean: Floats
    high: Floats
    peak: Floats


@checked
@dataclass(frozen=True)
class Trace:
    """All that was recorded; the docstring of this file explains the axes.

    step_stats (K,) each; outputs, gradients: by module name, (K, len(…_STATS)); parameter_stats: by parameter
    name; norms: by module name. maps: by activation module, two snapshots "first" and "last" of outputs (examples, units).
    loss: of every step. recent: the same for the last RECENT steps, one point per step. dev: curve of the loss on held-out data.
    evidence: what was seen beside figures, in the order in which it was first seen. ranks: for a training by several processes,
    the trace of each, by rank; the figures of this trace are then those of the whole, or of rank 0. Empty for one process.
    """

    modules: tuple[ModuleInfo, ...]
    parameters: tuple[ParameterInfo, ...]
    facts: Facts
    steps: NDArray[np.int64]
    step_stats: Mapping[str, Floats]
    outputs: Mapping[str, Floats]
    gradients: Mapping[str, Floats]
    parameter_stats: Mapping[str, Floats]
    norms: Mapping[str, Floats]
    output_histograms: Mapping[str, Histogram]
    gradient_histograms: Mapping[str, Histogram]
    units: Mapping[str, Units]
    maps: Mapping[str, Mapping[str, NDArray[np.float16]]]
    loss: Curve
    recent: Curve
    dev: Curve
    first_nonfinite: NonFinite | None = None
    evidence: tuple[Evidence, ...] = ()
    ranks: tuple[Trace, ...] = ()

    @property
    def unfinished(self) -> Trace:
        """The same, noted as that of a training that goes on."""
        return replace(self, facts=replace(self.facts, notes={**self.facts.notes, "training": GOES_ON}))

    @checked
    def seen(self, kind: str) -> tuple[Evidence, ...]:
        """All evidence of one kind."""
        return tuple(each for each in self.evidence if each.kind == kind)

    @checked
    def output(self, name: str, stat: str) -> Floats:
        """One figure of a module's output over the sampled steps, (K,)."""
        return _figure(self.outputs, OUTPUT_STATS, name, stat)

    @checked
    def gradient(self, name: str, stat: str) -> Floats:
        """One figure of the gradient of a module's output, (K,)."""
        return _figure(self.gradients, GRADIENT_STATS, name, stat)

    @checked
    def parameter(self, name: str, stat: str) -> Floats:
        """One figure of a parameter, (K,)."""
        return _figure(self.parameter_stats, PARAMETER_STATS, name, stat)

    @checked
    def norm(self, name: str, stat: str) -> Floats:
        """One figure of a batch norm, (K,)."""
        return _figure(self.norms, NORM_STATS, name, stat)


def _figure(recorded: Mapping[str, Floats], stats: tuple[str, ...], name: str, stat: str) -> Floats:
    try:
        return recorded[name][:, stats.index(stat)]
    except (KeyError, TypeError, ValueError):
        known = ", ".join(list(recorded)[:20]) or "nothing, for none was recorded"
        raise HealthError(
            f"trace got {quote(name)} and {quote(stat)}; expected a name among {known}, and a figure among {', '.join(stats)}"
        ) from None
