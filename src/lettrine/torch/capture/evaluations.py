"""How the user joins the losses of a pass over held-out data: by their mean, their sum, or in another way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any, Final

import torch
from torch import Tensor, nn

from lettrine.torch.capture.answers import Answers
from lettrine.torch.capture.functions import FunctionCall, FunctionNotes
from lettrine.torch.capture.guard import Guard
from lettrine.torch.capture.outputs import Hook
from lettrine.torch.graph.data.trained_on import digests
from lettrine.torch.private import compiles, transformed

EVALUATIONS: Final = 3  # losses on held-out data, after the first one, that are compared with the losses computed before them
ROWS: Final = 4_096  # examples of one evaluation that are told apart
SAME: Final = 1e-4  # relative difference between a loss and the mean of what it is made of, for rounding
LOSSES: Final = frozenset(
    """cross_entropy nll_loss binary_cross_entropy binary_cross_entropy_with_logits mse_loss l1_loss smooth_l1_loss
    huber_loss""".split()  # noqa: SIM905
)


class Evaluations:
    """Notes the losses that are computed after each pass without gradients, between the first held-out losses handed over.

    Functions are noted outside of the model only: from the end of its call to its next call, or to the loss handed over. So the
    pass itself does not change. told: called with the loss handed over, the mean and the number of the computed ones, and the
    examples in each; only if exactly one loss of the same kind followed every pass. answers: is
    given the same passes. shown: called with all examples as `trained_on.digests`, only if the loss handed over is the mean of
    the computed ones.
    """

    def __init__(
        self,
        roots: Sequence[nn.Module],
        guard: Guard,
        told: Callable[[float, float, int, float], None],
        answers: Answers,
        shown: Callable[[list[int]], None],
    ) -> None:
        self._roots, self._guard, self._told, self._answers, self._shown = roots, guard, told, answers, shown
        self._given: tuple[Any, ...] = ()  # the arguments of the last pass
        self._notes = FunctionNotes({}, lambda *_: None)
        self._handles: list[Any] = []
        self._passes = self._seen = 0
        self._losses: list[tuple[str, float, int]] = []  # function, mean over its examples, number of examples
        self._rows: list[int] = []  # digests of the examples

    def evaluated(self, loss: float) -> None:
        """A loss on held-out data is handed over."""
        self._gather()
        losses, passes = self._losses, self._passes
        if losses and len(losses) == passes and len({name for name, _, _ in losses}) == 1:
            rows = sum(count for _, _, count in losses)
            mean = sum(value * count for _, value, count in losses) / rows
            if isfinite(mean) and mean > 0 and isfinite(loss):
                self._told(loss, mean, passes, rows / passes)
                self._answers.end(self._seen)
                plain = sum(value for _, value, _ in losses) / passes
                if any(abs(loss / each - 1) <= SAME for each in (mean, plain)):
                    self._shown(self._rows)
        self._forget()
        self._seen += 1
        if self._seen > EVALUATIONS or compiles():
            self.close()
        elif not self._handles:
            for root in self._roots:
                self._handles.append(root.register_forward_pre_hook(Hook(self._begin)))
                self._handles.append(root.register_forward_hook(Hook(self._end), with_kwargs=True))

    def close(self) -> None:
        """Observe no more."""
        self._forget()
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _forget(self) -> None:
        self._notes.end()
        self._notes.forget()
        self._losses, self._rows, self._passes, self._given = [], [], 0, ()
        self._answers.forget()

    def _begin(self, *_: Any) -> None:
        self._guard(self._gather)
        if torch.is_grad_enabled():
            self._forget()  # the training goes on

    def _end(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], __: Any) -> None:
        if not torch.is_grad_enabled() and not transformed():
            self._passes += 1
            self._given = *args, *kwargs.values()
            self._notes.begin()

    def _gather(self) -> None:
        self._notes.end()
        for call in self._notes.calls:
            if call.name in LOSSES and (found := _mean(call)) is not None:
                self._losses.append((call.name, *found))
                self._answers.take(next((each for each in self._given if isinstance(each, Tensor)), None), call)
                if len(self._rows) < ROWS:
                    self._rows += digests(self._given, call.given(1, "target"))
        self._notes.forget()


def _mean(call: FunctionCall) -> tuple[float, int] | None:
    """The mean over the examples of a loss, and their number."""
    given, target, result = call.given(0, "input"), call.given(1, "target"), call.result
    if not (isinstance(given, Tensor) and isinstance(target, Tensor) and isinstance(result, Tensor)) or not given.ndim:
        return None
    reduction = call.kwargs.get("reduction", "mean")
    size = given.numel() if target.is_floating_point() and call.name != "cross_entropy" else target.numel()
    value = float(result if result.numel() == 1 else result.mean())
    return (value / size if reduction == "sum" else value), len(given)
