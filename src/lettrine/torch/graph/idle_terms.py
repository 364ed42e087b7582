"""Evidence "idle term": a term of a loss that reaches only weights which no optimiser steps for.

where: the part of the model that the term reaches, and the part that is stepped for this loss. figures: "looks" of this loss, at
all of which it was so. words: "kind" of the term.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import takewhile
from typing import ClassVar

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, Stepping, reader
from lettrine.torch.graph.walks import leaves, walk


@dataclass
class _Loss:
    """A loss, known by the weights that each of its terms reaches. moved: terms of which some weight was ever stepped."""

    kinds: list[str]
    reached: list[frozenset[int]]
    looks: int = 0
    moved: set[int] = field(default_factory=set)
    stepped: set[int] = field(default_factory=set)


@reader
class IdleTerms:
    """Between one backward pass and the next, notes which optimisers step."""

    whole: ClassVar[bool] = False

    def __init__(self) -> None:
        self._losses: dict[tuple[frozenset[int], ...], _Loss] = {}
        self._at: _Loss | None = None
        self._names: dict[int, str] = {}
        self._last = 0

    def look(self, look: Look) -> Iterable[Evidence]:
        """Note what each term of this loss reaches."""
        self._at, self._last = None, look.step
        if len(look.optimisers) < 2 or len(look.terms) < 2:
            return ()
        given = [each.given.grad_fn if each.given is not None else None for each in look.terms]
        if any(each is None for each in given):
            return ()
        self._names.update(look.parameters)
        reached = [frozenset(id(leaf) for leaf in leaves(walk([each])) if id(leaf) in look.parameters) for each in given]
        if all(reached):
            kinds = [each.kind for each in look.terms]
            self._at = self._losses.setdefault(tuple(reached), _Loss(kinds, reached))
            self._at.looks += 1
        return ()

    def stepping(self, stepping: Stepping) -> Iterable[Evidence]:
        """These weights are moved by the loss looked at last."""
        if self._at is not None:
            own = {id(each) for group in stepping.optimiser.param_groups for each in group["params"]}
            self._at.moved |= {place for place, reached in enumerate(self._at.reached) if reached & own}
            self._at.stepped |= own
        return ()

    def finish(self) -> Iterable[Evidence]:
        """Terms that never moved a weight, beside others of the same loss that did."""
        for loss in self._losses.values():
            for place in set(range(len(loss.kinds))) - loss.moved if loss.moved else ():
                where = (self._part(loss.reached[place]), self._part(frozenset(loss.stepped)))
                figures = {"looks": float(loss.looks)}
                yield Evidence("idle term", where, (0, self._last), figures, {"kind": loss.kinds[place]})

    def _part(self, weights: frozenset[int]) -> str:
        """The module that all these weights belong to; "" for the model itself."""
        paths = [self._names[each].split(".")[:-1] for each in weights if each in self._names]
        alike = takewhile(lambda parts: len(set(parts)) == 1, zip(*paths, strict=False))
        return ".".join(parts[0] for parts in alike)
