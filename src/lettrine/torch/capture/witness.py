"""What happens to gradients between the backward pass and the optimiser's step. A few parameters are followed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import nan, sqrt
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.compiler import is_compiling

from lettrine.torch.capture.copies import local

FOLLOWED: Final = 2  # parameters of each optimiser whose gradients are followed
SAME: Final = 1e-3  # relative difference allowed between two sums of squares of one gradient
CLIPPED: Final = 1e-3  # a gradient this much smaller at the step than after the backward pass was clipped


class Witness:
    """One parameter's gradient, followed from the backward pass to the step.

    optimiser: the number of the one that moves it.
    leftover: whether every backward pass since the last step found an earlier gradient in place; None if there was none.
    squares: the sum of squares of the gradient after the backward pass, if it is added to the earlier one.
    """

    def __init__(self, parameter: nn.Parameter, optimiser: int) -> None:
        self.parameter, self.optimiser = parameter, optimiser
        self.leftover: bool | None = None
        self.squares: Tensor | None = None
        self._earlier: Tensor | None = None
        self.handle: Any = parameter.register_hook(self._guarded)  # type: ignore[no-untyped-call]

    def _guarded(self, gradient: Tensor) -> None:
        if is_compiling():
            return
        try:
            self._arrives(local(gradient.detach()))
        except Exception:  # noqa: BLE001  nothing is claimed without an answer, and the user's backward pass goes on
            self.leftover = self.squares = None

    def _arrives(self, gradient: Tensor) -> None:
        if gradient.layout is not torch.strided:
            return
        self._earlier = earlier = self.parameter.grad
        if earlier is not None and earlier.layout is torch.strided:
            earlier = local(earlier.detach())
            present = bool(earlier.count_nonzero())
            self.leftover = present if self.leftover is None else self.leftover and present
            gradient = gradient + earlier if present else gradient
        else:
            self.leftover = False
        self.squares = squares(gradient)

    @property
    def added_up(self) -> bool:
        """Whether the gradient at the step is the sum of the earlier one and the new one. A result of `torch.autograd.grad` is no
        such sum; it may replace the gradient, as in training with private gradients.
        """
        now = self.parameter.grad
        if now is None or now is self._earlier or self.squares is None or now.layout is not torch.strided:
            return now is self._earlier  # autograd adds in place, unless it records the backward pass as a graph
        return abs(float(squares(local(now.detach()))) / max(float(self.squares), 1e-30) - 1) < SAME


def squares(gradient: Tensor) -> Tensor:
    """The sum of squares, still on its device."""
    flat = gradient.reshape(-1)
    if flat.dtype not in (torch.float32, torch.float64):
        flat = flat.float()
    return torch.dot(flat, flat)


class Witnesses:
    """Follows the gradients of a few parameters of each optimiser, during a step."""

    def __init__(self) -> None:
        self._chosen: list[tuple[nn.Parameter, int]] = []
        self._witnesses: list[Witness] = []

    def choose(self, parameters: Iterable[Sequence[nn.Parameter]]) -> None:
        """Choose which to follow. parameters: of each optimiser; the first and the last, matrices if there are any."""
        self._chosen = []
        for optimiser, own in enumerate(parameters):
            able = [each for each in own if each.requires_grad and each.is_leaf]
            wide = [each for each in able if each.ndim > 1] or able
            unique = {id(each): each for each in (wide[:1] + wide[-1:])[:FOLLOWED]}
            self._chosen += [(each, optimiser) for each in unique.values()]

    def follow(self) -> None:
        """Follow them through this step."""
        self._witnesses += [Witness(each, place) for each, place in self._chosen if each.requires_grad and each.is_leaf]

    def dismiss(self) -> None:
        """Stop following."""
        for witness in self._witnesses:
            witness.handle.remove()
        self._witnesses.clear()

    def leftover(self, optimiser: int) -> float:
        """1 where backward passes found gradients of an earlier step of this optimiser in place, 0 where they did not, NaN if
        no backward pass was seen.
        """
        of_this = [witness for witness in self._witnesses if witness.optimiser == optimiser]
        answers = [witness.leftover and witness.added_up for witness in of_this if witness.leftover is not None]
        return float(any(answers)) if answers else nan

    def clipped(self, optimiser: int, scale: float) -> float:
        """1 where this optimiser's gradients shrank between the backward pass and the step, 0 where they did not, NaN if no
        backward pass was seen. scale: the number by which a GradScaler has divided them meanwhile. Call it just before the step.
        """
        answers = []
        for witness in self._witnesses:
            gradient = witness.parameter.grad
            if witness.optimiser != optimiser or witness.squares is None or gradient is None:
                continue
            if gradient.layout is not torch.strided:
                continue
            at_backward, at_step = float(witness.squares), float(squares(local(gradient.detach())))
            if 0.0 < at_backward < float("inf") and at_step < float("inf"):
                answers.append(scale * sqrt(at_step / at_backward) < 1.0 - CLIPPED)
        return float(any(answers)) if answers else nan
