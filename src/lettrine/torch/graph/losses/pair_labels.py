"""Evidence "pair labels": labels given to a loss of pairs that knows 1 and -1 alone, and are 0 and 1.

figures: "looks" at which they were, "all" with such a loss, "none": share of zeros at the last of them. words: "function".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.losses.comparisons import readable

_LOSSES: Final = ("cosine_embedding_loss", "margin_ranking_loss")


@reader
class PairLabels:
    """Reads the labels at each look."""

    def __init__(self) -> None:
        self._seen: list[tuple[int, str, float]] = []
        self._all = 0

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        for call in look.outside:
            labels = call.given(2, "target") if call.name in _LOSSES else None
            if not isinstance(labels, Tensor) or not readable(labels) or labels.requires_grad or labels.numel() < 2:
                continue
            self._all += 1
            zeros, ones = labels == 0, labels == 1
            if bool((zeros | ones).all()) and bool(zeros.any()):
                self._seen.append((look.step, call.name, float(zeros.float().mean())))
        return ()

    def finish(self) -> Iterator[Evidence]:
        """What was seen."""
        if self._seen:
            step, function, none = self._seen[-1]
            figures = {"looks": float(len(self._seen)), "all": float(self._all), "none": none}
            yield Evidence("pair labels", (), (self._seen[0][0], step), figures, {"function": function})
