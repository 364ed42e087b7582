"""Which call made a tensor, among those noted at a look."""

from __future__ import annotations

from torch import Tensor

from lettrine.torch.capture.functions import FunctionCall
from lettrine.torch.capture.looks import Look


def makers(look: Look) -> dict[int, FunctionCall]:
    """By the identity of a result, or of one of several results: the call it came from. Ask for it by `look.once(makers)`."""
    made: dict[int, FunctionCall] = {}
    for call in look.calls:
        result = call.result
        for each in result if isinstance(result, tuple) else (result,):
            if isinstance(each, Tensor):
                made[id(each)] = call
    return made
