"""Whether this machine has the memory that a training needs."""

from __future__ import annotations

from lettrine.engine.base import moment_kinds
from lettrine.errors import ConfigError
from lettrine.model.config import MLPConfig
from lettrine.text.windows import installed_memory
from lettrine.training.settings import Settings


def check_memory(config: MLPConfig, settings: Settings) -> None:
    """Raise ConfigError if this machine cannot hold the least memory that training needs, before any of it is taken.

    Weights, the best so far, gradients and the optimiser's memory; one batch; loss and learning rate of each step.
    """
    copies = 3 + len(moment_kinds(settings.optimiser))
    one_example = config.context * config.embedding + sum(config.hidden) + config.vocabulary_size
    needed = 4 * (copies * config.parameter_count() + settings.batch * one_example) + 16 * settings.steps
    if needed > installed_memory():
        raise ConfigError(
            f"a network of {config.parameter_count():,} parameters, a batch of {settings.batch:,} and {settings.steps:,} steps "
            f"take {needed / 1e9:,.0f} GB or more, and this machine has less; lower hidden, embedding, context, batch or steps"
        )
