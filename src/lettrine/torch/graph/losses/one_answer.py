"""Evidence "one answer": a classifier that answered one class to every example, at all of the last looks.

where: the head. figures: "looks" and "rows" since another class was last answered; "others": rows of them with another label;
"most": share of the most frequent label in all rows seen; "several": 1 where each example has several labels of yes or no, each
counted as a row; "steps": from the first of these looks to the last.

Read only where one comparison is the whole loss and its classes have no weights: a user who sets weights knows that they differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.losses.comparisons import Comparison, comparisons

_WEIGHTS = ("weight", "pos_weight")
_PLACES = 2**15  # of the pictures of a batch
_TABLE = 2  # dimensions of a row of labels for each example


@dataclass
class _Seen:
    answer: int = -1  # the one answered lately
    first: int = 0
    last: int = 0
    looks: int = 0
    rows: int = 0
    others: int = 0


@reader
class OneAnswer:
    """Counts labels and answers."""

    def __init__(self) -> None:
        self._labels: dict[int, int] = {}
        self._seen = _Seen()
        self._where = ""
        self._several = False

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        for each in look.once(comparisons):
            weighted = any(each.call.kwargs.get(name) is not None for name in _WEIGHTS)
            pair = None if weighted else choices(each)
            if pair is None:
                continue
            self._several = each.prediction.ndim == each.target.ndim == _TABLE and each.prediction.shape[1] > 1
            answers, labels = pair
            self._where = each.head.place
            for label, count in Counter(labels.tolist()).items():
                self._labels[label] = self._labels.get(label, 0) + count
            answer = int(answers[0])
            if not bool((answers == answer).all()):
                self._seen = _Seen()
                continue
            if answer != self._seen.answer:
                self._seen = _Seen(answer, look.step)
            seen = self._seen
            seen.last, seen.looks, seen.rows = (
                look.step,
                seen.looks + (look.step != seen.last or not seen.looks),
                seen.rows + len(labels),
            )
            seen.others += int((labels != answer).sum())
        return ()

    def finish(self) -> Iterable[Evidence]:
        """The result over all looks, if the last ones had one answer, and the most frequent one."""
        seen = self._seen
        if seen.looks and seen.answer == max(self._labels, key=lambda label: self._labels[label]):
            most = self._labels[seen.answer] / sum(self._labels.values())
            figures = {"looks": seen.looks, "rows": seen.rows, "others": seen.others, "most": most, "answer": seen.answer}
            figures["several"] = self._several
            told = {name: float(value) for name, value in figures.items()} | {"steps": float(seen.last - seen.first)}
            yield Evidence("one answer", (self._where,), (seen.first, seen.last), told)


def choices(each: Comparison) -> tuple[Tensor, Tensor] | None:
    """The classes answered and the labels, (N,) each; None where it does not choose between classes, one for each row, each
    place of a picture, or each label of a row.
    """
    given, target = each.prediction.detach(), each.target.detach()
    if not (each.alone and each.given):
        return None
    if each.expects in ("classes", "logarithms") and given.ndim == 2 and target.ndim == 1 and not target.is_floating_point():
        kept = (target >= 0) & (target < given.shape[1])
        return (given.argmax(1)[kept], target[kept]) if bool(kept.any()) else None
    pictures = given.ndim > 2 and given.numel() > 0
    if each.expects in ("classes", "logarithms") and pictures and target.shape == given[:, 0].shape:
        if target.is_floating_point():
            return None
        answers, labels = given.argmax(1).reshape(-1)[:_PLACES], target.reshape(-1)[:_PLACES]
        kept = (labels >= 0) & (labels < given.shape[1])
        return (answers[kept], labels[kept]) if bool(kept.any()) else None
    several = given.ndim == 2 and given.shape[1] > 1  # labels of one example, yes or no each
    if (pictures or several) and given.shape == target.shape:
        given, target = given.reshape(-1)[:_PLACES], target.reshape(-1)[:_PLACES]
    single = given.numel() == target.numel() == len(given) if given.ndim else False
    if each.expects in ("logits", "probabilities") and single:
        bound = 0.0 if each.expects == "logits" else 0.5
        labels = target.reshape(-1)
        return ((given.reshape(-1) > bound).long(), labels.long()) if bool(((labels == 0) | (labels == 1)).all()) else None
    return None
