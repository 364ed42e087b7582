"""What differs from one device to another: whether there is float64, and where the state of the random generators is kept."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor


@lru_cache
def has_float64(device: torch.device) -> bool:
    """Whether a device computes in float64: graphics cards of Apple and some of Intel do not. Tried once."""
    if device.type in ("cpu", "cuda", "meta"):
        return True
    try:
        return torch.ones((), device=device).double().item() == 1
    except (TypeError, RuntimeError):
        return False


def exact(tensor: Tensor) -> Tensor:
    """The tensor where float64 is: itself, or a copy on the processor if its device has none."""
    return tensor if has_float64(tensor.device) else tensor.cpu()


def double(tensor: Tensor) -> Tensor:
    """The values in float64, on the device of `exact`."""
    return exact(tensor).double()


def random_states() -> Callable[[], None]:
    """Remember the states of torch's global generators, of the processor and of an accelerator in use. Returns a function that
    sets them back.
    """
    module = _in_use()
    numbers = range(module.device_count()) if module is not None else ()
    restores = [partial(torch.set_rng_state, torch.get_rng_state())]
    restores += [partial(module.set_rng_state, module.get_rng_state(number), number) for number in numbers]

    def restore() -> None:
        for each in restores:
            each()

    return restore


def _in_use() -> Any:
    """Torch's module of the accelerator, such as torch.cuda; None if there is none, or nothing was computed there: to ask would
    start it.
    """
    found = torch.accelerator.current_accelerator(check_available=True)
    module: Any = torch.get_device_module(found) if found is not None else None
    started = getattr(module, "is_initialized", lambda: hasattr(module, "get_rng_state"))
    return module if started() else None
