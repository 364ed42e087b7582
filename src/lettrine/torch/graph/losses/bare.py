"""Evidence "bare term": a term of the loss that has no graph, and so trains nothing.

Either it was computed with its graph and then added as a plain number, by item(), float() or detach(); or it was made of answers
by an operation that has no gradient, such as argmax; or it is a loss function of two tensors neither of which has a graph, while
nothing in the model is frozen: answers that were detached, or the wrong ones.

figures: "looks" that showed it; "all" looks; "lone": looks at which no backward pass of the same step was taken of
that term itself. words: "function" that made it; "cut": the operation without a gradient, "" for a plain number; "apart": "yes"
for two tensors without a graph: "all" are then the looks at which this line of the code was run.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import CodeType
from typing import Any, ClassVar, Final, TypeAlias

from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.functions import FunctionCall
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.losses.comparisons import LOSSES
from lettrine.torch.graph.reading import Node

_ADDING: Final = frozenset("add __add__ __radd__ add_ __iadd__ sub __sub__".split())  # noqa: SIM905
_JOINING: Final = _ADDING | frozenset("mul __mul__ __rmul__ div __truediv__".split())  # noqa: SIM905
_ROUND: Final = 64  # a loss is a whole number of such parts once in 100,000 times, a factor or a reward often
_CUTTING: Final = frozenset("argmax argmin argsort round sign floor ceil gt ge lt le eq ne __gt__ __ge__ __lt__ __le__".split())  # noqa: SIM905

Site: TypeAlias = tuple[CodeType, int]


@reader
class Bare:
    """Finds terms of a loss that have lost their graph."""

    whole: ClassVar[bool] = False

    def __init__(self) -> None:
        self._looks = self._bare = self._lone = self._last = 0
        self._function = self._cut = ""
        self._frozen = False
        self._waiting: list[float] = []  # terms of the step at hand that may still have a backward pass of their own
        self._done: set[float] = set()  # losses of that step
        self._lines: dict[Site, list[int]] = {}  # where a loss function's term is added: looks without a graph, and all
        self._terms: dict[Site, str] = {}

    def look(self, look: Look) -> Iterable[Evidence]:
        """Compare the numbers that are added with the losses computed before."""
        if look.loss is None or look.loss.grad_fn is None or look.loss.numel() != 1:
            return ()
        if look.step != self._last:
            self._settle()
        self._looks, self._last = self._looks + 1, look.step
        for site, function in _added(look.outside).items():
            counts = self._lines.setdefault(site, [0, 0])
            counts[0] += bool(function)
            counts[1] += 1
            self._terms[site] = function or self._terms.get(site, "")
        self._frozen |= not all(each.requires_grad for each in look.named.values())
        own = float(look.loss.detach())
        self._done.add(own)
        self._waiting = [value for value in self._waiting if value != own]
        found = _as_a_number(look) or _cut(look.outside)
        if found is not None:
            value, self._function, self._cut = found
            self._bare += 1
            if value not in self._done:
                self._waiting.append(value)
        return ()

    def _settle(self) -> None:
        """The step is over."""
        self._lone += len(self._waiting)
        self._waiting, self._done = [], set()

    def finish(self) -> Iterable[Evidence]:
        """How often it was so."""
        self._settle()
        if self._bare:
            figures = {"looks": float(self._bare), "all": float(self._looks), "lone": float(self._lone)}
            words = {"function": self._function, "cut": self._cut}
            yield Evidence("bare term", (), (0, self._last), figures, words)
        for site, (bare, every) in () if self._frozen else self._lines.items():
            if bare:
                figures = {"looks": float(bare), "all": float(every), "lone": float(bare)}
                words = {"function": self._terms[site], "cut": "", "apart": "yes"}
                yield Evidence("bare term", (str(site[1]),), (0, self._last), figures, words)


def _added(calls: Iterable[FunctionCall]) -> dict[Site, str]:
    """The lines at which something is added to a number with a graph: the loss function that made it without a graph, or ""."""
    made: dict[int, tuple[Tensor, str]] = {}  # by id, kept alive here: losses without a graph, and their products with numbers
    found: dict[Site, str] = {}
    for call in calls:
        tensors = [each for each in call.args if isinstance(each, Tensor)]
        bare = next((made[id(each)][1] for each in tensors if id(each) in made), "")
        if call.name in _ADDING and call.site is not None and any(each.requires_grad and each.numel() == 1 for each in tensors):
            found[call.site] = bare
        result = call.result
        if not isinstance(result, Tensor) or result.requires_grad or result.numel() != 1:
            continue
        if call.name in LOSSES and len(tensors) > 1:
            made[id(result)] = result, call.name
        elif bare and call.name in _JOINING:
            made[id(result)] = result, bare
    return found


def _as_a_number(look: Look) -> tuple[float, str, str] | None:
    """A loss computed with its graph, and its value joined to the loss without it."""
    nodes: set[Node] | None = None
    computed: list[tuple[float, Tensor, str]] = []
    for call in look.outside:
        for value in map(_number, call.args) if _joins(call) else ():
            for known, tensor, name in computed if value else ():
                if known == value:
                    nodes = set(look.nodes) if nodes is None else nodes
                    if tensor.grad_fn not in (nodes or ()):
                        return value, name, ""
        result = call.result
        if isinstance(result, Tensor) and result.numel() == 1 and result.requires_grad and result.is_floating_point():
            computed.append((float(result.detach()), result, call.name))
    return None


def _joins(call: FunctionCall) -> bool:
    """Whether a number among the arguments may be a term. Multiplied with what has a graph, it is a weight, such as the price of
    entropy.
    """
    graph = any(isinstance(each, Tensor) and each.requires_grad for each in call.args)
    return call.name in _ADDING or (call.name in _JOINING and not graph)


def _cut(calls: Iterable[FunctionCall]) -> tuple[float, str, str] | None:
    """A number that was made of answers by an operation without a gradient, and then added to a loss."""
    made: dict[int, tuple[Tensor, str]] = {}  # by id, kept alive here: what came of such operations
    for call in calls:
        tensors = [each for each in call.args if isinstance(each, Tensor)]
        cut = next((made[id(each)][1] for each in tensors if id(each) in made), "")
        if call.name in _ADDING and cut and any(each.requires_grad and each.numel() == 1 for each in tensors):
            value = next(each for each in tensors if id(each) in made)
            if value.numel() == 1 and value.is_floating_point() and float(value):
                return float(value), call.name, cut
        result = call.result
        if not isinstance(result, Tensor) or result.requires_grad:
            continue
        if not cut and call.name in _CUTTING and any(each.requires_grad for each in tensors):
            cut = call.name.strip("_")
        if cut:
            made[id(result)] = result, cut
    return None


def _number(value: Any) -> float:
    """A number without a graph; 0 for anything else, and for a round number: a sum of shares is 1, and so is a reward."""
    bare = isinstance(value, Tensor) and value.numel() == 1 and not value.requires_grad and value.is_floating_point()
    number = float(value) if bare or type(value) is float else 0.0
    return 0.0 if (number * _ROUND).is_integer() else number
