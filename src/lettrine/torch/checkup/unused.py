"""Gradients that are cleared before the optimiser has used them: those of earlier calls of the user's step, in which the
optimiser did not step.

Cleared within one call they may be meant so, as where the weights are moved for a second backward pass, or where another part of
the step left them behind; cleared by a later call they were to be added up.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lettrine.health.findings import Finding
from lettrine.torch.checkup.experiment import finding
from lettrine.torch.devices import double


@dataclass
class Unused:
    """Follows the gradients of some parameters from call to call.

    call: number of the present call. passes: calls whose gradients were cleared before the optimiser stepped. alike: the sum of
    the products of the gradients that were cleared with those that were used; negative where they are of opposite aims.
    """

    call: int = 0
    passes: int = 0
    alike: float = 0.0
    _stepped: set[int] = field(default_factory=set)
    _cleared: set[int] = field(default_factory=set)
    _given: dict[Tensor, Tensor] = field(default_factory=dict)
    _last: dict[Tensor, tuple[int, Tensor]] = field(default_factory=dict)
    _lost: dict[Tensor, Tensor] = field(default_factory=dict)

    def listen(self, parameter: Tensor) -> list[Any]:
        """Hooks on a parameter, to be removed by the caller."""

        def given(gradient: Tensor) -> None:
            self._given[parameter] = gradient.detach()

        return [parameter.register_hook(given), parameter.register_post_accumulate_grad_hook(self._added)]  # type: ignore[no-untyped-call]

    def stepped(self, parameters: Iterable[Tensor]) -> None:
        """The optimiser is about to step."""
        for each in parameters:
            if each in self._lost and each.grad is not None:
                self.alike += float((double(self._lost[each]) * double(dense(each.grad))).sum())
        self.passes += len(self._cleared)
        self._stepped.add(self.call)
        for kept in (self._cleared, self._last, self._lost):
            kept.clear()

    def _added(self, parameter: Tensor) -> None:
        if parameter.grad is None:
            return
        now, own = dense(parameter.grad), self._given.pop(parameter, None)
        call, last = self._last.get(parameter, (self.call, now))
        earlier = call < self.call and call not in self._stepped and bool(last.any())
        if earlier and own is not None and torch.equal(now, dense(own)):
            self._lost[parameter] = self._lost[parameter] + last if parameter in self._lost else last
            self._cleared.add(call)
        self._last[parameter] = (self.call, now.clone())

    def finding(self, steps: int) -> Finding | None:
        """The finding, if at least as many calls were for nothing as the optimiser took steps."""
        if self.passes < steps or not self.alike > 0:
            return None
        return finding(
            "gradients-cleared",
            "critical",
            (),
            f"The gradients of {self.passes} calls of the step were cleared by the next call, before the optimizer stepped; it "
            f"took {steps} steps.",
            "What was computed for the examples of those calls is thrown away: only the last one before a step counts.",
            "To add gradients up over several calls, call zero_grad() right after optimizer.step(), not in each call.",
            value=self.passes,
            limit=0.0,
            source="torch.optim: Optimizer.zero_grad",
        )


def dense(gradient: Tensor) -> Tensor:
    """A gradient without its graph, with all its values."""
    return gradient.detach().to_dense() if gradient.is_sparse else gradient.detach()
