"""Evidence "trained weights": log-probabilities of drawn actions that are multiplied by what other weights are trained to give.

In a policy's loss each log-probability is weighted by how much better its action turned out. If that weight is computed from a
value network and not detached, the policy's loss trains the value network too: to be wrong in the direction that pays.

where: parameters behind the weight, and not behind the log-probabilities. figures: "looks" at which it was so, and "drawn" at
which an action was drawn at all.

Only weights with an operation of a layer behind them count: a temperature or another single parameter may be meant. So may a
weight that is made of the same log-probabilities (a focal loss).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.reading import VIEWS, Node, operation
from lettrine.torch.graph.walks import leaves, walk

_DRAW: Final = "multinomial"  # the function that torch.distributions.Categorical calls as well
_HANDED_ON: Final = VIEWS | {"Neg", "Sum", "Mean", "Stack", "Cat", "Mul", "Div"}
_PICKS: Final = frozenset(("Gather", "Index"))
_LOGS: Final = frozenset(("LogSoftmax", "Logsumexp", "Log"))
_LAYERS: Final = frozenset(("Addmm", "Mm", "Bmm", "Convolution"))
_NEAR: Final = 8  # operations between a product and the pick of an action
_WEIGHT: Final = 2_000  # nodes read behind a weight


@reader
class Advantages:
    """Looks at the products in the graph of the loss."""

    def __init__(self) -> None:
        self._found: Counter[str] = Counter()
        self._looks = self._drawn = self._last = 0

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        if look.loss is None or not any(call.name == _DRAW for call in look.calls):
            return ()
        self._drawn, self._last = self._drawn + 1, look.step
        names: set[str] = set()
        for node in walk([look.loss.grad_fn]):
            sides = [following for following, _ in node.next_functions] if operation(node) == "Mul" else []
            if len(sides) == 2 and None not in sides:
                for log, weight in (sides, sides[::-1]):
                    names |= _trained(look, log, weight) if _picks(log) else set()
        if names:
            self._looks += 1
            self._found.update(names)
        return ()

    def finish(self) -> Iterator[Evidence]:
        """The parameters, if there are any."""
        if self._looks:
            figures = {"looks": float(self._looks), "drawn": float(self._drawn)}
            yield Evidence("trained weights", tuple(self._found), (0, self._last), figures)


def _picks(node: Node) -> bool:
    """Whether a log-probability of a picked action is handed on here."""
    near, place = [node], 0
    while place < len(near) and place < _NEAR:
        here, place = near[place], place + 1
        name = operation(here)
        below = set(map(operation, walk([here], _NEAR)))
        if (name in _PICKS and not _LOGS.isdisjoint(below)) or (name == "Log" and not _PICKS.isdisjoint(below)):
            return True
        if name in _HANDED_ON:
            near += [following for following, _ in here.next_functions if following is not None][:2]  # of a stack, all are alike
    return False


def _trained(look: Look, log: Node, weight: Node) -> set[str]:
    """The names of parameters behind a weight alone."""
    behind = walk([weight], _WEIGHT)
    if (
        len(behind) == _WEIGHT
        or _LAYERS.isdisjoint(map(operation, behind))
        or any(operation(each) == "Gather" for each in behind)
    ):
        return set()
    of_log = {id(leaf) for leaf in leaves(walk([log], _WEIGHT))}
    return {look.parameters[id(leaf)] for leaf in leaves(behind) if id(leaf) not in of_log and id(leaf) in look.parameters}
