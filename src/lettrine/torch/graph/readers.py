"""Every file that holds readers of looks: importing this one makes them known."""

from lettrine.torch.graph import attention, frozen, handover, latents, leaks, leaves, loss, modes, opponents, residuals, stepping

__all__ = [
    "attention",
    "frozen",
    "handover",
    "latents",
    "leaks",
    "leaves",
    "loss",
    "modes",
    "opponents",
    "residuals",
    "stepping",
]
