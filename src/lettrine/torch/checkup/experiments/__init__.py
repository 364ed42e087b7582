"""One file an experiment; the order here is that of `EXPERIMENTS`, the most telling and cheapest first."""

from lettrine.torch.checkup.experiments import (  # noqa: I001  in the order in which they are run
    first_loss,
    parameters,
    independence,
    causality,
    padding,
    randomness,
    optimiser,
    data,
    answer,
    saving,
    inputs,
    shared_norm,
    one_batch,
    frozen,
    scales,
    start,
    rate,
)

__all__ = ["answer", "causality", "data", "first_loss", "frozen", "independence", "inputs", "one_batch", "optimiser", "padding", "parameters", "randomness", "rate", "saving", "scales", "shared_norm", "start"]
