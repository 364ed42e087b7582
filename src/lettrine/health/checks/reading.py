"""Helpers to read a trace: windows of the run, layers of a kind, and figures in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from math import floor, isfinite, log10, nan

import numpy as np
from numpy.typing import NDArray

from lettrine.health.checks.registry import Skip
from lettrine.health.limits import LATE_FROM, NEARLY_CONSTANT, NOISE, OUTLIER, REMEDY_FACTOR, SLOW_EVEN, UPDATE_RECORDS
from lettrine.health.trace import Curve, Floats, ModuleInfo, ParameterInfo, Trace

Mask = NDArray[np.bool_]


def usable(trace: Trace) -> Mask:
    """Sampled steps before anything stopped being finite, (K,)."""
    if trace.first_nonfinite is None:
        return np.ones(len(trace.steps), dtype=np.bool_)
    mask: Mask = np.less(trace.steps, trace.first_nonfinite.step)
    return mask


def late(trace: Trace) -> Mask:
    """Usable sampled steps after warm-up, (K,)."""
    mask = usable(trace)
    if mask.any():
        first, last = trace.steps[mask][0], trace.steps[mask][-1]
        mask &= trace.steps >= first + LATE_FROM * (last - first)
    return mask


def start(trace: Trace) -> Mask:
    """The very first sampled step, if the watch began with the run, (K,). A run that continues from trained weights has none."""
    mask = usable(trace)
    mask[0 if trace.seen("resumed") else 1 :] = False
    mask &= trace.steps == 0
    return mask


def span(trace: Trace, mask: Mask) -> tuple[int, int]:
    """First and last optimiser step of a window; of the whole trace if the window is empty."""
    steps = trace.steps[mask] if mask.any() else trace.steps
    return (int(steps[0]), int(steps[-1])) if len(steps) else (0, 0)


def median(values: Floats, mask: Mask | None = None) -> float:
    """Median of the finite values of a window, NaN if there are none."""
    chosen = values if mask is None else values[mask]
    chosen = chosen[np.isfinite(chosen)]
    return float(np.median(chosen)) if len(chosen) else nan


def usual_std(info: ParameterInfo) -> float:
    """1/sqrt(fan_in), the std of a weight that keeps the size of what it is given."""
    return float(1 / np.sqrt(np.prod(info.shape[1:])))


def usual_stds(infos: Sequence[ParameterInfo], most: int = 4) -> str:
    """The first few matrices, each with that std, to be drawn at random."""
    return "; ".join(f"{info.name} with std {number(usual_std(info))}" for info in infos[:most])


def matrices(trace: Trace, *, embeddings: bool = False) -> list[ParameterInfo]:
    """Trained weights with a fan-in, recorded, from the input on; embedding tables only if asked for."""
    tables = {info.name for info in trace.modules if info.role == "embedding"}
    return [
        info
        for info in trace.parameters
        if info.trainable
        and len(info.shape) >= 2
        and info.name in trace.parameter_stats
        and (embeddings or info.module not in tables)
    ]


def output_module(trace: Trace) -> ModuleInfo | None:
    """The module whose output is the logits."""
    return next((info for info in reversed(trace.modules) if info.role == "output"), None)


def weight_of(trace: Trace, module: str) -> str:
    """The name of the weight that scales a module's output; "" if it has none."""
    own = [info for info in trace.parameters if info.module == module]
    for info in sorted(own, key=lambda each: (-len(each.shape), each.name.rpartition(".")[2] != "weight")):
        return info.name
    return ""


def bias_beside(weight: str) -> str:
    """The name of the bias of a layer, by that of its weight."""
    return f"{weight.removesuffix('weight').removesuffix('kernel')}bias"


def feeding_weight(trace: Trace, name: str) -> str:
    """The weight whose size decides the input of an activation: that of the nearest module before it that has a weight, or of the
    layer itself where it applies its activation.
    """
    known = {info.name: info for info in trace.modules}
    if name in known and known[name].role == "linear":
        return weight_of(trace, name)
    for _ in range(len(known)):
        name = known[name].fed_by if name in known else ""
        if not name:
            break
        if weight := weight_of(trace, name):
            return weight
    return ""


