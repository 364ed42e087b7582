"""Checks of how the network is built and called."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, exp, inf, isfinite, log, nan, sqrt

import numpy as np

from lettrine.health import limits, limits_wiring
from lettrine.health.checks.consequence import consequence
from lettrine.health.checks.held_out.answers import rescaled
from lettrine.health.checks.reading import (
    Mask,
    late,
    listed,
    median,
    number,
    plural,
    rounded,
    share,
    span,
    usable,
)
from lettrine.health.checks.reference import guess_of
from lettrine.health.checks.registry import Skip, check
from lettrine.health.checks.wiring.freezing import never_told_to_train
from lettrine.health.checks.wiring.modes import frozen_apart, held_out_beside, modes_in_part
from lettrine.health.checks.wiring.moved import moved_statistics
from lettrine.health.checks.wiring.precision import left_in_float32
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.trace import GOES_ON, KEPT, Floats, Trace


@check("wrong-mode")
def wrong_mode(trace: Trace) -> Iterator[Finding]:
    """Dropout or batch norm in eval mode during training, or in training mode during evaluation.

    Measured: The mode (train or eval) of the model and of its parts, in training and in evaluation; what a train() that the model
        defines itself freezes. As a remark, the type that layers compute in under torch.autocast.
    Formula: share = (late sampled steps in eval mode) / (late sampled steps). Or: values stopped being finite while batch norms
        were in eval mode, after the network had been in training mode.
    """
    yield from (told := [*never_told_to_train(trace), *left_in_float32(trace)])
    concerned = [info.name for info in trace.modules if info.role == "dropout" or _batch_norm(info.kind)]
    if not concerned and told:
        return
    if not concerned:
        raise Skip("not applicable", "no module behaves differently in eval mode")
    modes = next(iter(trace.seen("evaluation")), None)
    if modes is not None and modes.figure("differs") and modes.figure("trained") == modes.figure("evaluations") > 1:
        yield _evaluated_in_training(modes, concerned)
    mask = late(trace)
    training = trace.step_stats["training"]
    known = mask & np.isfinite(training)
    if not known.any():
        raise Skip("not run", "train or eval mode was not recorded")
    value = float(np.mean(training[known] == 0))
    steps, first = trace.steps[training == 0], trace.first_nonfinite
    norms = any(_batch_norm(info.kind) for info in trace.modules)
    broke = first is not None and norms and training[usable(trace)][-1:] == [0]
    if value < limits.EVAL_SHARE and not broke:
        yield from modes_in_part(trace)
        return
    yield Finding(
        id="wrong-mode",
        severity="critical" if broke else "warning",
        where=tuple(concerned),
        steps=(int(steps[0]), int(steps[-1])),
        value=value,
        limit=limits.EVAL_SHARE,
        message=f"The network is in eval mode while it trains, first seen at step {int(steps[0])}: {listed(concerned)} "
        f"{plural(concerned, 'does', 'do')} not do {plural(concerned, 'its', 'their')} work"
        + (f", and values stopped being finite at step {first.step:,}." if broke and first is not None else "."),
        why="Dropout drops nothing, and batch norm uses running statistics that no longer follow the data.",
        remedy="Call model.train() before training and again after each evaluation (model.eval()).",
        reference="torch.nn.Module.train",
    )


def _evaluated_in_training(modes: Evidence, concerned: list[str]) -> Finding:
    return Finding(
        id="wrong-mode",
        severity="warning",
        where=tuple(concerned),
        steps=modes.steps,
        value=modes.figure("trained"),
        limit=0.0,
        message=f"The loss on held-out data is taken with the network in training mode, at each of the "
        f"{int(modes.figure('evaluations'))} evaluations seen: {listed(concerned)} {plural(concerned, 'acts', 'act')} as in "
        "training.",
        why="Dropout drops values, and batch norm takes the statistics of the held-out batch and learns from it: the loss is "
        "not that of the network as it will be used.",
        remedy="Call model.eval() before the held-out data and model.train() after them; see that no train() stands between.",
        reference="torch.nn.Module.train",
    )


def _batch_norm(kind: str) -> bool:
    return "BatchNorm" in kind


@check("bias-before-norm")
def bias_before_norm(trace: Trace) -> Iterator[Finding]:
    """A bias that batch norm removes again.

    Measured: Whether a linear layer or convolution that feeds a batch norm has a bias.
    Formula: none: norm(x + b) = norm(x).
    """
    known = {info.name: info for info in trace.modules}
    norms = [
        info for info in trace.modules if _batch_norm(info.kind) or info.kind.startswith(("InstanceNorm", "LazyInstanceNorm"))
    ]
    if not norms:
        raise Skip("not applicable", "no batch norm")
    names = [
        info.fed_by for info in norms if info.fed_by in known and known[info.fed_by].bias and known[info.fed_by].role == "linear"
    ]
    if not names:
        return
    count = sum(known[name].units for name in names)
    yield Finding(
        id="bias-before-norm",
        severity="info",
        where=tuple(names),
        steps=span(trace, usable(trace)),
        value=float(len(names)),
        limit=0.0,
        message=f"The bias of {listed(names)} does nothing: the batch norm after {plural(names, 'it', 'them')} removes it again.",
        why="Its gradient is 0 up to rounding; it costs memory and time, and nothing else.",
        remedy=f"Pass bias=False to {listed(names)}"
        + (f", {count} parameters fewer" if count else "")
        + "; the shift of the batch norm takes its place.",
        reference=f"{limits.STUDY}; Ioffe & Szegedy 2015, Batch normalization, section 3.2",
    )


@check("norm-statistics")
def norm_statistics(trace: Trace) -> Iterator[Finding]:
    """Running statistics of batch norm that do not match the data.

    Measured: Running mean and variance of each batch norm, compared with those of the batches.
    Formula: gap = abs(running mean - batch mean) / batch std; ratio = running variance / batch variance; noise of a running
        mean = sqrt(m / (2 - m) / N) with momentum m and batch size N. In a frozen part: the distance of held-out inputs from the
        statistics at first, below {MOVED_FITTED:g}, and now, above {NORM_PLACES_GAP:g}. In runs of {NORM_START_STEPS} to
        {CONSEQUENCE_STEPS} steps: (1 - m)**n >= {NORM_START:g}, the share of the start after n steps, at the last evaluation, and
        a held-out loss nearer to guessing than to a training loss below {LEARNED_WELL:g} of it.
    """
    if moved := list(moved_statistics(trace)):
        yield from moved
        return
    if not trace.norms:
        present = any(_batch_norm(info.kind) for info in trace.modules)
        raise (
            Skip("not run", "no statistics of a batch norm were recorded") if present else Skip("not applicable", "no batch norm")
        )
    batch, momentum = trace.facts.batch_size, trace.facts.norm_momentum
    mask = late(trace)
    noise = 1 / sqrt(batch) if batch else 1.0  # std of a batch's mean
    steps = span(trace, mask)
    held_out, level = held_out_beside(trace)
    # Where the held-out inputs are of another scale, the held-out loss says nothing of the statistics.
    # Where it is next to nothing, neither do their ratios say anything.
    harmless = held_out <= limits_wiring.NORM_HARMLESS * guess_of(trace)
    worse = held_out > limits_wiring.NORM_HELD_OUT * level and not harmless and rescaled(trace) is None
    wanted = rounded(max(3 / max(steps[1], 1), 1e-3))
    behind = momentum < wanted  # statistics that had no time to change
    if behind and trace.facts.notes.get("training") == GOES_ON:
        raise Skip("not run", f"running statistics need time to follow: {ceil(3 / momentum)} steps with this momentum")
    early = steps[1] >= limits.CONSEQUENCE_STEPS or _not_begun(trace, level)
    if steps[1] < limits.LEARNING_STEPS and not (behind and worse and early):
        raise Skip("not run", f"running statistics need time to follow: {limits.LEARNING_STEPS} steps")
    wobbles = {name: wobble for name in trace.norms if (wobble := _wobble(trace, name, mask)) > limits.NORM_NOISE}
    if wobbles:
        yield _small_batch(trace, steps, wobbles)
        return
    far: dict[str, tuple[float, float]] = {}
    for name in trace.norms:
        gap, ratio = _settled(trace.norm(name, "mean_gap"), mask), exp(_settled(_log(trace.norm(name, "variance_ratio")), mask))
        if gap > limits.NORM_GAP + noise or max(ratio, 1 / ratio if ratio > 0 else 1.0) > limits.NORM_VARIANCE:
            far[name] = (gap, ratio)
    if far:
        name = max(far, key=lambda each: far[each][0] + abs(log(max(far[each][1], 1e-12))))
        gap, ratio = far[name]
        much = (
            gap > limits_wiring.NORM_PLACES_GAP + noise
            or max(ratio, 1 / ratio if ratio > 0 else inf) > limits_wiring.NORM_PLACES_RATIO
        )
        fine = harmless or held_out <= limits_wiring.NORM_HELD_OUT * level
        start = (
            f" {share((1 - momentum) ** steps[1])} of what they hold is still the start, mean 0 and variance 1 unless "
            "they were loaded."
            if behind
            else ""
        )
        yield Finding(
            id="norm-statistics",
            severity="warning" if worse or ((much or behind) and not fine) else "info",
            where=tuple(far),
            steps=steps,
            value=gap,
            limit=limits.NORM_GAP + noise,
            message=(
                f"Running statistics of {listed(list(far))} do not match the data: the means are {number(gap)} standard "
                f"deviations apart, the variances differ {number(max(ratio, 1 / ratio))} times ({name}).{start}"
            ),
            why="In eval mode the network uses the running statistics, and gives worse answers than in training.",
            remedy=(
                f"{_raise(trace, momentum, wanted)} or beyond, or train longer, or "
                "compute the statistics over the training set in one pass at the end."
                if behind
                else "See that train and eval data are prepared alike, or compute the statistics in one pass at the end."
            ),
            reference="Ioffe & Szegedy 2015, Batch normalization, section 3.1",
        )


def _not_begun(trace: Trace, level: float) -> bool:
    """Whether a short run was evaluated with statistics that are mainly the start, and lost in eval mode most of what it had
    learned. Nothing less counts so early: with a usual momentum, or a loss that is still high, more steps would settle it.
    """
    kept, guess = np.isfinite(trace.dev.mean), guess_of(trace)
    if not kept.any():
        return False
    held_out, taken = float(trace.dev.mean[kept][-1]), float(trace.dev.step[kept][-1])
    learned = level <= limits.LEARNED_WELL * guess
    start = (1 - trace.facts.norm_momentum) ** taken
    return learned and held_out > (level + guess) / 2 and taken >= limits.NORM_START_STEPS and start >= limits.NORM_START


def _log(values: Floats) -> Floats:
    """Logarithms; a variance of 0 counts as a very small one."""
    logs: Floats = np.log(np.maximum(values, np.finfo(np.float64).tiny))
    return logs


def _settled(values: Floats, mask: Mask) -> float:
    """The median of a window or its last value, whichever is nearer to 0: figures may come to rest within the window."""
    kept = values[mask & np.isfinite(values)]
    return min(median(kept), float(kept[-1]), key=abs) if len(kept) else nan


def _wobble(trace: Trace, name: str, mask: Mask) -> float:
    """Noise of a running mean in batch standard deviations, NaN if unknown.

    A running mean of momentum m follows batches of N independent examples with a noise of sqrt(m / (2 - m) / N). Its distance
    from the mean of the latest batch is measured: (1 - m) sqrt(2 / (2 - m) / N), which gives N. In a convolution, independent
    places count as examples, but not in the smallest batches; N is at least the batch's size.
    """
    batch, momentum = trace.facts.batch_size, trace.facts.norm_momentum
    if not batch or not momentum > 0:
        return nan
    most = sqrt(momentum / (2 - momentum) / batch)
    if momentum >= 1 or batch < limits.NORM_BATCH_LEAST:
        return most
    measured = median(trace.norm(name, "mean_gap"), mask) * sqrt(momentum / 2) / (1 - momentum)
    return min(most, measured) if isfinite(measured) else most


def _small_batch(trace: Trace, steps: tuple[int, int], wobbles: dict[str, float]) -> Finding:
    batch, momentum = trace.facts.batch_size, trace.facts.norm_momentum
    top = max(wobbles.values())
    if limits.NORM_LAST <= momentum < 1:
        return _last_batch(trace, steps, wobbles)
    # The momentum at which the noise, in proportion to sqrt(m), is half the limit.
    lower = _raise(trace, momentum, rounded(momentum * (limits.NORM_NOISE / 2 / top) ** 2))
    return Finding(
        id="norm-statistics",
        severity="info" if consequence(trace).well else "warning",
        where=tuple(wobbles),
        steps=steps,
        value=top,
        limit=limits.NORM_NOISE,
        message=(
            f"Batches of {batch} are too small for a batch norm momentum of {number(_told(trace, momentum))}: the running means "
            f"wobble by {share(top)} of a standard deviation."
        ),
        why=(
            "The running statistics follow the last few batches instead of the data, so eval results jump"
            + ("; in training each example depends on its few neighbours." if batch < limits.NORM_BATCH else ".")
        ),
        remedy=frozen_apart(trace, wobbles)
        or (
            f"Enlarge the batch to {4 * limits.NORM_BATCH} (at least {limits.NORM_BATCH}), or replace batch norm by layer norm "
            f"or group norm; if the batch has to stay, {lower[0].lower()}{lower[1:]}."
            if batch < limits.NORM_BATCH
            else f"{lower}, or enlarge the batch."
        ),
        reference=f"{limits.STUDY}: a small batch needs a small momentum; Wu & He 2018, Group normalization",
    )


def _told(trace: Trace, momentum: float) -> float:
    """The momentum as it is told to the layer."""
    return 1 - momentum if trace.facts.notes.get("momentum") == KEPT else momentum


def _raise(trace: Trace, momentum: float, wanted: float) -> str:
    """The advice to change batch norm's momentum, as it is told to the layer."""
    before, after = _told(trace, momentum), _told(trace, wanted)
    return f"{'Raise' if after > before else 'Lower'} batch norm's momentum from {number(before, 4)} to {number(after, 4)}"


def _last_batch(trace: Trace, steps: tuple[int, int], wobbles: dict[str, float]) -> Finding:
    batch, momentum = trace.facts.batch_size, trace.facts.norm_momentum
    kept = trace.facts.notes.get("momentum") == KEPT
    here = (
        "In torch it is the share that is new; here it is the share that is kept."
        if kept
        else ("In other frameworks momentum is the share that is kept; here it is the share that is new.")
    )
    return Finding(
        id="norm-statistics",
        severity="warning",
        where=tuple(wobbles),
        steps=steps,
        value=max(wobbles.values()),
        limit=limits.NORM_NOISE,
        message=f"A batch norm momentum of {number(_told(trace, momentum), 4)} takes {share(momentum)} of the running statistics "
        f"from the last batch of {batch}: the running means are off by {share(max(wobbles.values()))} of a standard deviation.",
        why=f"In eval mode the network is normalised by its last batch, so its answers change after each step. {here}",
        remedy=f"Set momentum={number(_told(trace, 1 - momentum))} in {listed(list(wobbles))}.",
        reference="torch.nn.BatchNorm2d: momentum, which differs from that of optimizers",
    )
