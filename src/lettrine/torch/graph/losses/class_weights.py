"""Evidence "class weights": the weights of classes in a cross-entropy, beside how many labels each class has.

where: the head. figures: "rows" (labels seen), "classes" with labels, "power": of the number of labels by which the weights grow
(least squares of logarithms, over classes with five labels or more, and a weight above 0); "frequent" and "rare": the classes
with most and fewest labels, "share" of the rare one, "times": labels of the frequent one for each of the rare one, "heavier": its
weight by the other's; "recall": share of the rare class's labels that were answered rightly, at the last looks with ten of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from math import nan
from typing import Final

import numpy as np
import torch
from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.losses.comparisons import Comparison, comparisons
from lettrine.torch.graph.losses.one_answer import choices

_LEAST: Final = 5  # labels of a class that counts
_SLOPE: Final = 2  # classes that a slope needs
_ASKED: Final = 10  # labels of the rare class


@reader
class ClassWeights:
    """Counts labels, and right answers."""

    def __init__(self) -> None:
        self._weights: Tensor | None = None
        self._looks: list[tuple[Counter[int], Counter[int]]] = []  # labels, and those answered rightly
        self._where = ""
        self._steps = (0, 0)

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        for each in look.once(comparisons):
            weights = _weights(each)
            pair = None if weights is None else choices(each)
            if weights is None or pair is None:
                continue
            answers, labels = pair
            if len(weights) <= int(labels.max()):
                continue
            self._weights, self._where = weights, each.head.place
            self._looks.append((Counter(labels.tolist()), Counter(labels[labels == answers].tolist())))
            self._steps = (self._steps[0] if len(self._looks) > 1 else look.step, look.step)
        return ()

    def finish(self) -> Iterable[Evidence]:
        """All looks together."""
        labels = sum((each for each, _ in self._looks), Counter[int]())
        if self._weights is None:
            return
        common = {each: count for each, count in labels.items() if count >= _LEAST and self._weights[each] > 0}
        if len(common) < _SLOPE:
            return
        weights = {each: float(self._weights[each]) for each in common}
        counts, sizes = np.log(list(common.values())), np.log(list(weights.values()))
        frequent, rare = max(common, key=lambda each: common[each]), min(common, key=lambda each: common[each])
        asked = told = 0
        for given, right in reversed(self._looks):
            asked, told = asked + given[rare], told + right[rare]
            if asked >= _ASKED:
                break
        figures = {
            "rows": sum(labels.values()),
            "classes": len(common),
            "power": np.polyfit(counts, sizes, 1)[0] if np.ptp(counts) > 0 else nan,
            "frequent": frequent,
            "rare": rare,
            "share": common[rare] / sum(labels.values()),
            "times": common[frequent] / common[rare],
            "heavier": weights[frequent] / weights[rare],
            "recall": told / asked if asked >= _ASKED else nan,
        }
        yield Evidence("class weights", (self._where,), self._steps, {name: float(value) for name, value in figures.items()})


def _weights(each: Comparison) -> Tensor | None:
    """(K,) of the classes, if there are any; of a yes and no question those of no and of yes."""
    weight = each.call.given(2, "weight")
    if each.expects in ("classes", "logarithms") and isinstance(weight, Tensor) and weight.ndim == 1:
        return weight.detach().cpu()
    positive = each.call.kwargs.get("pos_weight")
    if each.expects == "logits" and isinstance(positive, Tensor) and positive.numel() == 1 and weight is None:
        return torch.cat([torch.ones(1), positive.detach().cpu().reshape(1)])
    return None
