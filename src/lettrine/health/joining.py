"""One trace of a run that was stopped and resumed."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import TypeVar

import numpy as np

from lettrine.health.carried import carried
from lettrine.health.thinning import thinned
from lettrine.health.trace import RECENT, Curve, Floats, Histogram, Trace, Units

Columns = TypeVar("Columns", Curve, Histogram)


def joined(first: Trace, second: Trace) -> Trace:
    """The trace of `first` followed by `second`. Facts, modules and parameters are those of `second`.

    A figure that only one of them has is NaN at the steps of the other. Of a long `first`, fewer steps and points are kept.
    """
    first = thinned(first)
    lengths = (len(first.steps), len(second.steps))

    def rows(a: Mapping[str, Floats], b: Mapping[str, Floats]) -> dict[str, Floats]:
        widths = {name: value.shape[1:] for name, value in (*a.items(), *b.items())}
        missing = [{name: np.full((length, *width), np.nan) for name, width in widths.items()} for length in lengths]
        return {name: np.concatenate([a.get(name, missing[0][name]), b.get(name, missing[1][name])]) for name in widths}

    def chains(a: Mapping[str, Histogram], b: Mapping[str, Histogram]) -> dict[str, Histogram]:
        return {**a, **{name: _chained(a[name], value) if name in a else value for name, value in b.items()}}

    return replace(
        second,
        steps=np.concatenate([first.steps, second.steps]),
        step_stats=rows(first.step_stats, second.step_stats),
        outputs=rows(first.outputs, second.outputs),
        gradients=rows(first.gradients, second.gradients),
        parameter_stats=rows(first.parameter_stats, second.parameter_stats),
        norms=rows(first.norms, second.norms),
        output_histograms=chains(first.output_histograms, second.output_histograms),
        gradient_histograms=chains(first.gradient_histograms, second.gradient_histograms),
        units={**first.units, **{name: _summed(first.units.get(name), units) for name, units in second.units.items()}},
        maps={name: {**first.maps.get(name, {}), **_later(first, second, name)} for name in {**first.maps, **second.maps}},
        loss=_chained(first.loss, second.loss),
        recent=_tail(_chained(first.recent, second.recent)),
        dev=_chained(first.dev, second.dev),
        first_nonfinite=first.first_nonfinite or second.first_nonfinite,
        evidence=carried(first, second),
        ranks=tuple(itertools.starmap(joined, zip(first.ranks, second.ranks, strict=False))) or second.ranks,
    )


def _chained(a: Columns, b: Columns) -> Columns:
    return type(a)(*(np.concatenate([getattr(a, each.name), getattr(b, each.name)]) for each in fields(a)))


def _tail(curve: Curve) -> Curve:
    return Curve(*(getattr(curve, each.name)[-RECENT:] for each in fields(curve)))


def _later(first: Trace, second: Trace, name: str) -> Mapping[str, np.ndarray[tuple[int, ...], np.dtype[np.float16]]]:
    """The later snapshots: if the first trace has a "first" one, only the "last" is added."""
    own = second.maps.get(name, {})
    return {"last": own["last"]} if name in first.maps and "last" in own else own if name not in first.maps else {}


def _summed(a: Units | None, b: Units) -> Units:
    if a is None or a.dead.shape != b.dead.shape:
        return b
    steps, rows = a.steps + b.steps, a.rows + b.rows
    dead = (a.dead * a.steps + b.dead * b.steps) / max(steps, 1)
    saturated = (a.saturated * a.rows + b.saturated * b.rows) / max(rows, 1)
    streak = np.where(b.streak >= b.steps, a.streak + b.streak, b.streak)
    return Units(steps, rows, dead, saturated, b.last_dead, streak)
