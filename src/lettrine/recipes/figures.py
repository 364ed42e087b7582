"""Our figures of a finished recipe, under the names the published ones have, and how the two agree."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from lettrine.health.trace import Floats, Trace
from lettrine.recipes.recipe import QUANTITIES, Published, Recipe

FiguresByKey = Mapping[str, tuple[float, ...]]

_OF_OUTPUTS: Final = {"std": "std", "saturated": "saturated"}
BATCH_NOISE: Final = 2.0 * math.sqrt(2.0)  # standard deviations that the figures of two batches differ by in 5 of 100 cases
LAST: Final = 10  # sampled steps whose spread tells how much a figure differs from batch to batch
_OF_MATRICES: Final = {"gradient-data": "gradient_data", "update-data": "update_data"}


@dataclass(frozen=True)
class ComparedFigure:
    """One published figure beside ours.

    layer: which layer or matrix, "" for the whole network. published: NaN where only `text` was said.
    judged: "within" or "outside" its tolerance, "beaten" where it was to be; "noise" for a figure that lies outside, but no
        further than two batches of one run may differ, or two splits where the published one was drawn without a seed; "" where
        the words or the steps are not those of the published run.
    """

    key: str
    layer: str
    source: str
    words: str
    published: float
    ours: float
    judged: str = ""
    text: str = ""

    @property
    def difference(self) -> float:
        """Ours minus the published figure; where the tolerance is relative, as a share of it."""
        gap = self.ours - self.published
        return gap / self.published if QUANTITIES[self.key].relative else gap


def figures_of_trace(trace: Trace) -> dict[str, tuple[float, ...]]:
    """Figures of the last step, which is always sampled: of each hidden layer's activation, or of each matrix."""
    layers = activation_names(trace)
    found = {key: tuple(float(trace.output(name, stat)[-1]) for name in layers) for key, stat in _OF_OUTPUTS.items()}
    found["gradient-std"] = tuple(float(trace.gradient(name, "std")[-1]) for name in layers)
    for key, stat in _OF_MATRICES.items():
        found[key] = tuple(float(trace.parameter(name, stat)[-1]) for name in matrix_names(trace))
    return {key: values for key, values in found.items() if not all(map(math.isnan, values))}


def noise_of_trace(trace: Trace) -> dict[str, tuple[float, ...]]:
    """How much each figure differs between the last batches: std over the last sampled steps; NaN where there are too few."""
    few = len(trace.steps) < LAST

    def spread(row: Floats) -> float:
        return math.nan if few else float(np.std(row[-LAST:], ddof=1))

    layers, matrices = activation_names(trace), matrix_names(trace)
    found = {key: tuple(spread(trace.output(name, stat)) for name in layers) for key, stat in _OF_OUTPUTS.items()}
    found["gradient-std"] = tuple(spread(trace.gradient(name, "std")) for name in layers)
    return found | {key: tuple(spread(trace.parameter(name, stat)) for name in matrices) for key, stat in _OF_MATRICES.items()}


def activation_names(trace: Trace) -> list[str]:
    """The hidden layers' activations, from the input on."""
    return [info.name for info in trace.modules if info.role == "activation"]


def matrix_names(trace: Trace) -> list[str]:
    """The 2-D weights, the embedding table first."""
    return [info.name for info in trace.parameters if len(info.shape) == 2]


def layer_names(trace: Trace, key: str) -> list[str]:
    """What the figures under a key belong to, one by one."""
    if not QUANTITIES[key].layered:
        return [""]
    return matrix_names(trace) if key in _OF_MATRICES else activation_names(trace)


def compare(
    recipe: Recipe, ours: FiguresByKey, trace: Trace, digest: str, *, vocabulary: int, whole: bool, noise: FiguresByKey
) -> list[ComparedFigure]:
    """Every published figure beside ours, in the order of the catalogue.

    digest: of the words that were used. whole: whether all the steps were taken; if not, nothing is judged but the loss at the
    first step. vocabulary: V of the words that were used; the parameters are judged where it is the published one. noise:
    standard deviation of a figure from batch to batch.
    """
    rows = []
    for figure in recipe.published:
        names, values = layer_names(trace, figure.key), ours.get(figure.key, ())
        printed = figure.values or (math.nan,) * len(values)
        spreads = noise.get(figure.key, (figure.noise,) * len(values))

        for name, published, own, spread in zip(names, printed, values, spreads, strict=False):
            judged = ""
            if figure.key == "parameters":
                judged = judgement(figure, published, own) if figure.words.vocabulary == vocabulary else ""
            elif figure.words.digest == digest and (whole or figure.key == "initial"):
                judged = judgement(figure, published, own)
                if judged == "outside" and abs(own - published) <= BATCH_NOISE * spread:
                    judged = "noise"
            rows.append(ComparedFigure(figure.key, name, figure.source, figure.words.name, published, own, judged, figure.text))
    return rows


def judgement(figure: Published, published: float, ours: float) -> str:
    """Whether ours lies within the tolerance of its kind; "" where nothing was printed to hold it against."""
    if math.isnan(published):
        return ""
    kind = QUANTITIES[figure.key]
    if kind.beaten:
        return "beaten" if ours < published else "outside"
    room = kind.tolerance * abs(published) if kind.relative else kind.tolerance
    # Printed figures are rounded: a difference that rounding alone explains does not count.
    return "within" if abs(ours - published) <= room + 0.5 * 10.0 ** -decimals(published) else "outside"


def decimals(value: float) -> int:
    """How many digits after the point a figure was printed with: 4 for 2.1137, 5 for 4.21e-4, 0 for a whole number."""
    mantissa, _, exponent = f"{value:.10g}".partition("e")
    places = len(mantissa.partition(".")[2])
    return max(0, places - int(exponent or 0)) if places or exponent else 0


def agreement(rows: Sequence[ComparedFigure]) -> tuple[int, int, int]:
    """How many of the judged figures are within their tolerance or beaten, how many more within their noise, how many in all."""
    judged = [row.judged for row in rows if row.judged]
    return judged.count("within") + judged.count("beaten"), judged.count("noise"), len(judged)


def number_of(key: str, value: float) -> str:
    """A figure as its kind is written: losses with four digits, shares in per cent, powers of ten where small."""
    if not np.isfinite(value):
        return "-"
    kind = QUANTITIES[key]
    if kind.unit == "nats":
        return f"{value:.4f}"
    if kind.unit == "share":
        return f"{100 * value:.1f} %"
    if key == "parameters":
        return f"{value:,.0f}"
    return (
        f"{value:.3f}" if 0.01 <= abs(value) < 1_000 and key == "std" else f"{value:.2e}".replace("e-0", "e-").replace("e+0", "e")
    )


def difference_of(row: ComparedFigure) -> str:
    """The difference as its kind is written."""
    if not np.isfinite(row.difference):
        return "-"
    kind = QUANTITIES[row.key]
    if kind.relative:
        return f"{100 * row.difference:+.1f} %"
    if kind.unit == "share":
        return f"{100 * row.difference:+.1f} points"
    return f"{row.difference:+.4f}" if kind.unit == "nats" else f"{row.difference:+,.0f}"
