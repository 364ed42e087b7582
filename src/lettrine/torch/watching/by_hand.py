"""Evidence "steps by hand": steps that no optimiser of the watch makes, and which way they move the weights.

where: the parameters that are compared. figures: "looks" with a gradient, "moved": those of them at which values had changed, and
"uphill": those at which they had changed along the gradient, where it is for the loss to become smaller that they go against it.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.copies import first_values
from lettrine.torch.devices import double
from lettrine.torch.watching.probes import Probes

_VALUES: Final = 65_536  # compared of each parameter
_ALONG: Final = 0.5  # cosine of a change and the gradient: a step of plain descent has -1, momentum less


class ByHand:
    """Compares values before and after a sampled step, beside the gradient that is there at its end."""

    def __init__(self, probes: Probes) -> None:
        self._probes = probes
        self._before: list[tuple[str, Tensor, Tensor]] = []
        self._names: tuple[str, ...] = ()
        self._looks = self._moved = self._uphill = self._first = self._last = 0

    def begin(self) -> None:
        """A sampled step begins."""
        trained = [(name, each) for name, each in self._probes.model.named_parameters() if each.requires_grad]
        wide = [(name, each) for name, each in trained if each.ndim > 1] or trained
        first_and_last = dict(wide[:1] + wide[-1:])
        self._before = [(name, each, first_values(each, _VALUES).clone()) for name, each in first_and_last.items()]

    def end(self, step: int) -> None:
        """It is over; the gradients are still there."""
        changes, gradients = list[Tensor](), list[Tensor]()
        for _, parameter, before in self._before:
            gradient, now = parameter.grad, first_values(parameter, _VALUES)
            if gradient is not None and gradient.layout is torch.strided and before.shape == now.shape:
                changes.append(double(now - before))
                gradients.append(double(first_values(gradient, _VALUES)))
        if not gradients or not any(bool(each.any()) for each in gradients):
            return
        change, gradient = torch.cat(changes), torch.cat(gradients)
        self._first, self._last = self._first if self._looks else step, step
        self._names = tuple(name for name, _, _ in self._before)
        self._looks += 1
        self._moved += bool(change.any())
        self._uphill += float(torch.nn.functional.cosine_similarity(change, gradient, dim=0, eps=1e-300)) > _ALONG

    def evidence(self) -> Evidence | None:
        """What was seen so far."""
        figures = {"looks": float(self._looks), "moved": float(self._moved), "uphill": float(self._uphill)}
        return Evidence("steps by hand", self._names, (self._first, self._last), figures) if self._looks else None
