"""Compares the parameters that several ranks hold in common, by the evidence "replica" of all ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lettrine.health import limits_ranks as limits
from lettrine.health.trace import Floats, Trace


@dataclass(frozen=True)
class Replicas:
    """Parameters that several ranks hold whole and that were equal at the first look.

    names: of them. steps (S,): looked at on all ranks. all_alike: whether every parameter is one of them. unlike (S,): where
    their gradients differed. differing: parameters whose gradients did. factor: (rank, times) if they did by a factor alone
    when they first did. difference: between gradients where they differed, in sizes of them, median over these steps.
    apart, moved: rms over parameters of the difference between ranks at the last step, and of what training moved them until
    then, in sizes of the weights. drifted: whether that is too much; drifting: the parameters it concerns; since: first place in
    `steps` where it was; odd: ranks that differ from most. began_apart: parameters that differ from the first step on although
    all gradients are synchronised.
    """

    names: tuple[str, ...]
    steps: NDArray[np.int64]
    all_alike: bool
    unlike: NDArray[np.bool_]
    differing: tuple[str, ...]
    factor: tuple[int, float] | None
    difference: float
    apart: float
    moved: float
    drifted: bool
    drifting: tuple[str, ...]
    since: int
    odd: tuple[int, ...]
    began_apart: tuple[str, ...]


def recorded(trace: Trace) -> dict[int, Trace]:
    """The traces of the ranks that have one, by rank."""
    return {rank: each for rank, each in enumerate(trace.ranks) if len(each.steps)}


def ranks_named(ranks: Sequence[int]) -> str:
    """Such as "Rank 1" or "Ranks 0 and 1"."""
    told = [str(rank) for rank in ranks]
    several = " and ".join([", ".join(told[:-1]), told[-1]]) if len(told) > 1 else "".join(told)
    return f"Rank{'s' if len(told) > 1 else ''} {several}"


def compared(trace: Trace) -> Replicas | None:
    """Compare them; None if no step was looked at on all ranks."""
    ranks = recorded(trace)
    looked = [
        {each.where[0]: each for each in one.seen("replica") if each.words.get("sharded") != "yes"} for one in ranks.values()
    ]
    names = [name for name in looked[0] if all(name in each for each in looked)]
    steps = _steps([[each[name].figures for each in looked] for name in names])
    if not len(steps):
        return None if names or not any(one.seen("replica") for one in ranks.values()) else _nothing()

    def table(key: str) -> Floats:
        return np.array([[[each[name].figure(f"{step}:{key}") for step in steps] for name in names] for each in looked])

    value, rms, gradient, steep = (table(key) for key in ("value", "rms", "gradient", "gradient rms"))  # (R, P, S) each
    with np.errstate(all="ignore"):
        apart, unlike = _apart(value, rms), _apart(gradient, steep)  # (P, S)
    begun = np.nan_to_num(apart[:, 0]) <= limits.EQUAL
    constant = np.array([_constant(trace, name) for name in names])
    alike = begun if not (~begun & ~constant).any() else begun & ~constant
    synchronised = np.isfinite(unlike).any() and not (unlike > limits.GRADIENT_APART).any()
    began_apart = tuple(np.array(names)[~begun & ~constant]) if synchronised else ()
    own = value[:, alike], rms[:, alike]
    with np.errstate(all="ignore"):
        moved = _rms(np.abs(own[0] - own[0][:, :, :1]).max(axis=0) / own[1].max(axis=0))
        distance = _rms(apart[alike])
    gone = (distance > limits.APART) & (distance > limits.APART_SHARE * moved)
    used = unlike[alike]
    far = apart[alike][:, -1] > limits.APART
    chosen = np.array(names)[alike]
    differs = np.greater(used, limits.GRADIENT_APART)
    differed: NDArray[np.bool_] = np.asarray(differs.any(axis=0))
    return Replicas(
        names=tuple(map(str, chosen)),
        steps=steps,
        all_alike=bool(alike.all()),
        unlike=differed,
        differing=tuple(map(str, chosen[differs.any(axis=1)])),
        factor=_factor(list(ranks), gradient[:, alike], steep[:, alike], int(differed.argmax())) if differed.any() else None,
        difference=float(np.median(_rms(used)[differed])) if differed.any() else 0.0,
        apart=float(distance[-1]) if alike.any() else 0.0,
        moved=float(moved[-1]) if alike.any() else 0.0,
        drifted=bool(alike.any() and gone[-1]),
        drifting=tuple(map(str, chosen[far])),
        since=int(gone.argmax()),
        odd=_odd(list(ranks), own[0][:, :, -1][:, far]),
        began_apart=tuple(map(str, began_apart)),
    )


def independent(trace: Trace, found: Replicas) -> bool:
    """Whether each rank trains its own model, as in a search: with its own optimiser or rate, and its own gradients.

    If only the rates differ, the first gradients are the same.
    """
    settings = {(each.facts.optimiser, str(each.facts.momentum), _first_rate(each)) for each in recorded(trace).values()}
    return len(settings) > 1 and len(found.steps) > 1 and bool(found.unlike[1:].all())


def _first_rate(trace: Trace) -> float:
    rates = trace.step_stats.get("learning_rate", np.zeros(0))
    return float(rates[np.isfinite(rates)][0]) if np.isfinite(rates).any() else 0.0


def _nothing() -> Replicas:
    """Whether every parameter is held in parts: then there are no replicas."""
    return Replicas((), np.zeros(0, np.int64), False, np.zeros(0, np.bool_), (), None, 0.0, 0.0, 0.0, False, (), 0, (), ())


def _steps(figures: Sequence[Sequence[object]]) -> NDArray[np.int64]:
    """Steps at which every parameter was looked at on every rank."""
    kept = [{int(key.split(":")[0]) for key in each} for of_one in figures for each in of_one]  # type: ignore[attr-defined]
    return np.array(sorted(set.intersection(*kept)) if kept else [], dtype=np.int64)


def _apart(values: Floats, sizes: Floats) -> Floats:
    """Largest difference from rank 0, relative to the sizes (R, P, S) of the compared values."""
    largest = sizes.max(axis=0)
    return np.where(largest > 0, np.abs(values - values[:1]).max(axis=0) / largest, 0.0)


def _rms(table: Floats) -> Floats:
    """The same over all parameters, of the known values, (S,)."""
    known = np.isfinite(table)
    mean: Floats = np.square(np.where(known, table, 0.0)).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return np.sqrt(mean)


def _constant(trace: Trace, name: str) -> bool:
    """Whether all values of a parameter are equal at first, such as zeros: then ranks agree without being synchronised."""
    spread = trace.parameter(name, "std")[:1] if name in trace.parameter_stats else np.zeros(1)
    return not (len(spread) and spread[0] > 0)


def _factor(ranks: Sequence[int], values: Floats, sizes: Floats, place: int) -> tuple[int, float] | None:
    """If at this place in the steps the gradients of a rank are those of rank 0 times one factor: that rank, and the factor."""
    values, sizes = values[:, :, place], sizes[:, :, place]  # (R, P)
    for other in range(1, len(ranks)):
        known = np.isfinite(values[other]) & (sizes[0] > 0) & (sizes[other] > 0)
        if known.sum() < limits.ALONG_LEAST:
            continue
        factor = float(np.median(sizes[other][known] / sizes[0][known]))
        left = np.abs(values[other] - factor * values[0])[known] / sizes[other][known]
        if abs(factor - 1) > limits.GRADIENT_APART and (left <= limits.ALONG).all():
            return ranks[other], factor
    return None


def _odd(ranks: Sequence[int], last: Floats) -> tuple[int, ...]:
    """The ranks that differ from most others at the last step, (R, P); all of them if no two are alike."""
    groups: dict[bytes, list[int]] = {}
    for rank, row in zip(ranks, last, strict=True):
        groups.setdefault(np.round(row, 6).tobytes(), []).append(rank)
    most = max(groups.values(), key=len)
    return tuple(ranks) if len(most) == 1 else tuple(rank for rank in ranks if rank not in most)
