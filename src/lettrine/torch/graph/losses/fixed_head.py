"""Whether what is trained is the network that the loss judges, or something that is given to it."""

from __future__ import annotations

from lettrine.torch.capture.looks import Look


def fixed_head(look: Look) -> bool:
    """Whether the optimisers hold something, but nothing of the last module with parameters: an input, a prompt or a disturbance
    is trained, and the network stays as it is. False where the modules were not noted.
    """
    held = look.held
    for call in reversed(look.modules):
        own = list(call.module.parameters())
        if own and not any(call.module.children()):  # one that holds others returns last, wherever its own parameters are used
            return bool(held) and not any(id(each) in held and each.requires_grad for each in own)
    return False
