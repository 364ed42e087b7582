"""Weights of the loss itself: parameters that the loss adds to what the model returns, and that nobody trains."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Final

import torch
from torch import Tensor, nn

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, Stepping, reader
from lettrine.torch.capture.outputs import tensors_in
from lettrine.torch.capture.sharding import gathers
from lettrine.torch.graph.losses.comparisons import readable
from lettrine.torch.graph.reading import Node, operation
from lettrine.torch.graph.walks import NODES, fresh_random, leaves, walk
from lettrine.torch.private import version

_READ: Final = 4_096  # values of a parameter that are compared from look to look
_ACTIVATIONS: Final = frozenset("Relu Tanh Gelu Silu LeakyRelu Elu Selu Mish Hardtanh Hardswish Prelu".split())  # noqa: SIM905
_LAYERS: Final = frozenset("Addmm Mm Bmm Convolution".split())  # noqa: SIM905


@reader
class LossWeights:
    """Evidence "loss weights": parameters that enter the loss after the model's output, that belong neither to the model nor to
    an optimiser, that had a gradient at each step looked at, and never changed.

    figures: count, values, steps (between the first and the last look). words: drawn (the distribution of a fresh matrix;
    "equal values" if all have one value each; otherwise ""), shapes, function (the first that took one of them).

    Such are adaptive softmaxes, proxies and prototypes of classes, transitions between tags, learned weights of several terms.
    Not reported: what another optimiser or a line by hand changes; a network that judges the output, with activations between
    the output and its weights; one that makes targets of other inputs; a single 1, by which penalties of gradients multiply.
    """

    def __init__(self) -> None:
        # by id: the parameter, its version, its first values, the step at which it was first seen, the function that took it
        self._met: dict[int, tuple[weakref.ref[Tensor], int, Tensor, int, str]] = {}
        self._changed: set[int] = set()
        self._idle: set[int] = set()  # without a gradient at some step
        self._last = -1
        self._now: list[Tensor] = []

    def look(self, look: Look) -> Iterable[Evidence]:
        """Note the parameters that the loss adds."""
        if look.loss is None or look.loss.grad_fn is None or not (look.roots and look.optimisers) or gathers(look.model):
            return ()
        self._last = look.step
        own = look.parameters.keys() | look.held
        outputs = {each.grad_fn for root in look.roots for each in tensors_in(root.output) if each.grad_fn is not None}
        found = [leaf for leaf in _added(look.loss.grad_fn, outputs) if id(leaf) not in own]
        for leaf in found:
            known = self._met.get(id(leaf))
            if known is None or known[0]() is not leaf:
                takers = (call.name for call in look.calls if any(given is leaf for given in (*call.args, *call.kwargs.values())))
                self._met[id(leaf)] = weakref.ref(leaf), version(leaf), _values(leaf).clone(), look.step, next(takers, "")
        self._now = found
        return ()

    def stepping(self, stepping: Stepping) -> Iterable[Evidence]:
        """Another optimiser may hold them; and by now they have their gradients."""
        self._changed |= self._met.keys() & stepping.held
        self._idle |= {id(leaf) for leaf in self._now if leaf.grad is None or not bool(leaf.grad.any())}
        self._now = []
        return ()

    def finish(self) -> Iterable[Evidence]:
        """Those that are as they were."""
        kept: list[Tensor] = []
        since, taker = self._last, ""
        for key, (reference, then, values, step, function) in self._met.items():
            leaf = reference()
            same = leaf is not None and version(leaf) == then and torch.equal(_values(leaf), values)
            if leaf is not None and same and key not in self._changed | self._idle:
                kept.append(leaf)
                since, taker = min(since, step), taker or function
        if kept:
            matrices = [leaf for leaf in kept if leaf.ndim > 1]
            equal = all(bool((leaf == leaf.reshape(-1)[0]).all()) for leaf in kept)
            fresh = "equal values" if equal else next(filter(None, map(fresh_random, matrices)), "")
            shapes = ", ".join(str(tuple(leaf.shape)) for leaf in kept[:4]) + (", ..." if len(kept) > 4 else "")
            figures = {"count": len(kept), "values": sum(leaf.numel() for leaf in kept), "steps": self._last - since}
            words = {"drawn": fresh, "shapes": shapes, "function": taker}
            figured = {name: float(value) for name, value in figures.items()}
            yield Evidence("loss weights", (), (since, self._last), figured, words)


def _added(loss: Node, outputs: set[Node]) -> list[Tensor]:
    """The parameters that meet the outputs, or what was made of them, on the way to the loss."""
    nodes = _between(loss, outputs)
    reaching, activated = set[Node](), set[Node]()  # the nodes that the outputs went into; those of them behind an activation
    for node in reversed(nodes):  # from the outputs on: each node after all that it was made of
        before = [each for each, _ in node.next_functions if each in outputs or each in reaching]
        if before:
            reaching.add(node)
            if any(each in activated or (each not in outputs and operation(each) in _ACTIVATIONS) for each in before):
                activated.add(node)
    found: dict[int, Tensor] = {}
    seen, left = set[Node](), NODES
    for node in nodes:
        for branch, _ in node.next_functions if node in reaching else ():
            if branch is None or branch in reaching or branch in outputs or branch in seen or left <= 0:
                continue
            seen.add(branch)
            part = walk([branch], left)
            left -= len(part)
            ends = [each for each in leaves(part) if isinstance(each, nn.Parameter) and readable(each)]
            ends = [each for each in ends if not (each.numel() == 1 and bool(each == 1))]
            matrices = [each for each in ends if each.ndim > 1]
            if len(matrices) > 1 or (matrices and not {operation(each) for each in part}.isdisjoint(_LAYERS | _ACTIVATIONS)):
                continue  # a network of its own, of other inputs
            if matrices and node in activated:
                return []  # a network that judges the output
            found |= {id(each): each for each in ends}
    return list(found.values())


def _between(loss: Node, outputs: set[Node]) -> list[Node]:
    """The nodes from the loss to the outputs, without these: each before all that it was made of, at most NODES."""
    order, done, waiting = list[Node](), set[Node](), [(loss, False)]
    while waiting and len(order) < NODES:
        node, left = waiting.pop()
        if left:
            order.append(node)
        elif node not in done and node not in outputs:
            done.add(node)
            waiting.append((node, True))
            waiting += [(each, False) for each, _ in node.next_functions if each is not None]
    return order[::-1]


def _values(leaf: Tensor) -> Tensor:
    return leaf.detach().reshape(-1)[:_READ]