def layers_of_a_kind(trace: Trace, least: int) -> list[str]:
    """The hidden layers to compare with depth: the activations, else the linear layers, of the most frequent kind.

    Raises Skip if there are fewer than `least`.
    """
    modules = sorted((info for info in trace.modules if info.name in trace.outputs), key=lambda info: info.depth)
    for role in ("activation", "linear"):
        kinds = Counter(info.kind for info in modules if info.role == role)
        if kinds and (most := kinds.most_common(1)[0])[1] >= least:
            return [info.name for info in modules if info.role == role and info.kind == most[0]]
    raise Skip("not applicable", f"fewer than {least} layers of a kind to compare")


def in_a_row(trace: Trace, names: Collection[str]) -> list[str]:
    """The longest row of these modules in which each is fed by the one before, directly or through others. A sum, a product or
    attention ends a row: what it makes is fed by several modules, or by none that is known.
    """
    feeds = {info.name: info.fed_by for info in trace.modules}
    rows: dict[str, list[str]] = {}
    for name in names:
        row, place = [name], name
        while (place := feeds.get(place, "")) and place not in row:
            row.append(place)
        rows[name] = [each for each in reversed(row) if each in names]
    return max(rows.values(), key=len, default=[])


def learning_rate(trace: Trace, mask: Mask | None = None) -> float:
    """The highest learning rate of a window's sampled steps, NaN if unknown. This is the rate one sets: schedules begin and
    end near 0.
    """
    rates = trace.step_stats["learning_rate"][usable(trace) if mask is None else mask]
    return float(np.nanmax(rates)) if np.isfinite(rates).any() else nan


def update_ratios(trace: Trace, mask: Mask) -> tuple[list[str], Floats]:
    """update:data of the weight matrices over a window, (names, (P, K')).

    If the values of a weight are nearly equal, its std is no measure of their size: then rms(update) / rms(data).
    """
    if int(mask.sum()) < UPDATE_RECORDS:
        raise Skip("not run", f"fewer than {UPDATE_RECORDS} sampled steps after warm-up")
    names = [info.name for info in matrices(trace) or matrices(trace, embeddings=True)]
    if not names:
        raise Skip("not applicable", "no weight matrix is trained")
    table = np.array([_update_ratio(trace, name)[mask] for name in names]).reshape(len(names), -1)
    kept = np.isfinite(table).any(axis=1) if names else np.zeros(0, dtype=np.bool_)
    if not kept.any():
        raise Skip("not run", "no update of a weight matrix was recorded")
    return [name for name, keep in zip(names, kept, strict=True) if keep], table[kept]


def _update_ratio(trace: Trace, name: str) -> Floats:
    std, rms = trace.parameter(name, "std"), trace.parameter(name, "rms")
    alike = (std < NEARLY_CONSTANT * rms) & (rms > 0)
    size = trace.parameter(name, "update_rms") / np.where(rms > 0, rms, np.nan)
    ratio: Floats = np.where(alike, size, trace.parameter(name, "update_data"))
    return ratio


def middle(table: Floats) -> Floats:
    """The median of the finite values in each column; of an even number the lower one, so that at least half are as large. NaN
    if there are none.
    """
    finite = np.where(np.isfinite(table), table, np.nan)
    place = np.maximum(np.isfinite(table).sum(axis=0) - 1, 0) // 2
    found: Floats = np.take_along_axis(np.sort(finite, axis=0), place[None], axis=0)[0]
    return found


def pace(table: Floats) -> float:
    """update:data when it was largest, from a table of (weights, steps): gradients shrink as a network converges, and
    schedules begin and end near 0.
    """
    return float(np.quantile(middle(table), 0.9))


def finite_curve(trace: Trace, curve: Curve) -> tuple[Floats, Floats]:
    """Steps and losses before anything stopped being finite."""
    kept = np.isfinite(curve.mean)
    if trace.first_nonfinite is not None:
        kept &= curve.step < trace.first_nonfinite.step
    return curve.step[kept], curve.mean[kept]


