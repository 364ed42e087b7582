"""CharMLP: the language model as an nn.Module, made of stock layers.

It has the parameter names and layout of `lettrine.model.parameters`. So a trained run can be loaded into it, gives the same
logits, can be trained further in any loop, and can be written back.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from lettrine.activations import ACTIVATIONS
from lettrine.arguments import checked
from lettrine.model.config import MLPConfig
from lettrine.model.parameters import Array, Parameters, buffer_shapes, check_parameters, parameter_shapes


@checked
class CharMLP(nn.Module):
    """Character-level multi-layer perceptron of Bengio et al. 2003.

    config: its shape. parameters: named arrays to start from; without them torch initialises every layer.
    shared: use the memory of `parameters` instead of a copy, so that the arrays change as torch trains.

    Raises EngineError for arrays that do not fit `config`.
    """

    def __init__(self, config: MLPConfig, parameters: Mapping[str, Array] | None = None, *, shared: bool = False) -> None:
        super().__init__()
        self.config = config
        inputs = config.context * config.embedding
        self.embedding = nn.Embedding(config.vocabulary_size, config.embedding)
        self.direct = nn.Linear(inputs, config.vocabulary_size, bias=False) if config.direct else None
        self.layers, self.norms, self.activations, self.dropouts = (nn.ModuleList() for _ in range(4))
        for width in config.hidden:
            self.layers.append(nn.Linear(inputs, width, bias=bool(config.hidden_bias)))
            if config.norm == "batch":
                self.norms.append(_batch_norm(config, width))
            self.activations.append(activation_module(config.activation))
            if config.dropout:
                self.dropouts.append(nn.Dropout(config.dropout))
            inputs = width
        self.output = nn.Linear(inputs, config.vocabulary_size, bias=config.output_bias)
        self.output_norm = _batch_norm(config, config.vocabulary_size) if config.output_norm else None
        if parameters is not None:
            self.load_parameters(parameters, shared=shared)

    def forward(self, contexts: Tensor) -> Tensor:
        """Logits (B, V) of the next character after each context (B, T) of character indices."""
        if contexts.dtype not in (torch.int32, torch.int64):  # `windows` gives the narrowest type
            contexts = contexts.int()
        h = self.embedding(contexts).flatten(1)  # (B, T*E)
        direct = None if self.direct is None else self.direct(h)  # (B, V)
        for place, layer in enumerate(self.layers):
            h = layer(h)  # (B, H)
            if self.norms:
                h = self.norms[place](h)
            h = self.activations[place](h)
            if self.dropouts:
                h = self.dropouts[place](h)
        logits: Tensor = self.output(h)  # (B, V)
        if direct is not None:
            logits = logits + direct
        return logits if self.output_norm is None else self.output_norm(logits)

    @checked
    def load_parameters(self, parameters: Mapping[str, Array], *, shared: bool = False) -> None:
        """Load named arrays: as copies, or with `shared` their own memory. Raises EngineError if they do not fit."""
        check_parameters(self.config, parameters)
        mine = dict(self.named_parameters()) | dict(self.named_buffers())
        with torch.no_grad():
            for name, value in parameters.items():
                tensor = torch.from_numpy(np.asarray(value))
                mine[name].data = tensor if shared else tensor.clone()

    def to_parameters(self) -> Parameters:
        """Named arrays on this module's own memory (copied only where it lives on another device)."""
        mine = dict(self.named_parameters()) | dict(self.named_buffers())
        names = list(parameter_shapes(self.config)) + list(buffer_shapes(self.config))
        return {name: mine[name].detach().cpu().numpy() for name in names}


def activation_module(name: str) -> nn.Module:
    """A module that computes this activation of the table."""
    row = ACTIVATIONS[name]
    module: nn.Module = getattr(nn, row.torch)(**row.arguments)
    return module


def _batch_norm(config: MLPConfig, width: int) -> nn.BatchNorm1d:
    return nn.BatchNorm1d(width, eps=config.norm_eps, momentum=config.norm_momentum)
