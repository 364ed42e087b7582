"""Position of the norms in a network with skip connections: after each sum, or before each block."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.reading import Node, operation

_HANDED_ON = frozenset(("View", "Transpose", "NativeDropout", "Reshape", "Alias", "Clone", "ToCopy"))


@reader
class PostNorm:
    """Evidence "post-norm": layer norms that normalise a sum. One summand is the output of a block, the other the output of a
    norm.

    figures: post (number of such norms), norms (all layer norms in the graph). In pre-norm order, the input of a norm is a sum
    that also goes on to the next sum. The direct path then contains no norm.
    """

    whole: ClassVar[bool] = True

    def __init__(self) -> None:
        self._found: Evidence | None = None

    def look(self, look: Look) -> Iterable[Evidence]:
        """Count them, at the first look."""
        if self._found is None and look.loss is not None:
            norms = [node for node in look.nodes if operation(node) == "NativeLayerNorm"]
            post = sum(_sum_of_a_norm(node) for node in norms)
            self._found = Evidence("post-norm", (), (look.step, look.step), {"post": float(post), "norms": float(len(norms))})
        return ()

    def finish(self) -> Iterable[Evidence]:
        """The counts."""
        if self._found is not None and self._found.figure("post"):
            yield self._found


def _sum_of_a_norm(node: Node) -> bool:
    total = _behind(node.next_functions[0][0])
    if total is None or operation(total) != "Add":
        return False
    parts = [_behind(following) for following, _ in total.next_functions]
    return any(part is not None and operation(part) == "NativeLayerNorm" for part in parts)


def _behind(node: Node | None) -> Node | None:
    """The first operation behind those that only pass values on."""
    for _ in range(4):
        if node is None or operation(node) not in _HANDED_ON:
            return node
        node = node.next_functions[0][0]
    return node
