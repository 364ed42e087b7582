"""Evidence "pushed": pairs of which a loss pulls some together and pushes others apart, and which of them lay farther apart.

where: (). figures: "farther": how often a pair that is pulled together lies farther apart than one that is pushed apart, over all
such pairs of pairs, at the first looks, and "left" at the last one; "pulled" and "pushed", pairs of either kind at the first
looks; "looks".

A contrastive loss holds max(0, margin - distance) of the pairs that are to be apart, picked by labels of 0 and 1 or by
torch.where; cosine_embedding_loss and hinge_embedding_loss pick them by labels of 1 and -1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.functions import FunctionCall
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.devices import double
from lettrine.torch.graph.losses.comparisons import readable
from lettrine.torch.graph.losses.hinges import CUTS, cut_at_0, parts
from lettrine.torch.graph.makers import makers

_POWERS: Final = frozenset("pow square __pow__ mul __mul__ __rmul__ multiply".split())  # noqa: SIM905
_FIRST: Final = 2  # looks at vectors that hardly have been trained


@reader
class Pushed:
    """Measures how far pairs lie apart."""

    def __init__(self) -> None:
        self._steps: list[int] = []
        self._first: list[tuple[Tensor, Tensor]] = []  # distances, and which are pushed
        self._last: tuple[Tensor, Tensor] | None = None

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        found = next(filter(None, (_pairs(call, look) for call in look.outside)), None)
        if look.loss is not None and found is not None:
            self._steps.append(look.step)
            self._last = found
            if len(self._first) < _FIRST:
                self._first.append(found)
        return ()

    def finish(self) -> Iterator[Evidence]:
        """The first looks and the last one."""
        if self._last is None:
            return
        pushed = torch.cat([each for _, each in self._first])
        figures = {
            "farther": _farther(self._first),
            "left": _farther([self._last]),
            "pulled": float((~pushed).sum()),
            "pushed": float(pushed.sum()),
            "looks": float(len(self._steps)),
        }
        yield Evidence("pushed", (), (self._steps[0], self._steps[-1]), figures)


def _farther(seen: Sequence[tuple[Tensor, Tensor]]) -> float:
    """How often a pulled pair lies farther apart than a pushed one of the same look, half of those that are equal."""
    more = total = 0.0
    for far, pushed in seen:
        pulled, others = far[~pushed][:, None], far[pushed][None]
        more += float((pulled > others).sum()) + float((pulled == others).sum()) / 2
        total += pulled.numel() * others.numel()
    return more / total if total else 0.5


def _pairs(call: FunctionCall, look: Look) -> tuple[Tensor, Tensor] | None:
    """Distances of the pairs, and which of them the loss pushes apart, (B,)."""
    if call.name == "cosine_embedding_loss":
        one, two, labels = (call.given(place, name) for place, name in enumerate(("input1", "input2", "target")))
        fits = all(isinstance(each, Tensor) and readable(each) for each in (one, two, labels)) and one.ndim == 2
        return _both(1 - functional.cosine_similarity(one.detach(), two.detach()), labels == -1) if fits else None
    if call.name == "hinge_embedding_loss":
        far, labels = call.given(0, "input"), call.given(1, "target")
        fits = all(isinstance(each, Tensor) and readable(each) for each in (far, labels))
        return _both(far.detach(), labels == -1) if fits else None
    inner = call.given(0, "input") if call.name in CUTS and cut_at_0(call) else None
    cut = parts(inner, look.once(makers).get(id(inner))) if isinstance(inner, Tensor) else None
    if cut is None or cut[0] <= 0 or cut[1] > 0 or not readable(cut[2]):
        return None
    pushed = _picked(call, look.outside)
    return None if pushed is None else _both(cut[2].detach(), pushed)


def _both(far: Tensor, pushed: Tensor) -> tuple[Tensor, Tensor] | None:
    """The same if there are pairs of both kinds."""
    far, pushed = double(far.flatten()).cpu(), pushed.flatten().cpu()
    return (far, pushed) if far.shape == pushed.shape and bool(pushed.any()) and not bool(pushed.all()) else None


def _picked(hinge: FunctionCall, calls: Iterable[FunctionCall]) -> Tensor | None:
    """By which labels the values of a hinge are picked."""
    values = {id(hinge.result)}
    for call in calls:
        if call.name == "where" and len(call.args) == 3 and {id(each) for each in call.args[1:]} & values:
            known: Tensor = call.args[0]
            return known if id(call.args[1]) in values else ~known
        if call.name not in _POWERS or not {id(each) for each in call.args} & values:
            continue
        labels = next((each for each in call.args if isinstance(each, Tensor) and id(each) not in values), None)
        if labels is None:
            values.add(id(call.result))
        elif not labels.requires_grad and labels.numel() == hinge.result.numel() and readable(labels):
            return labels == 1 if bool(((labels == 0) | (labels == 1)).all()) else None
    return None
