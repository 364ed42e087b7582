"""Evidence "hidden tokens": some tokens of the input are hidden by one that is never a target, and the loss asks for all tokens.

At the places that are not hidden the target is the input itself.

where: (). figures: "looks"; "hidden": share of the targets that are hidden; "token" that hides them; "unseen" and "seen": the
mean loss at the places that are hidden and at the others, at the last look; "guess": the entropy of the hidden targets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import isfinite
from typing import Final

import torch
from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.data.token_losses import Guess, losses_of
from lettrine.torch.graph.losses.comparisons import readable
from lettrine.torch.graph.losses.terms import Term

_LEAST: Final = 4  # places of a sequence
_MOST: Final = 0.5  # of the targets are hidden: more is a task of its own, such as to fill up a text
_ONE_TOKEN: Final = 0.7  # of the places where input and target differ hold it; BERT puts another token in a ninth of them


@reader
class HiddenTokens:
    """Compares the tokens of the input with the targets at their places."""

    def __init__(self) -> None:
        self._looks = self._last = 0
        self._figures: dict[str, float] = {}
        self._guess = Guess()

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        self._last = look.step
        for given in [each for root in look.roots for each in root.inputs if len(look.roots) == 1]:
            for term in look.terms:
                if (figures := self._figures_of(given, term)) is not None:
                    self._looks, self._figures = self._looks + 1, figures
        return ()

    def finish(self) -> Iterator[Evidence]:
        """What the last look showed."""
        if self._looks:
            yield Evidence("hidden tokens", (), (0, self._last), {"looks": float(self._looks), **self._figures})

    def _figures_of(self, given: Tensor, term: Term) -> dict[str, float] | None:
        scores, target, options = term.given, term.target, term.options
        if term.kind != "cross-entropy" or not isfinite(term.weight) or scores is None or target is None or "axis" not in options:
            return None
        tokens = given.dtype == target.dtype == torch.int64 and given.ndim > 1 and given.shape[1] >= _LEAST
        if not tokens or given.numel() != target.numel() or not (readable(given) and readable(target) and readable(scores)):
            return None
        held, asked, classes = given.reshape(-1), target.detach().reshape(-1), scores.shape[options["axis"]]
        kept = (asked != int(options.get("ignore_index", -100))) & (asked >= 0) & (asked < classes)
        hidden = kept & (held != asked)
        share = float(hidden.sum() / kept.sum().clamp(min=1))
        if not 0 < share <= _MOST:
            return None
        token = int(held[hidden].mode().values)
        if bool((asked[kept] == token).any()) or float((held[hidden] == token).float().mean()) < _ONE_TOKEN:
            return None
        losses = losses_of(scores, options["axis"], asked)
        return {
            "hidden": share,
            "token": float(token),
            "unseen": float(losses[hidden].mean()),
            "seen": float(losses[kept & ~hidden].mean()),
            "guess": self._guess.add(asked[hidden], classes),
        }
