"""The part of a network's shape that is chosen."""

from __future__ import annotations

from dataclasses import dataclass

from lettrine.arguments import checked
from lettrine.model.config import MLPConfig


@checked
@dataclass(frozen=True)
class Shape:
    """The part of a network's shape that is chosen; the vocabulary's size comes from the words. See `MLPConfig`."""

    context: int = 8
    embedding: int = 24
    hidden: tuple[int, ...] = (200,)
    activation: str = "gelu"
    norm: str = "none"
    direct: bool = False
    hidden_bias: bool | None = None
    output_bias: bool = True
    output_norm: bool = False
    norm_momentum: float = 0.1

    def config(self, vocabulary_size: int) -> MLPConfig:
        """The whole shape."""
        return MLPConfig(vocabulary_size, **vars(self))
