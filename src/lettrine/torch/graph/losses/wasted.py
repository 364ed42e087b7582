"""Evidence "wasted term": a term of the loss that trains nothing, since it reaches only weights that are not stepped with it.

Such as what a judge says of an output that was detached, in the pass that trains the maker: the gradient of the term goes to the
judge, and is cleared before the next backward pass.

where: the module whose parameters were stepped, the one whose parameters the term reaches; "" where they have none in common.
figures: "looks", at all of which it was so. words: "function" that made the term, "" if it is none of torch's losses.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar, Final, TypeAlias

from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, Stepping, reader
from lettrine.torch.graph.losses.terms import FUNCTIONS, OTHERS
from lettrine.torch.graph.reading import Node, operation
from lettrine.torch.graph.steps.stepping import nothing
from lettrine.torch.graph.walks import leaves, walk

_Kind: TypeAlias = tuple[str, frozenset[int]]
"""Of a backward pass: the functions of its loss's terms, and what is stepped after it."""
_JOINING: Final = frozenset(("Add", "Sub", "Mul", "Div", "Neg"))
_MOST: Final = 64  # nodes between the loss and its terms


@dataclass
class _Pass:
    """A backward pass, until the next one that follows a call of the model. terms: the parameters below each term, and the
    function that made it. stepped: parameters, by gradients of this pass. left: the gradients of those that were not stepped
    first; cleared: parameters whose gradients were others when they were stepped, such as those of a second pass.
    """

    terms: list[tuple[dict[int, Tensor], str]]
    stepped: set[int] = field(default_factory=set)
    left: dict[int, weakref.ref[Tensor]] | None = None
    cleared: set[int] = field(default_factory=set)


@reader
class Wasted:
    """Compares what the terms of a loss reach with what is stepped."""

    whole: ClassVar[bool] = False

    def __init__(self) -> None:
        self._pass: _Pass | None = None
        self._names: dict[int, str] = {}
        self._looks: dict[_Kind, int] = {}
        self._found: dict[_Kind, tuple[int, frozenset[int], str]] = {}  # looks, what the term reached, its function
        self._last = 0

    def look(self, look: Look) -> Iterable[Evidence]:
        """Note what the terms reach."""
        self._settle()
        if look.loss is None or look.loss.grad_fn is None or look.loss.numel() != 1 or len(look.optimisers) < 2:
            return ()
        self._last, self._names = look.step, look.parameters
        made = {call.result.grad_fn: call.name for call in look.outside if isinstance(call.result, Tensor)}
        terms = []
        for node in _terms(look.loss.grad_fn):
            below = {id(leaf): leaf for leaf in leaves(walk([node])) if leaf.requires_grad}
            name = made.get(node, "")
            terms.append((below, name if name in FUNCTIONS or name in OTHERS else ""))
        if len(terms) > 1:
            self._pass = _Pass(terms)
        return ()

    def stepping(self, stepping: Stepping) -> Iterable[Evidence]:
        """Note what is stepped."""
        done = self._pass
        if done is None:
            return ()
        held = {id(each): each for group in stepping.optimiser.param_groups for each in group["params"]}
        if done.left is None:
            below = {key: each for parameters, _ in done.terms for key, each in parameters.items() if key not in held}
            done.left = {key: weakref.ref(each.grad) for key, each in below.items() if each.grad is not None}
        done.cleared |= {key for key, each in held.items() if key in done.left and done.left[key]() is not each.grad}
        done.stepped |= held.keys() - done.cleared
        return ()

    def finish(self) -> Iterable[Evidence]:
        """Terms that were wasted at all looks."""
        for kind, (looks, reached, function) in self._found.items():
            names = [[self._names[each] for each in ids if each in self._names] for ids in (kind[1], reached)]
            if looks == self._looks[kind] and all(names):
                where = tuple(map(_common, names))
                yield Evidence("wasted term", where, (0, self._last), {"looks": float(looks)}, {"function": function})

    def _settle(self) -> None:
        """The next backward pass begins: whatever was to be stepped has been."""
        done, self._pass = self._pass, None
        if done is None or not done.stepped:
            return
        kind = " + ".join(name for _, name in done.terms), frozenset(done.stepped)
        self._looks[kind] = self._looks.get(kind, 0) + 1
        used = any(below.keys() & done.stepped for below, _ in done.terms)
        for below, function in done.terms:
            gone = done.cleared.issuperset(below) or nothing(list(below.values()))
            if used and below and not below.keys() & done.stepped and gone:
                looks = self._found[kind][0] if kind in self._found else 0
                self._found[kind] = looks + 1, frozenset(below), function
                break


def _terms(node: Node) -> list[Node]:
    """The terms of a sum, whatever numbers they are multiplied by."""
    waiting, found, seen = [node], list[Node](), 0
    while waiting:
        place = waiting.pop(0)
        seen += 1
        below = [each for each, _ in place.next_functions if each is not None]
        if operation(place) in _JOINING and below and seen < _MOST:
            waiting += below
        else:
            found.append(place)
    return found


def _common(names: list[str]) -> str:
    """The module that holds all of these parameters; "" if only the model does."""
    paths = [name.split(".")[:-1] for name in names]
    same = [parts[0] for parts in zip(*paths, strict=False) if len(set(parts)) == 1]
    length = next((place for place, parts in enumerate(zip(*paths, strict=False)) if len(set(parts)) > 1), len(same))
    return ".".join(same[:length])
