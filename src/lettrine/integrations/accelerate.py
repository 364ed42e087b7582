"""Accelerate: `with watch(accelerator, model, optimizer) as health:`, before or after `prepare`; call no `health.loss`.

Losses are those that `accelerator.backward` gets, in true units: before it divides them for gradient accumulation and scales them
for half precision.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from accelerate import Accelerator

from lettrine.torch.watching.watch import Watch


def overhear(accelerator: Accelerator, hand: Callable[[Any], None]) -> Callable[[], None]:
    """Hand over each loss that `accelerator.backward` gets. Returns a function that ends this."""
    backward = accelerator.backward

    def observed(loss: Any, **options: Any) -> None:
        backward(loss, **options)
        hand(loss)  # now it is known how it was made

    def leave() -> None:
        if vars(accelerator).get("backward") is observed:
            del accelerator.backward

    accelerator.backward = observed
    return leave


class AcceleratedWatch(Watch):
    """What `watch` returns: a `health.watch` that gets its losses from the accelerator."""

    def __init__(self, accelerator: Accelerator, model: Any, optimizer: Any, **options: Any) -> None:
        super().__init__(accelerator.unwrap_model(model), optimizer, **{"scaler": accelerator.scaler, **options})
        self._accelerator = accelerator
        self._leave: Callable[[], None] = lambda: None

    def start(self) -> Self:
        """Begin to watch."""
        self._leave = overhear(self._accelerator, self.loss)
        return super().start()

    def close(self) -> None:
        """Remove all hooks. What was recorded stays."""
        self._leave()
        super().close()


def watch(accelerator: Accelerator, model: Any, optimizer: Any = None, **options: Any) -> AcceleratedWatch:
    """Watch a model that an accelerator trains. options: those of `health.watch`."""
    return AcceleratedWatch(accelerator, model, optimizer, **options)
