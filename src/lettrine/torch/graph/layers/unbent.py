"""Evidence "unbent": a network of convolutions and linear layers whose graph holds no operation that is not linear.

figures: "layers": weights that are multiplied with, one after another or beside each other; "looks" at which it was so.

Batch norm counts as linear: in training it scales by what the batch shows, and later by constants. One look at another operation
between outputs and leaves is enough for silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar, Final

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.reading import ADDING, operation
from lettrine.torch.graph.walks import NODES, walk

_WEIGHTS: Final = frozenset(("Convolution", "Addmm", "Mm"))
_LINEAR: Final = ADDING | _WEIGHTS | {"NativeBatchNorm", "CudnnBatchNorm", "ConstantPadNd", "AccumulateGrad"}


@reader
class Unbent:
    """Follows the outputs of the model back to its leaves."""

    whole: ClassVar[bool] = True

    def __init__(self) -> None:
        self._layers = self._looks = self._last = 0
        self._bent = False

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        nodes = [] if self._bent else walk([tensor.grad_fn for root in look.roots for tensor in root.outputs])
        if not nodes:
            return ()
        names = [operation(node) for node in nodes]
        self._bent = len(nodes) >= NODES or not _LINEAR.issuperset(names) or "Convolution" not in names
        self._layers, self._looks, self._last = sum(name in _WEIGHTS for name in names), self._looks + 1, look.step
        return ()

    def finish(self) -> Iterator[Evidence]:
        """The layers, if nothing bent was ever seen between them."""
        if self._looks and not self._bent:
            yield Evidence("unbent", (), (0, self._last), {"layers": float(self._layers), "looks": float(self._looks)})
