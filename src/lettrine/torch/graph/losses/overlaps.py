"""Evidence "overlap": a loss of overlap (dice, jaccard, Tversky) that is computed of the network's answers.

where: the module that made the answers. figures: "looks"; "low", "high" of the answers over all looks.

An overlap is a sum of products of answers with targets of 0 and 1, divided by sums of the answers. It is known by a division
whose divisor leads back to the answers through sums and products alone; a division by lengths (a cosine) takes a root.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.functions import FunctionCall
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.losses.comparisons import readable
from lettrine.torch.graph.losses.heads import head_of
from lettrine.torch.graph.reading import Node, operation

PRODUCTS: Final = ("mul", "__mul__", "__rmul__")
QUOTIENTS: Final = ("div", "true_divide", "__truediv__")
SUMS: Final = frozenset("Sum Mean Add Sub Mul Clamp ClampMin View UnsafeView Squeeze Unsqueeze Select Slice Clone".split())  # noqa: SIM905
_SEARCHED: Final = 64  # nodes between a divisor and the answers


@reader
class Overlaps:
    """Finds losses of overlap."""

    def __init__(self) -> None:
        self._looks: list[int] = []
        self._where, self._low, self._high = "", 0.0, 0.0

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        divisors = [call.given(1, "other") for call in look.outside if call.name in QUOTIENTS]
        nodes = [each.grad_fn for each in divisors if isinstance(each, Tensor) and each.grad_fn is not None]
        if look.loss is None or not nodes:
            return ()
        for call in look.outside:
            pair = answers_of(call)
            answers = pair[0] if pair is not None else None
            if answers is None or not any(leads(node, answers.grad_fn) for node in nodes):
                continue
            head = head_of(answers, look.parameters)
            if head.place:
                self._looks.append(look.step)
                self._where = head.module
                self._low = min(self._low, float(answers.detach().min()))
                self._high = max(self._high, float(answers.detach().max()))
                break
        return ()

    def finish(self) -> Iterator[Evidence]:
        """What all looks showed."""
        if self._looks:
            figures = {"looks": float(len(self._looks)), "low": self._low, "high": self._high}
            yield Evidence("overlap", (self._where,), (self._looks[0], self._looks[-1]), figures)


def answers_of(call: FunctionCall) -> tuple[Tensor, Tensor] | None:
    """Answers and the targets of 0 and 1, of the same shape, that they are multiplied with."""
    if call.name not in PRODUCTS:
        return None
    pair: list[Any] = [call.given(0, "input"), call.given(1, "other")]
    if not all(isinstance(each, Tensor) and readable(each) for each in pair) or pair[0].shape != pair[1].shape:
        return None
    answers, targets = pair if pair[0].requires_grad else pair[::-1]
    if not answers.requires_grad or targets.requires_grad or answers.grad_fn is None or targets.numel() < 2:
        return None
    return (answers, targets) if bool(((targets == 0) | (targets == 1)).all()) else None


def leads(node: Node, goal: Node, through: frozenset[str] = SUMS) -> bool:
    """Whether a node leads back to another through these operations alone."""
    waiting = [node]
    for place in range(_SEARCHED):
        if place >= len(waiting):
            return False
        each = waiting[place]
        if each is goal:
            return place > 0
        if operation(each) in through:
            waiting += [following for following, _ in each.next_functions if following is not None]
    return False