def standard_error(values: Floats) -> float:
    """Standard error of the mean of some losses whose level may drift: from differences of neighbours."""
    if len(values) < 3:
        return nan
    return float(np.sqrt(np.mean(np.diff(values) ** 2) / 2 / len(values)))


def tamed(losses: Floats) -> Floats:
    """Losses in which none lies far above those around it: their means tell of most batches, not of a single one."""
    parts = np.array_split(losses, max(1, min(20, len(losses) // 5)))
    middles = [np.median(part) for part in parts]
    spreads = [1.4826 * np.median(np.abs(part - level)) for part, level in zip(parts, middles, strict=True)]
    capped = [np.minimum(part, level + OUTLIER * spread) for part, level, spread in zip(parts, middles, spreads, strict=True)]
    return np.concatenate(capped)


def even_fall(losses: Floats) -> tuple[Floats, bool]:
    """How far the loss falls between five equal parts of the last two thirds of a run, (4,), and whether as far at the end as
    before.
    """
    later = losses[len(losses) // 3 :]
    falls = -np.diff([float(np.mean(part)) for part in np.array_split(later, 5)])
    noise = standard_error(later[: max(3, len(later) // 5)])
    return falls, bool(falls.min() > 0 and falls[-1] > SLOW_EVEN * falls[0] and falls.sum() > NOISE * noise)


def enough_losses(trace: Trace, least: int) -> tuple[Floats, Floats]:
    """Steps and losses, if there are enough to speak of a trend."""
    steps, losses = finite_curve(trace, trace.loss)
    taken = int(steps[-1] - steps[0]) + 1 if len(steps) else 0
    if taken < least or len(losses) < least:
        raise Skip("not run", f"{taken} of the {least} losses needed were recorded")
    return steps, losses


def ends(losses: Floats) -> tuple[float, float, float]:
    """Loss at the start, over the last tenth, and the noise of their difference."""
    tail = losses[-max(10, len(losses) // 10) :]
    beginning = float(np.mean(losses[: min(5, len(losses))]))
    noise = standard_error(tail)
    return beginning, float(np.mean(tail)), noise * np.sqrt(len(tail) / 5) if isfinite(noise) else 0.0


def number(value: float, digits: int = 2) -> str:
    """A figure for a sentence: "0.003", "27.6", "1.2e-05"."""
    if not isfinite(value):
        return str(value)
    if value == 0 or 1e-4 <= abs(value) < 1e6:
        places = max(0, digits - 1 - floor(log10(abs(value)))) if value else 0
        text = f"{value:,.{places}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{value:.{digits - 1}e}"


def share(value: float) -> str:
    """A share for a sentence: "46 %"."""
    return f"{100 * value:.0f} %" if value >= 0.1 or value == 0 else f"{100 * value:.1f} %"


def tenfold(factor: float) -> float:
    """A factor for a remedy, at most REMEDY_FACTOR: far from the aim, a measurement shows the direction, not the distance."""
    return min(rounded(factor), REMEDY_FACTOR)


def times(wanted: float) -> str:
    """A factor in words: "about 4 times", "10 times or more"."""
    return f"{number(REMEDY_FACTOR)} times or more" if wanted > REMEDY_FACTOR else f"about {number(rounded(wanted), 1)} times"


def rounded(value: float) -> float:
    """To one significant digit, for a remedy: nobody tunes more finely."""
    return float(f"{value:.0e}") if isfinite(value) and value else value


def listed(names: Sequence[str], most: int = 4) -> str:
    """Names for a sentence: "a, b and 3 more"."""
    if len(names) <= most:
        return " and ".join(filter(None, (", ".join(names[:-1]), names[-1]))) if names else "the network"
    return f"{', '.join(names[: most - 1])} and {len(names) - most + 1} more"


def plural(names: Iterable[object], one: str, many: str) -> str:
    """`one` for a single name, else `many`."""
    return one if len(list(names)) == 1 else many
