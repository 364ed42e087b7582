"""Evidence "trained weights": log-probabilities of drawn actions that are multiplied by what other weights are trained to give.

In a policy's loss each log-probability is weighted by how much better its action turned out. If that weight is computed from a
value network and not detached, the policy's loss trains the value network too: to be wrong in the direction that pays.

where: parameters behind the weight, and not behind the log-probabilities, that one optimiser steps with the policy's. figures:
"looks" at which it was so, and "drawn" at which an action was drawn at all.

Only weights with an operation of a layer behind them count: a temperature or another single parameter may be meant. So may a
weight that is made of the same log-probabilities (a focal loss).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, Stepping, reader
from lettrine.torch.graph.reading import VIEWS, Node, operation
from lettrine.torch.graph.walks import leaves, walk

DRAW: Final = "multinomial"  # the function that torch.distributions.Categorical calls as well
_HANDED_ON: Final = VIEWS | {"Neg", "Sum", "Mean", "Stack", "Cat", "Mul", "Div"}
_PICKS: Final = frozenset(("Gather", "Index"))
_LOGS: Final = frozenset(("LogSoftmax", "Logsumexp", "Log"))
_SHARES: Final = _LOGS | {"Softmax", "Sigmoid", "Exp"}
_LAYERS: Final = frozenset(("Addmm", "Mm", "Bmm", "Convolution"))
_NEAR: Final = 8  # operations between a product and the pick of an action
_WEIGHT: Final = 2_000  # nodes read behind a weight


@reader
class Advantages:
    """Looks at the products in the graph of the loss."""

    def __init__(self) -> None:
        self._found: Counter[str] = Counter()
        self._waiting: dict[str, Tensor] = {}  # parameters that the last loss reaches in this way, until they are stepped
        self._policy: set[int] = set()  # ids of the parameters behind its log-probabilities
        self._both: set[int] = set()  # ids of the parameters that this loss reaches in another way as well
        self._steps = set[int]()
        self._drawn = self._last = 0

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        if look.loss is None or not any(call.name == DRAW for call in look.calls):
            return ()
        self._drawn, self._last = self._drawn + (look.step != self._last or not self._drawn), look.step
        self._waiting, self._policy = {}, set()
        products = set[Node]()
        for node in look.nodes:
            sides = [following for following, _ in node.next_functions] if operation(node) == "Mul" else []
            if len(sides) == 2 and None not in sides:
                for log, weight in (sides, sides[::-1]):
                    if picks(log) and (trained := _trained(look, log, weight)):
                        self._waiting |= trained
                        products.add(node)
                        self._policy |= {id(leaf) for leaf in leaves(walk([log], _WEIGHT))}
        self._waiting = {name: self._waiting[name] for name in look.parameters.values() if name in self._waiting}  # in its order
        self._both = {id(leaf) for leaf in leaves(_beside(look.loss.grad_fn, products))} if products else set()
        return ()

    def stepping(self, stepping: Stepping) -> Iterable[Evidence]:
        """The gradients of the last loss are used.

        Where the critic has an optimiser and a loss of its own, its gradients may be cleared before that: it is not seen here.
        """
        held = {id(each) for group in stepping.optimiser.param_groups for each in group["params"]}
        joined = not held.isdisjoint(self._policy)
        names = [name for name, each in self._waiting.items() if id(each) in held and (joined or id(each) in self._both)]
        if names and stepping.step == self._last:
            self._steps.add(stepping.step)
            self._found.update(names)
            self._waiting = {name: each for name, each in self._waiting.items() if name not in names}
        return ()

    def finish(self) -> Iterator[Evidence]:
        """The parameters, if there are any."""
        if self._steps:
            figures = {"looks": float(len(self._steps)), "drawn": float(self._drawn)}
            yield Evidence("trained weights", tuple(self._found), (0, self._last), figures)


def _beside(start: Node, products: set[Node]) -> list[Node]:
    """The nodes that a loss reaches without going through these."""
    waiting, found = [start], dict[Node, None]()
    while waiting and len(found) < _WEIGHT:
        node = waiting.pop()
        if node is not None and node not in found and node not in products:
            found[node] = None
            waiting += [following for following, _ in node.next_functions]
    return list(found)


def picks(node: Node) -> bool:
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


def _trained(look: Look, log: Node, weight: Node) -> dict[str, Tensor]:
    """The parameters behind a weight alone, by name."""
    behind = walk([weight], _WEIGHT)
    operations = set(map(operation, behind))
    # a pick of a class is a value (of an action) where it is not of probabilities, as in a mixture of policies
    shares = "Gather" in operations and not operations.isdisjoint(_SHARES)
    if len(behind) == _WEIGHT or _LAYERS.isdisjoint(operations) or shares:
        return {}
    of_log = {id(leaf) for leaf in leaves(walk([log], _WEIGHT))}
    return {look.parameters[id(leaf)]: leaf for leaf in leaves(behind) if id(leaf) not in of_log and id(leaf) in look.parameters}
