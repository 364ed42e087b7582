"""All code that imports torch: the nn.Module twin of the language model, and the watch for any module."""

from __future__ import annotations

from lettrine.errors import MissingExtraError

try:
    import torch  # noqa: F401 - only to say early, and in our own words, that it is missing
except ImportError:  # pragma: no cover - the tests have torch
    raise MissingExtraError("lettrine.torch", "torch") from None

from lettrine.torch.model import CharMLP

__all__ = ["CharMLP"]
