"""Evidence "padding counted": padding counts as much as real tokens, in a mean over places or in the loss.

The token that most rows end in is taken as padding if it fills the ends of these rows in runs of different length.

where: (). figures: "looks"; "rows", share of rows that end in it; "run", share of all places that these runs fill; "token".
words: "how", "averaged" or "asked".
    averaged: the model takes a mean over all places, and nothing was masked before. figures: "places". asked: most targets of
    the loss are padding. They all have the same class, which the loss does not ignore.
        figures: "class"; "padding" and "written", the mean loss at padding and at real tokens at the last look; "guess", the
        entropy of the classes of the real tokens.
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
from lettrine.torch.graph.data.token_losses import Guess, losses_of
from lettrine.torch.graph.losses.terms import Term
from lettrine.torch.graph.reading import Node, operation
from lettrine.torch.graph.walks import walk
from lettrine.torch.private import saved

_LEAST: Final = 4  # places, and rows
_RUN: Final = 2  # of one token at the end of a row
_INSIDE: Final = 0.5  # of the other places hold what fills the ends
_ONE_CLASS: Final = 0.99  # of the padding places have this one class
_SEARCHED: Final = 2_000  # nodes of the graph of the model's output
_MASKING: Final = ("Mul", "MaskedFill", "Where")
_PASSING: Final = ("NativeDropout", "View", "UnsafeView", "Transpose", "Permute", "Clone")


@dataclass(frozen=True)
class Ends:
    """Which places of rows (B, T) are padding at the end, the token that fills them, and the share of rows that have padding."""

    places: Tensor
    token: int
    rows: float

    @property
    def run(self) -> float:
        """Share of all places."""
        return float(self.places.float().mean())


def padded_ends(given: Tensor) -> Ends | None:
    """The padding at the ends of integer rows; None if no rows end in it, if all rows have the same amount, or if most of the
    other places hold the same: then it is no padding, such as the token for what a vocabulary does not know.
    """
    if given.is_floating_point() or given.dtype is torch.bool or given.ndim != 2 or min(given.shape) < _LEAST:
        return None
    token = int(given[:, -1].mode().values)
    places = (given.flip(1) == token).long().cumprod(1).flip(1).bool()  # (B, T)
    same = places.sum(1)
    ending = same >= _RUN
    if not bool(ending.any()) or len(torch.unique(same[ending])) == 1:
        return None
    if float((given[~places] == token).float().mean()) > _INSIDE:
        return None
    return Ends(places, token, float(ending.float().mean()))


@reader
class Counted:
    """Finds padding that counts in a mean or in the loss."""

    def __init__(self) -> None:
        self._found: dict[str, list[tuple[Ends, dict[str, float]]]] = {}
        self._guess = Guess()
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
        """The result over all looks."""
        for how, found in self._found.items():
            ends, own = found[-1]
            figures = {"looks": float(len(found)), "rows": ends.rows, "run": ends.run, "token": float(ends.token), **own}
            yield Evidence("padding counted", (), (0, self._last), figures, {"how": how})

    def _asked(self, term: Term, ends: Ends) -> dict[str, float] | None:
        """The losses at padding and at real tokens, if a term has targets at both."""
        given, target, options = term.given, term.target, term.options
        if term.kind != "cross-entropy" or not isfinite(term.weight) or given is None or target is None:
            return None
        # A model that is given whole rows and asked for the next token has no target for the first one.
        places = ends.places if target.numel() == ends.places.numel() else ends.places[:, 1:]
        if "axis" not in options or target.is_floating_point() or target.numel() != places.numel():
            return None
        labels, padding = target.detach().reshape(-1), places.reshape(-1)
        kind = int(labels[padding].mode().values)
        weight = options.get("weight")
        classes = given.shape[options["axis"]]
        ignored = kind == int(options.get("ignore_index", -100)) or not 0 <= kind < classes
        if ignored or (isinstance(weight, Tensor) and not float(weight[kind]) > 0):
            return None
        if float((labels[padding] == kind).float().mean()) < _ONE_CLASS or bool(padding.all()):
            return None
        kept = (labels >= 0) & (labels < classes)
        if given.numel() != classes * len(labels) or not bool((kept & ~padding).any()):
            return None
        losses, guess = losses_of(given, options["axis"], labels), self._guess.add(labels[kept & ~padding], classes)
        written, blank = float(losses[kept & ~padding].mean()), float(losses[padding].mean())
        return {"class": float(kind), "padding": blank, "written": written, "guess": guess}


def _averages(output: Any, shape: torch.Size) -> bool:
    """Whether the model's output contains a mean over the places of (B, T) without a mask before it."""
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
    """Whether the averaged values were masked just before: multiplied by a tensor without gradient, or filled."""
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
