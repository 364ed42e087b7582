"""Evidence "real": what a critic is shown beside the answers of a generator: data, and their range next to what the generator's
last activation can give.

where: the generator, and the critic. words: "last", the generator's last operation, such as "Sigmoid". figures: "low" and "high"
that it can give; "least" and "most" of the data; "looks" at which the critic saw data; "outside": of their values, the smallest
share of a look that lies farther from that range than a quarter of its width.

Generator and critic have optimisers of their own. Only answers that reach the critic as they are count: the same values, or a
view of them, as its first argument.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import isfinite
from typing import Final

import torch
from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, RootCall, Stepping, reader
from lettrine.torch.devices import double, exact
from lettrine.torch.graph.losses.comparisons import readable
from lettrine.torch.graph.losses.heads import Head, head_of
from lettrine.torch.graph.memory import memory

_VALUES: Final = 4_096  # of a batch that are kept
_FAR: Final = 0.25  # of the width of the range: noise that is added to data stays nearer
_MOST: Final = 16  # batches kept of each critic


@dataclass
class _Critic:
    """What one critic was shown."""

    makers: dict[str, Head] = field(default_factory=dict)  # by the name of the generator
    batches: list[Tensor] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)


@reader
class Reals:
    """Follows what the parts of a model hand to one another, and what else they are given."""

    def __init__(self) -> None:
        self._critics: dict[str, _Critic] = {}
        self._step = -1
        # By the place in memory of an answer of this step: who made it, and how.
        self._made: dict[int, tuple[RootCall, Head | None]] = {}

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look. An answer may be judged after a backward pass that came between."""
        if look.step != self._step:
            self._step, self._made = look.step, {}
        for root in look.roots if len(look.optimisers) > 1 else ():
            given = _first(root)
            if given is None:
                continue
            maker, head = self._made.get(memory(given), (None, None))
            critic = self._critics.setdefault(root.name, _Critic())
            if maker is not None and maker.name != root.name:
                if head is not None and not _together(look, maker, root):
                    critic.makers[maker.name] = head
            elif maker is None and not given.requires_grad and len(critic.batches) < _MOST:
                critic.batches.append(_some(given))
                critic.steps.append(look.step)
            if isinstance(root.output, Tensor) and readable(root.output):
                end = None if root.output.grad_fn is None else head_of(root.output, look.parameters)
                self._made[memory(root.output)] = root, end
        return ()

    def stepping(self, _: Stepping) -> Iterable[Evidence]:
        """The answers are not kept longer than the step."""
        self._made = {}
        return ()

    def finish(self) -> Iterator[Evidence]:
        """Critics with one generator whose range is known, and with data."""
        for name, critic in self._critics.items():
            (maker, head), *more = critic.makers.items() or [("", Head())]
            if more or not critic.batches or not head.place or not (isfinite(head.low) and isfinite(head.high)):
                continue
            far = _FAR * (head.high - head.low)
            shares = [float(double((x < head.low - far) | (x > head.high + far)).mean()) for x in critic.batches]
            figures = {
                "low": head.low,
                "high": head.high,
                "least": min(float(x.min()) for x in critic.batches),
                "most": max(float(x.max()) for x in critic.batches),
                "looks": float(len(critic.batches)),
                "outside": min(shares),
            }
            yield Evidence("real", (maker, name), (critic.steps[0], critic.steps[-1]), figures, {"last": head.last})


def _together(look: Look, one: RootCall, other: RootCall) -> bool:
    """Whether one optimiser holds parameters of both parts."""
    held = [{id(each) for group in optimiser.param_groups for each in group["params"]} for optimiser in look.optimisers]
    parts = [{id(each) for each in root.module.parameters()} for root in (one, other)]
    return any(all(part & each for part in parts) for each in held)


def _first(root: RootCall) -> Tensor | None:
    given = root.args[0] if root.args else None
    if not isinstance(given, Tensor) or not given.is_floating_point() or given.ndim < 2 or not readable(given):
        return None
    return given


def _some(tensor: Tensor) -> Tensor:
    flat = tensor.detach().reshape(-1)
    return exact(flat[:: max(1, len(flat) // _VALUES)][:_VALUES]).to(torch.float64, copy=True)
