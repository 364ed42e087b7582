"""The state with which a watch began, for experiments afterwards.

What is wrong with a training shows from its start: a network that has been ruined learns no better when the cause is gone.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from lettrine.torch.watching.probes import Probes


class Start:
    """Weights, buffers and the optimiser's memory and rates, as copies."""

    def __init__(self, probes: Probes) -> None:
        self._model = probes.model
        self._values = [(each, each.detach().clone()) for each in (*self._model.parameters(), *self._model.buffers())]
        self._rates = [group.get("lr") for each in probes.optimisers[:1] for group in each.param_groups]
        self._memory = [{key: copy.deepcopy(own) for key, own in each.state.items()} for each in probes.optimisers[:1]]

    @contextmanager
    def again(self, optimiser: Any) -> Iterator[None]:
        """Let the block see that state, at the highest rate known, since a schedule may have begun or ended at 0."""
        from lettrine.torch.checkup.sandbox import sandbox  # noqa: PLC0415  only who asks for experiments pays for them

        with sandbox(self._model, optimiser):
            with torch.no_grad():
                for tensor, value in self._values:
                    if tensor.shape == value.shape:
                        tensor.copy_(value)
            if optimiser is not None and self._memory:
                optimiser.state = defaultdict(dict, {key: copy.deepcopy(own) for key, own in self._memory[0].items()})
                for group, rate in zip(optimiser.param_groups, self._rates, strict=False):
                    known = [
                        each for each in (rate, *(group.get(key) for key in ("lr", "initial_lr", "max_lr"))) if each is not None
                    ]
                    if known:
                        group["lr"] = max(known, key=float)
            yield
