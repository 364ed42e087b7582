"""Every file that holds readers of looks: importing this one makes them known."""

from lettrine.torch.graph import (
    attention,
    broadcasts,
    frozen,
    handover,
    inputs,
    latents,
    leaks,
    leaves,
    loss,
    modes,
    operations,
    products,
    recurrent,
    residuals,
    stepping,
    targets,
)

__all__ = [
    "attention",
    "broadcasts",
    "frozen",
    "handover",
    "inputs",
    "latents",
    "leaks",
    "leaves",
    "loss",
    "modes",
    "operations",
    "products",
    "recurrent",
    "residuals",
    "stepping",
    "targets",
]
