"""The part of a network's shape that is chosen."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lettrine.arguments import checked
from lettrine.model.config import MLPConfig
from lettrine.training.sizes import Size


@checked
@dataclass(frozen=True)
class Shape:
    """The part of a network's shape that is chosen; the vocabulary's size comes from the words. See `MLPConfig`.

    embedding, hidden, dropout: None lets the words choose, see `lettrine.training.sizes`.
    """

    context: int = 8
    embedding: int | None = None
    hidden: tuple[int, ...] | None = None
    activation: str = "gelu"
    norm: str = "none"
    direct: bool = False
    hidden_bias: bool | None = None
    output_bias: bool = True
    output_norm: bool = False
    norm_momentum: float = 0.1
    dropout: float | None = None

    def config(self, vocabulary_size: int) -> MLPConfig:
        """The whole shape; open choices take the defaults of `MLPConfig`."""
        return MLPConfig(vocabulary_size, **{name: value for name, value in vars(self).items() if value is not None})

    def sized(self, size: Size) -> Shape:
        """The same with open choices from that size. With batch norm there is no dropout: the two work against each other."""
        return replace(
            self,
            embedding=size.embedding if self.embedding is None else self.embedding,
            hidden=size.hidden if self.hidden is None else self.hidden,
            dropout=self.dropout if self.dropout is not None else 0.0 if self.norm == "batch" else size.dropout,
        )
