"""Evidence "triplets": vectors handed to a triplet loss, or distances in one written by hand, and which of the two others the
anchors lay nearer to at first.

where: (). figures: "farther", share of the anchors that lay nearer to the negative than to the positive at the first looks, and
"rows" of them; "first" and "value": the loss of a triplet at the first and the last look; "margin"; "looks"; "itself": those at
which each positive was its anchor; "chosen": 1 if positives or negatives were picked from vectors that were made before, as when
the hardest are taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import nan
from typing import Final, NamedTuple

from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.functions import FunctionCall
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.devices import double
from lettrine.torch.graph.losses.comparisons import readable
from lettrine.torch.graph.losses.hinges import CUTS, cut_at_0, parts
from lettrine.torch.graph.makers import makers

_LOSSES: Final = frozenset(("triplet_margin_loss", "triplet_margin_with_distance_loss"))
_PICKING: Final = frozenset("max min amax amin topk sort gather take_along_dim __getitem__ index_select where".split())  # noqa: SIM905
_FIRST: Final = 2  # looks at vectors that hardly have been trained


class _Met(NamedTuple):
    """Distances of the anchors from their positives and negatives, (B,), the margin, the loss of a triplet, and whether examples
    were picked.
    """

    near: Tensor
    far: Tensor
    margin: float
    value: float
    chosen: bool


@reader
class Triplets:
    """Measures the distances at the first looks."""

    def __init__(self) -> None:
        self._seen: list[tuple[int, float]] = []
        self._farther = self._rows = 0
        self._margin = nan
        self._chosen = False
        self._itself = 0

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        found = next(filter(None, (_distances(call, look) for call in look.outside)), None)
        if found is None:
            return ()
        self._chosen |= found.chosen
        self._margin = found.margin
        self._itself += not bool(found.near.any())
        if len(self._seen) < _FIRST:
            self._farther, self._rows = self._farther + int((found.near > found.far).sum()), self._rows + len(found.near)
        self._seen.append((look.step, found.value))
        return ()

    def finish(self) -> Iterator[Evidence]:
        """The first looks and the last one."""
        if self._rows:
            figures = {"farther": self._farther / self._rows, "rows": self._rows, "first": self._seen[0][1]}
            figures |= {"value": self._seen[-1][1], "margin": self._margin, "looks": len(self._seen), "chosen": self._chosen}
            figures["itself"] = self._itself
            told = {name: float(value) for name, value in figures.items()}
            yield Evidence("triplets", (), (self._seen[0][0], self._seen[-1][0]), told)


def _distances(call: FunctionCall, look: Look) -> _Met | None:
    made = look.once(makers)
    if call.name not in _LOSSES:
        pair = _by_hand(call, made)
        if pair is None:
            return None
        margin, *two = pair
        picked = any((each := made.get(id(one))) is not None and each.name in _PICKING for one in two)
        return _Met(two[0].detach(), two[1].detach(), margin, float(double(call.result.detach()).mean()), picked)
    vectors = [call.given(place, name) for place, name in enumerate(("anchor", "positive", "negative"))]
    if not all(isinstance(each, Tensor) and readable(each) for each in vectors):
        return None
    anchor, positive, negative = (double(each.detach().flatten(1)) for each in vectors)
    total = float(double(call.result.detach()).mean())
    return _Met(
        (anchor - positive).norm(dim=1),
        (anchor - negative).norm(dim=1),
        float(call.kwargs.get("margin", 1.0)),
        total / (len(anchor) if call.kwargs.get("reduction") == "sum" else 1),
        any(_chosen(made.get(id(each))) for each in vectors[1:]),
    )


def _by_hand(call: FunctionCall, made: Mapping[int, FunctionCall]) -> tuple[float, Tensor, Tensor] | None:
    """The margin and both distances of max(0, d(anchor, positive) - d(anchor, negative) + margin), (B,) each."""
    inner = call.given(0, "input") if call.name in CUTS and cut_at_0(call) else None
    maker = made.get(id(inner))
    if not isinstance(inner, Tensor) or maker is None:
        return None
    cut = parts(inner, maker)
    less = made.get(id(cut[2])) if cut is not None else maker
    if less is None or less.name not in ("sub", "__sub__") or len(less.args) != 2:
        return None
    near, far = less.args
    if cut is not None and cut[1] < 0:
        near, far = far, near
    if cut is None:  # d(anchor, positive) + margin - d(anchor, negative)
        cut = parts(near, made.get(id(near))) if isinstance(near, Tensor) else None
        near = cut[2] if cut is not None and cut[1] > 0 else None
    if cut is None or cut[0] <= 0 or not all(isinstance(each, Tensor) and each.ndim == 1 for each in (near, far)):
        return None
    both = near.shape == far.shape and near.requires_grad and far.requires_grad and readable(near) and readable(far)
    return (cut[0], near, far) if both and bool((near >= 0).all()) and bool((far >= 0).all()) else None


def _chosen(call: FunctionCall | None) -> bool:
    """Whether a call picks rows by their numbers."""
    if call is None or call.name not in ("__getitem__", "index_select", "gather", "take_along_dim"):
        return False
    return any(isinstance(each, Tensor) for each in call.args[1:]) or call.name != "__getitem__"
