"""How much information random latent variables carry: variables drawn around the output of an encoder."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any, Final

import torch
from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.capture.outputs import tensors_in
from lettrine.torch.devices import double
from lettrine.torch.graph.reading import Node
from lettrine.torch.private import saved

_DRAWS: Final = frozenset(("randn_like", "randn", "normal", "normal_"))
_WIDEST: Final = 20.0  # no real log variance is larger
_AFFINE: Final = frozenset(("SubBackward0", "DivBackward0", "MulBackward0"))
_EXPANDED: Final = "ExpandBackward0"
_SPREADS: Final = {"ExpBackward0": "result", "SqrtBackward0": "result"}  # nodes that make a spread and have kept it


@reader
class Latents:
    """Evidence "latents": means and spreads that a model uses to draw noise, and that its loss draws towards a standard normal.

    figures: kl_first, kl (at the first and the last look: divergence from a standard normal in nats per example, summed over the
    latent variables, mean over examples), size (latent variables), looks, step (of the last look).

    Means and log variances are the last two tensors of one shape (B, Z) that the model returns, if it drew noise of that shape.
    Where it does not return them, they are found in the graph: noise times a spread, plus the output of a module whose square
    the loss contains.
    """

    def __init__(self) -> None:
        self._found: list[tuple[int, float, int]] = []

    def look(self, look: Look) -> Iterable[Evidence]:
        """Compute the divergence."""
        if look.place:
            return ()
        noise = [call.result for call in look.calls if call.name in _DRAWS and isinstance(call.result, Tensor)]
        if noise and (pair := _returned(look, noise) or _within(look, noise)) is not None:
            mean, spread = (double(each.detach()).flatten(1) for each in pair)
            kl = 0.5 * (mean.square() + spread.square() - 1 - 2 * spread.log()).sum(1)
            if bool(torch.isfinite(kl).all()):
                self._found.append((look.step, float(kl.mean()), mean.shape[1]))
        return ()

    def finish(self) -> Iterable[Evidence]:
        """The first and the last."""
        if len(self._found) > 1:
            (first, kl_first, size), (last, kl, _) = self._found[0], self._found[-1]
            figures = {
                "kl_first": kl_first,
                "kl": kl,
                "size": float(size),
                "looks": float(len(self._found)),
                "step": float(last),
            }
            yield Evidence("latents", (), (first, last), figures)


def _returned(look: Look, noise: list[Tensor]) -> tuple[Tensor, Tensor] | None:
    """Mean and spread, if the model returns its means and log variances."""
    drawn = {tuple(each.shape) for each in noise}
    for root in look.roots:
        pairs = [each for each in tensors_in(root.output) if each.ndim == 2 and each.requires_grad and tuple(each.shape) in drawn]
        for mean, log_variance in pairwise(pairs):
            if mean.shape == log_variance.shape and float(log_variance.abs().max()) < _WIDEST:
                return mean, torch.exp(double(log_variance.detach()) / 2)
    return None


def _within(look: Look, noise: list[Tensor]) -> tuple[Tensor, Tensor] | None:
    """Mean and spread of noise that the graph of the loss contains."""
    if look.loss is None or not look.whole:
        return None
    places = {each.data_ptr(): each for each in noise if each.ndim > 1 and not each.requires_grad}
    nodes = look.nodes
    takers: dict[tuple[Node, int], list[Node]] = {}
    for node in nodes:
        for edge in _below(node) if node.name() != _EXPANDED else ():
            takers.setdefault(edge, []).append(node)
    for node in nodes:
        if node.name() != "MulBackward0":
            continue
        drawn = next(
            (places[key] for each in (saved(node, "self"), saved(node, "other")) if (key := _place(each)) in places), None
        )
        below = _below(node)
        if drawn is None or len(below) != 1:
            continue
        spread = saved(below[0][0], _SPREADS.get(below[0][0].name(), ""))
        for taker in takers.get((node, 0), ()):
            others = [edge for edge in _below(taker) if edge[0] is not node]
            if taker.name() != "AddBackward0" or len(others) != 1 or not _squared(others[0], takers):
                continue
            mean = _value(look, others[0])
            if isinstance(spread, Tensor) and mean is not None and mean.shape == spread.shape == drawn.shape:
                return mean, spread
    return None


def _below(node: Node) -> list[tuple[Node, int]]:
    """The edges from a node down, past what only repeats a tensor."""
    found = []
    for edge in node.next_functions:
        while edge[0] is not None and edge[0].name() == _EXPANDED:
            edge = edge[0].next_functions[0]  # noqa: PLW2901
        if edge[0] is not None:
            found.append(edge)
    return found


def _place(tensor: Any) -> int:
    return tensor.data_ptr() if isinstance(tensor, Tensor) else -1


def _squared(edge: tuple[Node, int], takers: dict[tuple[Node, int], list[Node]], depth: int = 3) -> bool:
    """Whether this is squared, at most less a constant or divided by one: the divergence from a normal distribution has that."""
    for taker in takers.get(edge, ()):
        below = _below(taker)
        if taker.name() == "PowBackward0" or (taker.name() == "MulBackward0" and below == [edge, edge]):
            return True
        if depth and taker.name() in _AFFINE and len(below) == 1 and _squared((taker, 0), takers, depth - 1):
            return True
    return False


def _value(look: Look, edge: tuple[Node, int]) -> Tensor | None:
    """What this edge of the graph stands for: the output of a module, or one of its halves."""
    node, place = edge
    split = node.name() == "SplitBackward0"
    inner = node.next_functions[0][0] if split and node.next_functions else node
    for call in reversed(look.modules):
        output = call.output
        if isinstance(output, Tensor) and output.grad_fn is inner:
            if not split:
                return output
            dim = int(saved(node, "dim"))  # an axis counted from the end is kept as a number without a sign
            parts = torch.split(output.detach(), int(saved(node, "split_size")), dim - 2**64 if dim >= 2**63 else dim)
            return parts[place] if place < len(parts) else None
    return None
