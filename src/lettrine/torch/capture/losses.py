"""The losses that the user hands over: their curve, how they are computed, and the classes of the targets."""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import replace
from math import isfinite, log, nan, sqrt
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lettrine.health.limits import LATE_FROM
from lettrine.health.recorder import Recorder
from lettrine.health.trace import Facts
from lettrine.torch.capture.modules import ModuleProbe
from lettrine.torch.capture.outputs import OutputCapture
from lettrine.torch.capture.targets import Targets, targets_of
from lettrine.torch.graph.reading import behind_logits, loss_graph

FULL: Final = 256  # so many losses are kept, then fetched and recorded together
_TRIES: Final = 8  # sampled steps at which the loss's graph is looked at
_PER_CLASS: Final = 8  # targets needed for each class before the frequencies are trusted, and
_ENOUGH: Final = 512  # targets in all, or 4 * _PER_CLASS for each class, after which no more are counted
_LOOKS: Final = 3  # batches that are compared, to see whether one is repeated
_MANY: Final = 64  # with more classes, `targets_of` recovers the targets
_LEAST_GAINS: Final = 3  # gains needed to estimate their noise
_GAINS: Final = 1_024  # the gains of the last so many sampled steps are kept


class LossProbe:
    """Losses by step.

    waiting: pairs (step, loss) that are not recorded yet; numbers, or tensors still on another device. FULL of them are recorded.
    chain: the operations that computed the loss. classes: their number, 0 if unknown. reduction: "mean", "sum" or "".
    countable: whether targets can still be recovered from gradients.
    """

    def __init__(self, recorder: Recorder, modules: ModuleProbe) -> None:
        self._recorder = recorder
        self._modules = modules
        self.waiting: list[tuple[int, Any]] = []
        self._last: list[tuple[int, float]] = []  # the losses of the last recorded step
        self._tries = 0
        self._chances = _TRIES  # sampled steps in which the first loss may still come
        self._counts: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._targets: list[NDArray[np.int64]] = []  # targets of the first looks, to see whether they are the same
        # For the sampled step whose loss may still come: the loss without looking at the input, and the noise of the gain.
        self._blind = (nan, nan)
        self._gains = deque[tuple[int, float, float]](maxlen=_GAINS)
        self.chain: tuple[str, ...] = ()
        self.classes = 0
        self.reduction = ""
        self.countable = False

    def add(self, step: int, loss: Any) -> bool:
        """Add a loss. Returns False if it is not finite. For a loss on another device it returns True and fetches it later."""
        value: Any = float(loss) if not isinstance(loss, Tensor) else loss.item() if loss.is_cpu else loss.detach()
        self.waiting.append((step, value))
        if len(self.waiting) >= FULL:
            self.drain()
        return isinstance(value, Tensor) or isfinite(value)

    def note(self, losses: list[tuple[int, float]]) -> None:
        """More losses, all finite, with their steps."""
        self.waiting += losses

    def at(self, step: int) -> float | None:
        """Mean of the losses of this step, the sampled one that was counted last; None if they are not kept any more."""
        (blind, noise), self._blind = self._blind, (nan, nan)
        mean = self.means(step, step).get(step)
        if mean is not None and isfinite(gain := blind - mean) and isfinite(noise):
            self._gains.append((step, gain, noise))
        return mean

    def means(self, first: int, last: int) -> dict[int, float]:
        """Mean of the losses of each of these steps, for those whose losses are still kept."""
        found: dict[int, list[float]] = {}
        for step, value in itertools.chain(reversed(self.waiting), reversed(self._last)):
            if step < first:
                break
            if step <= last:
                found.setdefault(step, []).append(float(value))
        return {step: sum(values) / len(values) for step, values in found.items()}

    def drain(self) -> None:
        """Record the waiting losses."""
        waiting = self.waiting.copy()
        self.waiting.clear()
        tensors = [value.reshape(()).float() for _, value in waiting if isinstance(value, Tensor)]
        if tensors:
            fetched = iter(torch.stack(tensors).tolist())
            waiting = [(step, next(fetched) if isinstance(value, Tensor) else value) for step, value in waiting]
        if waiting:
            self._last = [pair for pair in self._last + waiting if pair[0] == waiting[-1][0]]
        self._recorder.record_losses(waiting)

    def looking(self) -> bool:
        """Whether the sampled step that begins must note how its outputs were made, for `look`. Call it once per step."""
        self._chances -= self._modules.wants_tail
        return self._modules.wants_tail and self._chances >= 0

    def look(self, loss: Any) -> None:
        """Look at how a loss of a sampled step was computed, and where its logits come from."""
        if self._tries >= _TRIES or (self.chain and self._modules.logits) or not isinstance(loss, Tensor) or loss.grad_fn is None:
            return
        if not self._tries:
            self._chances = _TRIES
        self._tries += 1
        self._modules.wants_tail = self._tries < _TRIES
        graph = loss_graph(loss)
        self.chain, self.reduction = graph.chain, graph.reduction
        name = behind_logits(graph.logits, self._modules.tail)
        capture = self._modules.captures.get(name)
        if capture is None or capture.info is None:
            return
        self._modules.logits, self._modules.wants_tail = name, False
        capture.logits = True
        if "LogSoftmax" in self.chain:
            self.classes = capture.info.units
        elif self.chain[0].startswith("BinaryCrossEntropy"):
            self.classes = 2
        self.countable = bool(self.classes) and self.chain[0].startswith(("NllLoss", "BinaryCrossEntropy"))

    def facts(self, known: Facts, classes: int) -> Facts:
        """Facts about the loss, added to those known already. classes: what the user said, 0 for nothing."""
        gain, gain_error = self._gain()
        return replace(
            known,
            classes=classes or self.classes,
            loss_chain=self.chain,
            chance=self.chance(),
            gain=gain,
            gain_error=gain_error,
            notes={
                **({"reduction": self.reduction} if self.reduction else {}),
                **({"batches": "one, repeated"} if self.repeated() else {}),
            },
        )

    def chance(self) -> float:
        """Loss in nats of a guess by the frequencies of the classes seen: their entropy; NaN while too few were seen.

        H = -sum over classes of f log f, with the first-order correction (K - 1) / (2 N) of Miller (1955) for the bias of
        an entropy estimated from N targets, K of the classes seen.
        """
        if not self._counts.size or self._counts.sum() < _PER_CLASS * self._counts.size:
            return nan
        seen = self._counts[self._counts > 0].astype(np.float64)
        total = seen.sum()
        return min(float(-(seen / total * np.log(seen / total)).sum() + (seen.size - 1) / (2 * total)), log(self._counts.size))

    def repeated(self) -> bool:
        """Whether the first batches had the same targets in the same order: one batch, used again and again."""
        looks = self._targets
        # Batches of a single class look alike without being the same.
        return len(looks) == _LOOKS and np.unique(looks[0]).size > 1 and all(np.array_equal(looks[0], each) for each in looks)

    def count(self, capture: OutputCapture) -> None:
        """Recover targets from the gradients of the logits that were copied in a step.

        For the binary cross-entropy such a gradient has the sign of p - y; for that of many classes see `targets`. No target is
        asked of the user.
        """
        if not self.countable or not capture.logits:
            return
        if not self._counts.size:
            self._counts = np.zeros(self.classes, dtype=np.int64)
        arrays = (call.gradient.array for call in capture.made if call.arrived) if self.classes <= _MANY else ()
        for gradient in arrays:
            if self.chain[0].startswith("BinaryCrossEntropy"):
                self._counts += np.array((np.count_nonzero(gradient > 0), np.count_nonzero(gradient < 0)))
            elif gradient.shape[1] == self.classes:
                places = gradient.argmin(axis=1)
                self._add(places[gradient[np.arange(len(gradient)), places] < 0])  # an ignored target has a gradient of 0
        if self.classes > _MANY:
            self._compare([each for each in targets_of(capture) if len(each.sums) == self.classes])
        self.countable = int(self._counts.sum()) < max(_ENOUGH, 4 * _PER_CLASS * self.classes)

    def _add(self, places: NDArray[np.int64]) -> None:
        if len(self._targets) < _LOOKS:
            self._targets.append(places)
        self._counts += np.bincount(places, minlength=self.classes)

    def _compare(self, found: list[Targets]) -> None:
        for each in found:
            self._add(each.places)
        total = sum(len(each.places) for each in found)
        if self.reduction == "mean" and total:
            shares = [len(each.places) / total for each in found]
            blind = sum(share * each.blind() for share, each in zip(shares, found, strict=True))
            noise = sum(share**2 * each.noise() for share, each in zip(shares, found, strict=True))
            self._blind = blind, noise

    def _gain(self) -> tuple[float, float]:
        """How much lower the loss is than that of answers which do not look at the input: the mean over the sampled steps after
        warm-up. And its standard error: from the noise of each step, or from the variance between steps if that is larger.
        """
        if not self._gains:
            return nan, nan
        first, last = self._gains[0][0], self._gains[-1][0]
        late = [(gain, noise) for step, gain, noise in self._gains if step >= first + LATE_FROM * (last - first)]
        if len(late) < _LEAST_GAINS:
            return nan, nan
        gains, noises = map(np.array, zip(*late, strict=True))
        return float(gains.mean()), sqrt(max(gains.var(ddof=1), noises.mean()) / len(late))
