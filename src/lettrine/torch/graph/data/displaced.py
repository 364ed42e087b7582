"""Evidence "displaced": the targets of a sequence stand at other places than those they belong to.

The tokens that the network is given are compared with the targets, (B, T) both. The target at each place is usually the next
token. It can stand elsewhere:

    "ahead": it is the token after that, or a later one: the targets were shifted more than once.
    "wrapped": it is the next token, but at the last place the row's own first token, which does not follow.
    "order": targets are in the order (B, T), while the predictions are in the order (T, B), or the other way around.

where: the embedding that is given the tokens, () if none is. figures: "looks" that showed it; "all" looks with such targets;
"places" between a token and its target ("ahead"), or T; "rows" compared in all looks. words: "what"; for "order" also
"targets" and "predictions".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Final

import torch
from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.losses.comparisons import readable
from lettrine.torch.graph.losses.terms import Term
from lettrine.torch.graph.reading import Node, operation
from lettrine.torch.private import saved, saves_elsewhere

_LEAST: Final = 4  # places of a sequence
_AHEAD: Final = 4  # most places between a token and its target
_CUT: Final = 3  # most places that the targets lack
_BACK: Final = 16  # operations followed backwards from the predictions
_ROWS: Final = 2  # least rows
_INTEGERS: Final = (torch.int64, torch.int32)
_ORDERS: Final = ("(batch, time)", "(time, batch)")
_TOKENS: Final = 4  # different tokens at the first place: a fixed first token may stand at the end as well
_PASSING: Final = frozenset(
    "View UnsafeView ReshapeAlias Clone Alias Addmm Mm Add LogSoftmax Relu Tanh Gelu NativeDropout NativeLayerNorm".split()  # noqa: SIM905
)
"""Operations that keep the order of rows."""
_SHAPING: Final = ("View", "UnsafeView", "ReshapeAlias", "Clone", "Alias", "Transpose", "Permute", "LogSoftmax")
_RECURRENT: Final = ("MkldnnRnnLayer", "CudnnRnn")


@dataclass(frozen=True)
class _Seen:
    """One comparison. what: as in words, "" if every target is at its place. starts: tokens at the first place of a row."""

    what: str
    where: str
    rows: int
    places: int
    starts: frozenset[int] = frozenset()
    targets: str = ""
    predictions: str = ""


@reader
class Displaced:
    """Compares the targets of each look with the tokens given."""

    whole: ClassVar[bool] = True

    def __init__(self) -> None:
        self._met: dict[tuple[str, str], list[_Seen]] = {}
        self._steps: list[int] = []
        self._next = False  # whether any target ever was the next token, at its own place

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        if look.place or saves_elsewhere():
            return ()
        terms = [each for each in look.terms if each.kind == "cross-entropy" and each.target is not None]
        seen = [each for term in terms for where, tokens in _tokens(look) for each in _compared(where, tokens, term)]
        if seen:
            self._steps.append(look.step)
        for each in seen:
            if each.what:
                self._met.setdefault((each.what, each.where), []).append(each)
            else:
                self._next = True
        return ()

    def finish(self) -> Iterator[Evidence]:
        """What was seen at every look. Where targets lie at different distances ahead, that is meant."""
        for (what, where), seen in self._met.items():
            starts = frozenset().union(*(each.starts for each in seen))
            several = len({each.places for each in seen}) > 1  # heads for one token after another
            if (what == "ahead" and (self._next or several)) or (what == "wrapped" and len(starts) < _TOKENS):
                continue
            last, rows = seen[-1], sum(each.rows for each in seen)
            figures = {"looks": len(seen), "all": len(self._steps), "places": last.places, "rows": rows}
            words = {"what": what, "targets": last.targets, "predictions": last.predictions}
            told = {name: float(value) for name, value in figures.items()}
            yield Evidence("displaced", (where,) if where else (), (self._steps[0], self._steps[-1]), told, words)


def _tokens(look: Look) -> list[tuple[str, Tensor]]:
    """(B, T) the tokens each embedding is given, and those given to the model itself."""
    named = [(call.where, call.given(0, "input")) for call in look.calls if call.name == "embedding" and call.where]
    named += [("", each) for root in look.roots for each in root.inputs]
    found: list[tuple[str, Tensor]] = []
    for where, each in named:
        tokens = isinstance(each, Tensor) and readable(each) and each.ndim == 2 and each.dtype in _INTEGERS
        if tokens and not any(each.is_set_to(other) for _, other in found):
            found.append((where, each))
    return found


def _compared(where: str, tokens: Tensor, term: Term) -> Iterator[_Seen]:
    """One comparison; none if the targets are not tokens of the sequence."""
    target = term.target
    if target is None or target.is_floating_point() or not readable(target):
        return
    tokens, target = tokens.detach().cpu(), target.detach().cpu()  # at once, not comparison by comparison
    ignored = int(term.options.get("ignore_index", -100))
    for sequence in (tokens, tokens.T):  # the one or the other is (B, T)
        rows, long = sequence.shape
        for table, turned in _tables(target, rows, long):
            shift = _shift(sequence, table, ignored)
            if shift is None or (shift > 1 and not _from_first(term, long, table.shape[1])):
                continue
            stepwise = _stepwise(term, table)
            if shift > 1:
                yield _Seen("ahead", where, rows, shift)
            elif _wrapped(sequence, table, ignored):
                yield _Seen("wrapped", where, rows, long, frozenset(sequence[:, 0].tolist()))
            elif stepwise is not None and stepwise is not turned:
                yield _Seen("order", where, rows, long, targets=_ORDERS[turned], predictions=_ORDERS[stepwise])
            else:
                yield _Seen("", where, rows, long)
            return


def _tables(target: Tensor, rows: int, long: int) -> Iterator[tuple[Tensor, bool]]:
    """The targets as (B, T) or a little shorter, and whether they are laid out as (T, B)."""
    for short in range(long, max(long - _CUT, _LEAST) - 1, -1):
        if rows < _ROWS or target.numel() != rows * short:
            continue
        if target.ndim == 1 or target.shape[0] == rows:
            yield target.reshape(rows, short), False
        if target.ndim == 1 or target.shape[0] == short:
            yield target.reshape(short, rows).T, True


def _shift(sequence: Tensor, table: Tensor, ignored: int) -> int | None:
    """By how many places the targets lie ahead, from 1; None if they are not later tokens of the sequence."""
    kept = table != ignored
    for shift in range(1, _AHEAD + 1):
        wide = min(sequence.shape[1] - shift, table.shape[1])
        following, asked, counted = sequence[:, shift : shift + wide], table[:, :wide], kept[:, :wide]
        if 2 * int(counted.sum()) > int(kept.sum()) and bool((following == asked)[counted].all()):
            varied = bool((following != sequence[:, :wide])[counted].any())
            return shift if varied else None
    return None


def _from_first(term: Term, long: int, short: int) -> bool:
    """Whether the predictions begin with that for the first token: none, or only the last ones, were cut off."""
    node = term.given.grad_fn if term.given is not None else None
    for _ in range(_BACK if short < long else 0):
        if node is None:
            return False
        kind = operation(node)
        if kind == "Slice":
            sizes, axis = saved(node, "self_sym_sizes"), saved(node, "dim")
            if saved(node, "start") != 0 or sizes is None or axis is None:
                return False
            if sizes[axis] == long:
                return True
        elif kind not in _SHAPING:
            return False
        node = _carrying(node)
    return short == long


def _wrapped(sequence: Tensor, table: Tensor, ignored: int) -> bool:
    """Whether the last target of each row is its first token: in one row by chance, but not in all."""
    last = table[:, -1]
    return table.shape == sequence.shape and bool(((last == sequence[:, 0]) & (last != ignored)).all())


def _stepwise(term: Term, table: Tensor) -> bool | None:  # noqa: PLR0911  one walk, one end a return
    """Whether the rows of the predictions are laid out as (T, B); None if that cannot be seen."""
    given, (rows, long) = term.given, table.shape
    if given is None or given.ndim != 2 or len(given) != table.numel() or rows == long:
        return None
    node, turned = given.grad_fn, False
    for _ in range(_BACK):
        if node is None:
            return None
        kind = operation(node)
        if kind in _RECURRENT:  # steps come first in what torch's own code returns; a transposition follows where they do not
            return not turned
        if kind in ("Cat", "Stack"):
            parts = sum(each is not None for each, _ in node.next_functions)
            return not turned if parts == long and saved(node, "dim") == 0 else None
        if kind == "Transpose":
            if {saved(node, "dim0"), saved(node, "dim1")} != {0, 1}:
                return None
            turned = not turned
        elif kind not in _PASSING:
            return None
        node = _carrying(node)
    return None


def _carrying(node: Node) -> Node | None:
    """The input of an operation that holds the rows: not a weight, not a bias."""
    inner = [each for each, _ in node.next_functions if each is not None]
    carried = [each for each in inner if operation(each) not in ("AccumulateGrad", "T", "Expand")]
    return carried[0] if len(carried) == 1 else None
