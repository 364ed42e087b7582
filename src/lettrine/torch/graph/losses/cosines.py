"""Evidence "cosines": classes are told apart by cosines, products of vectors of length 1, times a scale.

where: (). figures: "classes"; "scale" at the last look, and "first" at the first one; "looks"; "value", the loss at the last
look.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.reading import Node, operation
from lettrine.torch.private import saved, saves_elsewhere

_CLASSES: Final = 3  # with two, a small scale leaves more of the loss to be gained
_ROWS: Final = 256
_BACK: Final = 6  # operations between the product and the loss
_EXACT: Final = 1e-3  # relative: lengths that were made equal, and logits that are nothing but cosines


@reader
class Cosines:
    """Measures the scale of logits that are cosines."""

    def __init__(self) -> None:
        self._scales: list[float] = []
        self._steps: list[int] = []
        self._classes, self._value = 0, 0.0

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        for term in look.terms if not saves_elsewhere() else ():
            given = term.given
            if term.kind != "cross-entropy" or given is None or given.ndim != 2 or given.shape[1] < _CLASSES:
                continue
            scale = _scale(given)
            if scale > 0:
                self._scales.append(scale)
                self._steps.append(look.step)
                self._classes, self._value = given.shape[1], term.value
                break
        return ()

    def finish(self) -> Iterator[Evidence]:
        """The scales of all looks."""
        if self._scales:
            figures = {"classes": self._classes, "scale": self._scales[-1], "first": self._scales[0], "looks": len(self._scales)}
            told = {name: float(each) for name, each in figures.items()}
            yield Evidence("cosines", (), (self._steps[0], self._steps[-1]), {**told, "value": self._value})


def _scale(logits: Tensor) -> float:
    """The largest logit there can be, whatever the angles; 0 if logits (N, K) are no cosines times a number."""
    node = _product_below(logits.grad_fn)
    one, other = (saved(node, name) for name in ("self", "mat2")) if node is not None else (None, None)
    if not isinstance(one, Tensor) or not isinstance(other, Tensor) or one.ndim != 2 or other.ndim != 2:
        return 0.0
    one, other = one.detach()[:_ROWS].float(), other.detach().float()
    lengths = one.norm(dim=1), other.norm(dim=0)
    if any(len(each) < _CLASSES or bool((each / each.mean() - 1).abs().max() > _EXACT) for each in lengths):
        return 0.0
    products, given = one @ other, logits.detach()[:_ROWS].float()
    if products.shape != given.shape or not bool(products.any()):
        return 0.0
    scale = float((given * products).sum() / products.square().sum())
    apart = float((given - scale * products).abs().max())
    return scale * float(lengths[0].mean() * lengths[1].mean()) if apart <= _EXACT * float(given.abs().max()) else 0.0


def _product_below(node: Node | None) -> Node | None:
    """The matrix product behind factors that are single numbers."""
    for _ in range(_BACK):
        if node is None or operation(node) == "Mm":
            return node
        inputs = [each for each, _ in node.next_functions]
        if operation(node) == "Mul" and None not in inputs:
            factor = saved(node, "self")
            node = inputs[isinstance(factor, Tensor) and factor.numel() == 1]
        elif operation(node) in ("Mul", "Div", "T", "Transpose"):
            node = next((each for each in inputs if each is not None), None)
        else:
            return None
    return None
