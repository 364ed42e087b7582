"""Evidence "paths": what `ctc_loss` was given: words of letters, for sequences of frames.

where: (). figures, over all looks: "looks"; "rows"; "letters", of all words; "blanks", letters that are the blank's number;
"short", share of the rows that have fewer frames than their word needs (one for each letter, and one between two that are the
same); "frames" and "needed", of the row that lacks most; "blank", its number; "dropped", 1 if infinite losses count as 0;
"different", words, as far as they were counted; "known", letters that the network can say; "longest", the longest word.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import torch
from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.functions import FunctionCall
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.losses.comparisons import readable

_WORDS: Final = 64  # different words that are counted
_FRAMES: Final = 3  # axes of the logarithms: frames, rows, letters


@reader
class Paths:
    """Reads the words and the lengths."""

    def __init__(self) -> None:
        self._steps: list[int] = []
        self._rows = self._letters = self._blanks = self._short = 0
        self._worst = (0, 0)  # frames and what is needed
        self._blank, self._dropped = 0, False
        self._words: set[tuple[int, ...]] = set()
        self._known = self._longest = 0

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        for call in look.calls:
            if call.name == "ctc_loss" and (words := _words(call)) is not None:
                self._steps.append(look.step)
                blank = int(call.given(4, "blank", 0))
                self._blank, self._dropped = blank, bool(call.given(6, "zero_infinity", False))
                self._known = call.given(0, "log_probs").shape[-1] - 1
                for word, frames in words:
                    self._longest = max(self._longest, len(word))
                    if len(self._words) < _WORDS:
                        self._words.add(tuple(word.tolist()))
                    needed = len(word) + int((word[1:] == word[:-1]).sum())
                    self._rows, self._letters = self._rows + 1, self._letters + len(word)
                    self._blanks += int((word == blank).sum())
                    self._short += needed > frames
                    self._worst = max(self._worst, (frames, needed), key=lambda each: each[1] - each[0])
        return ()

    def finish(self) -> Iterator[Evidence]:
        """What was seen so far."""
        if self._rows:
            counts = {"looks": len(set(self._steps)), "rows": self._rows, "letters": self._letters, "blanks": self._blanks}
            counts |= {"frames": self._worst[0], "needed": self._worst[1], "blank": self._blank, "dropped": self._dropped}
            counts |= {"different": len(self._words), "known": self._known, "longest": self._longest}
            figures = {name: float(value) for name, value in counts.items()} | {"short": self._short / self._rows}
            yield Evidence("paths", (), (self._steps[0], self._steps[-1]), figures)


def _words(call: FunctionCall) -> list[tuple[Tensor, int]] | None:
    """The letters of each row, without what pads them, and its frames."""
    logs, targets = call.given(0, "log_probs"), call.given(1, "targets")
    rows = logs.shape[1] if isinstance(logs, Tensor) and logs.ndim == _FRAMES else 0
    frames, sizes = _lengths(call.given(2, "input_lengths"), rows), _lengths(call.given(3, "target_lengths"), rows)
    if not rows or frames is None or sizes is None or not isinstance(targets, Tensor) or not readable(targets):
        return None
    letters = targets.detach().cpu()
    if letters.ndim == 1:
        parts = torch.split(letters, sizes) if sum(sizes) == len(letters) else None
    else:
        parts = tuple(row[:size] for row, size in zip(letters, sizes, strict=True)) if len(letters) == rows else None
    return None if parts is None else list(zip(parts, frames, strict=True))


def _lengths(given: Any, rows: int) -> list[int] | None:
    if isinstance(given, Tensor):
        given = given.tolist() if readable(given) and given.dtype in (torch.int64, torch.int32) else None
    return [int(each) for each in given] if isinstance(given, list | tuple) and len(given) == rows else None
