"""Evidence "exchanged pictures": pictures and those that are their targets, as far as they may have changed places.

A network that makes pictures sharp, clean or coloured is given pictures that look like its targets. If two folders were read in
two orders, there are still targets that look like an input, but its own is no more like it than those of others. What the loss
compares is read from its graph, so that a judge may have been trained in between.

where: the root. figures: "like": correlation of an input with the target most like it, median; "own": how much more inputs are
like their own targets than like those of others, in standard errors; "answered": the same of the answers after warm-up;
"answers": how many these are; "told", "compared": how far inputs tell their targets in any way, and on how many examples; as in
`telling`.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from lettrine.health.evidence import Evidence
from lettrine.health.limits import LATE_FROM
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.devices import double
from lettrine.torch.graph.data.telling import told
from lettrine.torch.graph.losses.comparisons import readable
from lettrine.torch.graph.losses.terms import ERRORS
from lettrine.torch.graph.memory import memory

_ROWS: Final = 64  # of one look
_MOST: Final = 512  # rows of all looks
_SIDE: Final = 16  # places along each side, after averaging
_LEAST: Final = 8  # places along each side: fewer look alike by chance
_PICTURES: Final = 4  # axes


@dataclass
class _Seen:
    """Small pictures of all looks, (B, places) each: inputs, targets and answers, and the steps."""

    steps: list[int] = field(default_factory=list)
    inputs: list[Tensor] = field(default_factory=list)
    targets: list[Tensor] = field(default_factory=list)
    answers: list[Tensor] = field(default_factory=list)


@reader
class ExchangedPictures:
    """Keeps small pictures of inputs, targets and answers."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}
        self._made: list[tuple[str, weakref.ref[Tensor], Tensor]] = []  # in this step: root, its answer, and its small input
        self._step = -1

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look; an answer may have been made before an optimiser of others stepped."""
        if look.step != self._step:
            self._made, self._step = [], look.step
        for root in look.roots:
            given, output = root.inputs[0] if len(root.inputs) == 1 else None, root.output
            if given is None or given.requires_grad or not isinstance(output, Tensor) or given.shape[:1] != output.shape[:1]:
                continue
            if _picture(given) and _picture(output):
                self._made.append((root.name, weakref.ref(output), _small(given)))
        for term in look.terms:
            if term.kind in ERRORS and term.given is not None and term.target is not None and _picture(term.target):
                self._take(look.step, term.given, term.target)
        return ()

    def _take(self, step: int, answer: Tensor, target: Tensor) -> None:
        if answer.shape != target.shape or len(target) < 2 or not readable(answer):
            return
        for name, made, given in self._made:
            output = made()
            seen = self._seen.setdefault(name, _Seen())
            room = sum(map(len, seen.inputs)) < _MOST and step not in seen.steps
            if output is not None and room and output.shape == answer.shape and memory(output) == memory(answer):
                seen.steps.append(step)
                seen.inputs.append(given)
                seen.targets.append(_small(target))
                seen.answers.append(_small(answer))
                return

    def finish(self) -> Iterator[Evidence]:
        """The likeness of the pictures of all looks."""
        for name, seen in self._seen.items():
            if len(seen.steps) > 1:
                yield Evidence("exchanged pictures", (name,), (seen.steps[0], seen.steps[-1]), _figures(seen))


def _picture(tensor: Tensor) -> bool:
    """Whether it is a batch of pictures."""
    shaped = tensor.ndim == _PICTURES and min(tensor.shape[2:]) >= _LEAST and len(tensor) > 1
    return shaped and tensor.is_floating_point() and readable(tensor)


def _small(pictures: Tensor) -> Tensor:
    """(B, places): the mean of all channels, at most _SIDE places along each side."""
    grey = pictures.detach()[:_ROWS].float().mean(1, keepdim=True)
    return functional.adaptive_avg_pool2d(grey, (_SIDE, _SIDE)).flatten(1).cpu()


def _figures(seen: _Seen) -> dict[str, float]:
    late = [place for place, step in enumerate(seen.steps) if step >= LATE_FROM * seen.steps[-1]]
    answers, wanted = (torch.cat([kept[place] for place in late]) for kept in (seen.answers, seen.targets))
    close = _unit(torch.cat(seen.inputs)) @ _unit(torch.cat(seen.targets)).T  # (inputs, targets)
    likeness = told(*([double(each).numpy() for each in kept] for kept in (seen.inputs, seen.targets)), classes=False)
    return {
        "like": float(close.amax(1).median()),
        "own": _above(close),
        "answered": _above(_unit(answers) @ _unit(wanted).T),
        "answers": float(len(answers)),
        "told": likeness.far,
        "compared": float(likeness.rows),
    }


def _unit(pictures: Tensor) -> Tensor:
    """What sets each apart from the mean of all, of mean 0 and length 1; (B, places)."""
    apart = pictures - pictures.mean(0)
    return functional.normalize(apart - apart.mean(1, keepdim=True), dim=1)


def _above(close: Tensor) -> float:
    """How far the diagonal of a square table lies above the rest of its rows, in standard errors."""
    own, count = close.diagonal(), len(close)
    above = own - (close.sum(1) - own) / max(count - 1, 1)
    return float(above.mean() / (above.std() / count**0.5).clamp_min(1e-12))
