"""One file an experiment; the order here is that of `EXPERIMENTS`, the most telling and cheapest first."""

from lettrine.torch.checkup.experiments import (  # noqa: I001  in the order in which they are run
    first_loss,
    parameters,
    independence,
    causality,
    padding,
    randomness,
    optimiser,
    shared_norm,
)

__all__ = ["causality", "first_loss", "independence", "optimiser", "padding", "parameters", "randomness", "shared_norm"]
