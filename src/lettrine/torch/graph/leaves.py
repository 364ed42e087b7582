"""The leaves of a loss's graph: parameters that belong to no model or optimiser, and nodes of earlier steps."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any, Final

import torch
from torch import Tensor, nn

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, Stepping, reader
from lettrine.torch.capture.outputs import tensors_in
from lettrine.torch.capture.sharding import gathers
from lettrine.torch.graph.reading import Node
from lettrine.torch.graph.walks import fresh_random, hidden_parameters, leaves, walk
from lettrine.torch.private import sequence, version

_MANY: Final = 64  # names listed at most
_ANEW: Final = 3  # looks at which the parameters must be new each time


@reader
class Unheld:
    """Evidence "unheld": parameters in the graph of the model's outputs that belong neither to the model nor to an optimiser,
    and did not change during training.

    where: their names, if they lie in plain containers of the model's modules. figures: count, values, steps (between the first
    and the last look). words: drawn (the distribution of a fresh one, "" if none is fresh).

    Not reported: a parameter that another optimiser changes, and a parameter of a loss (after the output). If new ones are made
    at each step, drawn at random and not copied from the model's own, words["names"] is "" and words["made"] "anew".
    """

    def __init__(self) -> None:
        # the parameter, its version, and the step at which it was first seen
        self._met: dict[int, tuple[weakref.ref[Tensor], int, int]] = {}
        self._names: dict[int, str] = {}
        self._last = -1
        self._again: set[int] = set()  # those seen again in a later step
        self._held: frozenset[int] = frozenset()
        self._anew: dict[int, list[tuple[int, str]]] = {}  # by step: size and distribution of parameters not seen before

    def look(self, look: Look) -> Iterable[Evidence]:
        """Note the parameters that belong to no model or optimiser."""
        if look.place or not look.roots or gathers(look.model):
            return ()
        self._last = look.step
        if not look.whole:
            return ()
        own = look.parameters.keys() | look.held
        outputs = [tensor.grad_fn for root in look.roots for tensor in tensors_in(root.output)]
        for leaf in leaves(walk(outputs)):
            if isinstance(leaf, nn.Parameter) and id(leaf) not in own:
                known = self._met.get(id(leaf))
                if known is None or known[0]() is not leaf:
                    self._met[id(leaf)] = weakref.ref(leaf), version(leaf), look.step
                    if (drawn := fresh_random(leaf)) and not _copied(leaf, look.model):
                        self._anew.setdefault(look.step, []).append((leaf.numel(), drawn))
                elif known[2] < look.step:
                    self._again.add(id(leaf))
        if self._met and not self._names:
            self._names = hidden_parameters(look.model)
        return ()

    def stepping(self, stepping: Stepping) -> Iterable[Evidence]:
        """An optimiser may take parameters later."""
        self._held = stepping.held
        return ()

    def finish(self) -> Iterable[Evidence]:
        """Parameters that were seen again and had not changed."""
        found = []
        for key in self._again:
            reference, then, since = self._met[key]
            leaf = reference()
            if leaf is not None and version(leaf) == then and key not in self._held:
                found.append((key, leaf, since))
        if not found:
            yield from self._made_anew()
            return
        drawn = next(filter(None, (fresh_random(leaf) for _, leaf, _ in found)), "")
        keys = {key for key, _, _ in found}
        named = [name for key, name in self._names.items() if key in keys]
        if not named and not drawn:
            return  # most likely a network that was trained elsewhere
        first = min(since for _, _, since in found)
        count, values = len(named) or len(found), sum(leaf.numel() for key, leaf, _ in found if key in self._names or not named)
        figures = {"count": float(count), "values": float(values), "steps": float(self._last - first)}
        words = {"drawn": drawn, "names": ", ".join(named[:_MANY])}
        yield Evidence("unheld", (), (first, self._last), figures, words)

    def _made_anew(self) -> Iterable[Evidence]:
        steps = sorted(self._anew)
        if len(steps) < _ANEW or self._again:
            return
        newest = self._anew[steps[-1]]
        values = sum(count for count, _ in newest)
        figures = {"count": float(len(newest)), "values": float(values), "steps": float(steps[-1] - steps[0])}
        yield Evidence("unheld", (), (steps[0], steps[-1]), figures, {"drawn": newest[0][1], "names": "", "made": "anew"})


def _copied(leaf: Tensor, model: nn.Module) -> bool:
    """Whether a parameter is a copy of a model parameter, as an inner loop of meta-learning makes."""
    return any(each.shape == leaf.shape and torch.equal(each, leaf) for each in model.parameters())


@reader
class ReachingBack:
    """Evidence "reaching back": a loss whose graph still holds nodes made in earlier steps.

    figures: nodes_first, nodes (counted up to `walks.NODES`), back (number of looks in a row, up to the last, whose graph holds
    nodes from before the previous look), first, last (steps of the first and the last of these looks).

    Autograd numbers the nodes of a thread in the order they are made. A node with a number below that of the last loss was there
    before it. The loss that is handed over is checked too, if it has a graph: where[0] is then "handed over".
    """

    def __init__(self) -> None:
        self._handed: list[tuple[int, int]] = []
        self._handed_top = -1
        self._top = -1  # node number of the loss at the last look
        self._step = -1
        self._counts: list[tuple[int, int]] = []  # step and nodes of the looks in a row that reached back

    def look(self, look: Look) -> Iterable[Evidence]:
        """Count the graph."""
        if look.loss is None or look.place or look.step == self._step:
            return ()
        self._counts, self._top = _counted(look.step, look.nodes, self._counts, self._top)
        self._step = look.step
        return ()

    def handed(self, step: int, loss: Any) -> Iterable[Evidence]:
        """Count the graph of the loss handed over. A plain loss is the one looked at already."""
        if isinstance(loss, Tensor) and loss.grad_fn is not None and not (self._handed and self._handed[-1][0] == step):
            self._handed, self._handed_top = _counted(step, walk([loss.grad_fn]), self._handed, self._handed_top)
        return ()

    def finish(self) -> Iterable[Evidence]:
        """Whether all looks since a certain one reached back."""
        for where, counts in (((), self._counts), (("handed over",), self._handed)):
            if len(counts) < 2:
                continue
            (first, least), (last, most) = counts[0], counts[-1]
            figures = {"nodes_first": least, "nodes": most, "back": len(counts) - 1, "first": first, "last": last}
            yield Evidence("reaching back", where, (first, last), {name: float(value) for name, value in figures.items()})


def _counted(step: int, nodes: list[Node], counts: list[tuple[int, int]], top: int) -> tuple[list[tuple[int, int]], int]:
    """The looks in a row that reach back, including this one, and the number of its last node."""
    numbers = [number for node in nodes if not hasattr(node, "variable") and (number := sequence(node)) >= 0]
    back = top >= 0 and bool(numbers) and min(numbers) < top
    return [*(counts if back else ()), (step, len(nodes))], max(numbers, default=-1)
