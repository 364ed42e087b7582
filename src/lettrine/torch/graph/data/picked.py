"""Evidence "picked": the last activation bounds the answers that a loss picks, and what they are to be.

A network of values answers for each action, and the loss takes the answer for the one that was taken: by gather, by an index, or
by a product with one 1 a row.

where: the module with the last weights. figures: "looks"; "rows" of targets; "reach_low", "reach_high": bounds of the answers;
"low", "high", "mean", "std" of the targets; "outside": share of them that lies out of reach; "lost": their squared distance from
it by their variance. words: "operations", from the answers backwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import isfinite
from typing import Final

import torch
from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.functions import FunctionCall
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.devices import double
from lettrine.torch.graph.losses.comparisons import comparisons, readable
from lettrine.torch.graph.losses.heads import Head, head_of
from lettrine.torch.graph.losses.terms import ERRORS
from lettrine.torch.graph.makers import makers

_PICKING: Final = frozenset("gather take_along_dim index_select".split())  # noqa: SIM905
_SHAPING: Final = frozenset("squeeze unsqueeze view reshape flatten float".split())  # noqa: SIM905
_FACTORS: Final = frozenset("mul multiply __mul__ __rmul__".split())  # noqa: SIM905
_BACK: Final = 8  # calls followed from a loss to the answers
_KEPT: Final = 1_024  # targets of each look


@reader
class PickedAnswers:
    """Collects what picked answers are compared with."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[Head, list[int], list[Tensor]]] = {}

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look; `finish` makes the evidence."""
        terms = [(term.given, term.target) for term in look.terms if term.kind in ERRORS]
        known = {id(each.prediction) for each in look.once(comparisons)} if terms else set()
        for given, target in terms:
            if given is None or id(given) in known or target is None or target.requires_grad or not readable(target):
                continue
            answers = _picked_from(given, look.once(makers))
            head = head_of(answers, look.parameters) if answers is not None else Head()
            if head.place and (isfinite(head.low) or isfinite(head.high)):
                _, steps, targets = self._seen.setdefault(head.module, (head, [], []))
                steps.append(look.step)
                targets.append(target.detach().reshape(-1)[:_KEPT].cpu())
        return ()

    def finish(self) -> Iterator[Evidence]:
        """The targets of all looks."""
        for name, (head, steps, targets) in self._seen.items():
            numbers = double(torch.cat(targets))
            numbers = numbers[numbers.isfinite()]
            if not len(numbers):
                continue
            beyond = (numbers - numbers.clamp(head.low, head.high)).abs()
            variance = float(numbers.var(correction=0))
            figures = {
                "looks": float(len(steps)),
                "rows": float(len(numbers)),
                "reach_low": head.low,
                "reach_high": head.high,
                "low": float(numbers.min()),
                "high": float(numbers.max()),
                "mean": float(numbers.mean()),
                "std": variance**0.5,
                "outside": float((beyond > 0).sum()) / len(numbers),
                "lost": float(beyond.square().mean()) / variance if variance > 0 else 0.0,
            }
            yield Evidence("picked", (name,), (steps[0], steps[-1]), figures, {"operations": " ".join(head.operations)})


def _picked_from(given: Tensor, made: Mapping[int, FunctionCall]) -> Tensor | None:
    """The answers that were picked from; None if none were picked."""
    picked = False
    for _ in range(_BACK):
        call = made.get(id(given))
        source = None if call is None else call.given(0, "input")
        if call is None or not isinstance(source, Tensor):
            break
        if call.name == "sum" and (chosen := _of_one(source, made)) is not None:
            picked, given = True, chosen
        elif call.name in _PICKING or call.name == "__getitem__":
            picked, given = True, source
        elif call.name in _SHAPING:
            given = source
        else:
            break
    return given if picked else None


def _of_one(product: Tensor, made: Mapping[int, FunctionCall]) -> Tensor | None:
    """The answers that are multiplied by one 1 a row, and otherwise 0; None for another product."""
    call = made.get(id(product))
    pair = (call.given(0, "input"), call.given(1, "other")) if call is not None and call.name in _FACTORS else ()
    answers = next((each for each in pair if isinstance(each, Tensor) and each.requires_grad), None)
    ones = next((each for each in pair if isinstance(each, Tensor) and not each.requires_grad), None)
    if answers is None or ones is None or not readable(ones) or ones.shape != answers.shape or ones.ndim < 2:
        return None
    single = bool(((ones == 0) | (ones == 1)).all()) and bool((ones.sum(-1) == 1).all())
    return answers if single else None
