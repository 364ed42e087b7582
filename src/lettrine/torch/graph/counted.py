"""Evidence "padding counted": padding that counts as much as what was written, in a mean over places or in the loss.

The token that most rows end in is taken for padding where it fills the ends of these rows, in runs of different length.

where: (). figures: "looks"; "rows", share of rows that end in it; "run", share of the places it fills at their ends; "token".
words: "how", "averaged" or "asked".
    averaged: the model takes a mean over all places, and nothing was masked before. figures: "places".
    asked: most places the loss asks about are padding, with one and the same class there, which it does not ignore.
        figures: "class"; "padding" and "written", the mean loss of the two kinds of places at the last look; "guess", the entropy
        of the classes of those that were written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

import torch
from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.capture.outputs import tensors_in
from lettrine.torch.graph.reading import Node, operation
from lettrine.torch.graph.terms import Term
from lettrine.torch.graph.walks import walk
from lettrine.torch.private import saved

_LEAST: Final = 4  # places, and rows
_RUN: Final = 2  # of one token at the end of a row
_ONE_CLASS: Final = 0.99  # of the places of padding
_SEARCHED: Final = 2_000  # nodes of the graph of the model's output
_MASKING: Final = ("Mul", "MaskedFill", "Where")
_PASSING: Final = ("NativeDropout", "View", "UnsafeView", "Transpose", "Permute", "Clone")


@dataclass(frozen=True)
class Ends:
    """Which places of rows (B, T) are padding at their ends; the token that fills them, and the share of rows that have any."""

    places: Tensor
    token: int
    rows: float

    @property
    def run(self) -> float:
        """Share of all places."""
        return float(self.places.float().mean())


def padded_ends(given: Tensor) -> Ends | None:
    """Rows of whole numbers that end in padding; None if they do not, or all in as much of it."""
    if given.is_floating_point() or given.dtype is torch.bool or given.ndim != 2 or min(given.shape) < _LEAST:
        return None
    token = int(given[:, -1].mode().values)
    places = (given.flip(1) == token).long().cumprod(1).flip(1).bool()  # (B, T)
    same = places.sum(1)
    ending = same >= _RUN
    if not bool(ending.any()) or len(torch.unique(same[ending])) == 1:
        return None
    return Ends(places, token, float(ending.float().mean()))


@reader
class Counted:
    """Finds padding that is counted."""

    def __init__(self) -> None:
        self._found: dict[str, list[tuple[Ends, dict[str, float]]]] = {}
        self._classes: Tensor | None = None
        self._last = 0

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        self._last = look.step
        for root in look.roots:
            for given in root.inputs:
                ends = padded_ends(given)
                if ends is None:
                    continue
                if look.whole and _averages(root.output, ends.places.shape):
                    self._found.setdefault("averaged", []).append((ends, {"places": float(given.shape[1])}))
                for term in look.terms:
                    if (asked := self._asked(term, ends)) is not None:
                        self._found.setdefault("asked", []).append((ends, asked))
        return ()

    def finish(self) -> Iterator[Evidence]:
        """What all looks say."""
        for how, found in self._found.items():
            ends, own = found[-1]
            figures = {"looks": float(len(found)), "rows": ends.rows, "run": ends.run, "token": float(ends.token), **own}
            yield Evidence("padding counted", (), (0, self._last), figures, {"how": how})

    def _asked(self, term: Term, ends: Ends) -> dict[str, float] | None:
        """The losses of padding and of what was written, where a term asks about both alike."""
        given, target, options = term.given, term.target, term.options
        if term.kind != "cross-entropy" or not isfinite(term.weight) or given is None or target is None:
            return None
        if "axis" not in options or target.is_floating_point() or target.numel() != ends.places.numel():
            return None
        labels, padding = target.detach().reshape(-1), ends.places.reshape(-1)
        kind = int(labels[padding].mode().values)
        weight = options.get("weight")
        classes = given.shape[options["axis"]]
        ignored = kind == int(options.get("ignore_index", -100)) or not 0 <= kind < classes
        if ignored or (isinstance(weight, Tensor) and not float(weight[kind]) > 0):
            return None
        if float((labels[padding] == kind).float().mean()) < _ONE_CLASS or bool(padding.all()):
            return None
        rows = given.detach().movedim(options["axis"], -1).reshape(-1, classes).float().log_softmax(1)
        kept = (labels >= 0) & (labels < classes)
        if len(rows) != len(labels) or not bool((kept & ~padding).any()):
            return None
        losses = -rows.gather(1, labels.clamp(0, classes - 1)[:, None])[:, 0]
        counts = torch.bincount(labels[kept & ~padding], minlength=classes).double()
        self._classes = counts if self._classes is None or len(self._classes) != classes else self._classes + counts
        shares = self._classes / self._classes.sum()
        guess = float(-(shares * shares.clamp_min(1e-12).log()).sum())
        written, blank = float(losses[kept & ~padding].mean()), float(losses[padding].mean())
        return {"class": float(kind), "padding": blank, "written": written, "guess": guess}


def _averages(output: Any, shape: torch.Size) -> bool:
    """Whether an output is made with a mean over the places of (B, T), of values of which none were masked."""
    for node in walk([tensor.grad_fn for tensor in tensors_in(output)], _SEARCHED):
        if operation(node) != "Mean":
            continue
        sizes, axes = saved(node, "self_sym_sizes"), saved(node, "dim")
        if not isinstance(axes, tuple) or len(axes) != 1 or len(sizes) != 3:
            continue
        axis = (axes[0] if axes[0] < 2**63 else axes[0] - 2**64) % 3
        if axis > 0 and sizes[0] == shape[0] and sizes[axis] == shape[1] and not _masked(node.next_functions[0][0]):
            return True
    return False


def _masked(node: Node | None) -> bool:
    """Whether what is averaged was multiplied by something that no gradient goes to, or filled, just before."""
    for _ in range(8):
        if node is None:
            return False
        following = [each for each, _ in node.next_functions if each is not None]
        if operation(node) in _MASKING:
            return len(following) == 1
        if operation(node) not in _PASSING or len(following) != 1:
            return False
        node = following[0]
    return False
