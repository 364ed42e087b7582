"""Evidence "overlap classes": a loss of overlap that is one ratio for all classes together, or one for each pixel, and how the
rarest class fares that is answered rightly least.

where: the module that made the answers. words: "how", "together" or "each". figures: "looks", of which the last three count;
"classes"; of the class of which the smallest part is answered rightly: "class", its number, "share" of the pixels, "right", the
part, and "pixels".

Classes lie on the second axis. A ratio "together" has summed over it and over the pixels: what is rare hardly changes the sums. A
ratio for "each" pixel has not summed over the pixels: it is 0 wherever the target is 0, whatever the answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from math import prod
from typing import Final

import torch
from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.functions import FunctionCall
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.losses.heads import head_of
from lettrine.torch.graph.losses.overlaps import QUOTIENTS, answers_of, leads

_LATE: Final = 3  # looks that are counted: the last ones
_PIXELS: Final = 16  # of one example, or more


@reader
class LostClasses:
    """Counts which classes are answered rightly under a loss of overlap."""

    def __init__(self) -> None:
        self._steps: list[int] = []
        self._where = self._how = ""
        self._counts: deque[Tensor] = deque(maxlen=_LATE)  # of each look (2, C): pixels of a class, and those answered rightly

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        ratios = [call for call in look.outside if call.name in QUOTIENTS and isinstance(call.result, Tensor)]
        if look.loss is None or not ratios:
            return ()
        for call in look.outside:
            pair = answers_of(call)
            if pair is None or pair[0].ndim < 3 or prod(pair[0].shape[2:]) < _PIXELS:
                continue
            how = next(filter(None, (_how(ratio, pair[0]) for ratio in ratios)), "")
            head = head_of(pair[0], look.parameters) if how else None
            if head is not None and head.place:
                self._steps.append(look.step)
                self._where, self._how = head.module, how
                self._counts.append(_counted(*(each.detach() for each in pair)))
                break
        return ()

    def finish(self) -> Iterator[Evidence]:
        """The class that fares worst at the last looks."""
        if len(self._counts) < _LATE or len({each.shape for each in self._counts}) > 1:
            return
        pixels, right = torch.stack(list(self._counts)).sum(0)
        part = torch.where(pixels > 0, right / pixels, 2.0)
        worst = int(part.argmin())
        figures = {
            "looks": float(len(self._steps)),
            "classes": float(len(pixels)),
            "class": float(worst),
            "share": float(pixels[worst] / pixels.sum()),
            "right": float(part[worst]),
            "pixels": float(pixels[worst]),
        }
        yield Evidence("overlap classes", (self._where,), (self._steps[-_LATE], self._steps[-1]), figures, {"how": self._how})


def _how(ratio: FunctionCall, answers: Tensor) -> str:
    """Whether a ratio of overlap is taken of all classes together, or of each pixel; "" for any other."""
    divisor = ratio.given(1, "other")
    if not isinstance(divisor, Tensor) or divisor.grad_fn is None or not leads(divisor.grad_fn, answers.grad_fn):
        return ""
    shape, pixels = tuple(ratio.result.shape), tuple(answers.shape[2:])
    if shape[-len(pixels) :] == pixels:
        return "each"
    return "together" if shape in ((), (len(answers),)) and answers.shape[1] > 2 else ""


def _counted(answers: Tensor, targets: Tensor) -> Tensor:
    """(2, C) of each class the number of its pixels, and of those that are answered with it."""
    if answers.shape[1] == 1:
        answers, targets = (torch.cat([1 - each, each], 1) for each in (answers.float(), targets.float()))
    said = answers.argmax(1, keepdim=True)
    classes = torch.arange(answers.shape[1], device=said.device).view(-1, *[1] * (said.ndim - 2))  # (C, 1, ...)
    target, axes = targets.bool(), [0, *range(2, said.ndim)]
    return torch.stack([target.sum(axes), (target & (said == classes)).sum(axes)]).double().cpu()
