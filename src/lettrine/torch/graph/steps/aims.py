"""What the optimisers were made for: to make the loss larger, or to train something else than the network."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Stepping, reader
from lettrine.torch.graph.steps.stepping import nothing
from lettrine.torch.graph.walks import alike_rows, fresh_random

_MOST: Final = 12  # matrices that are read


@reader
class Maximised:
    """Evidence "maximised": at each step an optimiser was built with maximize=True: the loss should rise, or need not fall.

    figures: steps, those that were looked at.
    """

    def __init__(self) -> None:
        self._steps: list[tuple[int, bool]] = []

    def stepping(self, stepping: Stepping) -> Iterable[Evidence]:
        """Note how the optimisers were built."""
        groups = [group for each in stepping.optimisers for group in each.param_groups]
        self._steps.append((stepping.step, any(group.get("maximize", False) for group in groups)))
        return ()

    def finish(self) -> Iterable[Evidence]:
        """If it was so at all steps."""
        if self._steps and all(built for _, built in self._steps):
            figures = {"steps": float(len(self._steps))}
            yield Evidence("maximised", (), (self._steps[0][0], self._steps[-1][0]), figures)


@reader
class FixedNet:
    """Evidence "fixed net": trainable parameters that no optimiser holds, as they are before the first step.

    where: their names. figures: matrices (those of them that were read), trained (those of these that were trained before: their
    values are not a random draw, and their rows are more alike than those of one), held (tensors that the optimisers hold),
    reached (those that had a gradient at that step).
    """

    def __init__(self) -> None:
        self._done = False

    def stepping(self, stepping: Stepping) -> Iterable[Evidence]:
        """At the first step."""
        if self._done:
            return
        self._done = True
        held: list[Tensor] = [each for one in stepping.optimisers for group in one.param_groups for each in group["params"]]
        known = set(map(id, held))
        outside = {name: each for name, each in stepping.named.items() if each.requires_grad and id(each) not in known}
        matrices = [each for each in outside.values() if each.ndim > 1 and each.device.type != "meta"][:_MOST]
        if not held or not matrices:
            return
        figures = {
            "matrices": len(matrices),
            "trained": sum(not fresh_random(each) and alike_rows(each) for each in matrices),
            "held": len(held),
            "reached": sum(not nothing([each]) for each in held),
        }
        yield Evidence("fixed net", tuple(outside), (stepping.step, stepping.step), {k: float(v) for k, v in figures.items()})

    def finish(self) -> Iterable[Evidence]:
        """Nothing more."""
        return ()
