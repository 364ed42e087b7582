"""Evidence "bent sum": a logarithm or a hinge is taken once, of a sum over the pairs or examples of a batch, instead of each.

where: (). words: "function", the name of what bends the sum; "of", "differences" of pairs, "distances" or "probabilities".
figures: "looks" that showed it; "rows" in the sum.

A ranking loss bends the difference of each pair: log(sigmoid(positive - negative)), max(0, margin + near - far). Bent once for
the whole batch, all pairs have the same weight, and it goes to 0 as soon as the sum is large. A sum over the tokens of one text
is no such sum: there the log-probability of the whole is what is compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.functions import FunctionCall
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.losses.comparisons import readable
from lettrine.torch.graph.losses.hinges import CUTS, cut_at_0
from lettrine.torch.graph.losses.overlaps import answers_of
from lettrine.torch.graph.makers import makers
from lettrine.torch.graph.reading import operation
from lettrine.torch.graph.walks import walk

_BENT: Final = frozenset(("log_sigmoid", "logsigmoid", "softplus", "log", *CUTS))
_SUMS: Final = frozenset(("sum", "mean"))
_NORMS: Final = frozenset("norm vector_norm linalg_norm linalg_vector_norm dist sqrt".split())  # noqa: SIM905
_LESS: Final = frozenset("sub __sub__ rsub __rsub__".split())  # noqa: SIM905
_PASSING: Final = _LESS | frozenset(
    "neg __neg__ negative add __add__ __radd__ mul __mul__ __rmul__ div __truediv__ squeeze view reshape sigmoid".split()  # noqa: SIM905
)
"""What may stand between a sum and what bends it, beside numbers alone."""
_WITHIN: Final = frozenset("sum mul __mul__ __rmul__ squeeze view reshape flatten".split())  # noqa: SIM905
"""What may stand between the difference of two vectors and the score of a pair."""
_POWERS: Final = frozenset("mul multiply __mul__ __rmul__ pow __pow__ square abs".split())  # noqa: SIM905
_LEAST: Final = 8  # rows
_BACK: Final = 6  # calls followed
_NODES: Final = 2_000  # of the graph, searched for logarithms of probabilities

Makers = Mapping[int, FunctionCall]


@reader
class BentSums:
    """Looks for functions of a sum over pairs."""

    def __init__(self) -> None:
        self._steps: list[int] = []
        self._last: tuple[str, str, int] = "", "", 0

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        bent = [call for call in look.outside if call.name in _BENT and isinstance(call.result, Tensor) and _single(call.result)]
        if look.loss is None or not bent:
            return ()
        made, nodes = look.once(makers), set(look.nodes)
        for call in bent:
            found = _of(call, made) if call.result.grad_fn in nodes else None
            if found is not None and not _of_a_sequence(found[1]):
                self._steps.append(look.step)
                self._last = call.name, found[0], len(found[1])
                break
        return ()

    def finish(self) -> Iterator[Evidence]:
        """What the looks showed."""
        if self._steps:
            function, of, rows = self._last
            figures = {"looks": float(len(self._steps)), "rows": float(rows)}
            yield Evidence("bent sum", (), (self._steps[0], self._steps[-1]), figures, {"function": function, "of": of})


def _of(call: FunctionCall, made: Makers) -> tuple[str, Tensor] | None:
    """What the sum is of, and its rows."""
    hinge = call.name in CUTS
    reduced = [] if hinge and not cut_at_0(call) else _reduced(call.given(0, "input"), made)
    rows: list[Tensor] = [each.given(0, "input") for each in reduced]
    if (
        not reduced
        or len(reduced) > 2
        or _of_one(rows, made)
        or len({(each.name, len(row)) for each, row in zip(reduced, rows, strict=True)}) > 1
    ):
        return None
    sums, two = reduced[0].name in _SUMS, len(reduced) == 2
    if call.name == "log" and not _sigmoid_before(call, made):
        return ("probabilities", rows[0]) if sums and not two and _picked(made.get(id(rows[0]))) else None
    if sums and (not hinge if two else _difference(rows[0], made)):
        return "differences", rows[0]
    return ("distances", rows[0]) if two and hinge and not sums and rows[0].ndim > 1 else None


def _of_one(rows: Sequence[Tensor], made: Makers) -> bool:
    """Whether the rows are the numbers of a single vector: products or powers that no sum has made the score of a pair."""
    waiting = [each for each in rows if each.ndim == 1]
    for _ in range(2 * _BACK):
        call = made.get(id(waiting.pop())) if waiting else None
        if call is not None and (call.name in _POWERS or call.name in _NORMS):
            return True
        if call is not None and call.name in _PASSING:
            waiting += [each for each in call.args if isinstance(each, Tensor) and each.requires_grad and each.ndim == 1]
    return False


def _picked(product: FunctionCall | None) -> bool:
    """Whether labels of 0 and 1 pick probabilities."""
    pair = None if product is None else answers_of(product)
    return pair is not None and operation(pair[0].grad_fn) in ("Softmax", "Sigmoid")


def _reduced(value: object, made: Makers) -> list[FunctionCall]:
    """The sums and norms over rows that a single number is made of by adding them and scaling; [] if of anything else."""
    waiting, found = [value], list[FunctionCall]()
    for _ in range(2 * _BACK):
        if not waiting:
            return found
        each = waiting.pop(0)
        call = made.get(id(each))
        if not isinstance(each, Tensor) or not _single(each) or call is None:
            return []
        whole = call.given(0, "input")
        if call.name in _SUMS | _NORMS and isinstance(whole, Tensor) and whole.ndim and len(whole) >= _LEAST:
            if not whole.requires_grad or not readable(whole):
                return []
            found.append(call)
        elif call.name == "sqrt" or call.name in _PASSING:
            waiting += [one for one in call.args if isinstance(one, Tensor) and one.requires_grad]
        else:
            return []
    return []


def _difference(value: object, made: Makers) -> bool:
    """Whether the score of each row is the difference of two that the network made, or a product with such a difference."""
    waiting = [value]
    for _ in range(_BACK):
        call = made.get(id(waiting.pop(0))) if waiting else None
        if call is None:
            continue
        tensors = [each for each in call.args if isinstance(each, Tensor) and each.requires_grad]
        if call.name in _LESS and len(tensors) == 2 and tensors[0].shape == tensors[1].shape:
            return True
        if call.name in _WITHIN or call.name in ("neg", "__neg__"):
            waiting += tensors
    return False


def _sigmoid_before(call: FunctionCall, made: Makers) -> bool:
    before = made.get(id(call.given(0, "input")))
    while before is not None and before.name in ("add", "__add__", "__radd__", "clamp"):
        before = made.get(id(next((each for each in before.args if isinstance(each, Tensor)), None)))
    return before is not None and before.name == "sigmoid"


def _of_a_sequence(rows: Tensor) -> bool:
    """Whether the rows are log-probabilities, as those of the tokens of one text."""
    return any(operation(node) == "LogSoftmax" for node in walk([rows.grad_fn], _NODES))


def _single(value: Tensor) -> bool:
    return value.numel() == 1
