"""Which looks are whole: with all functions and modules that the model's calls go through.

The first looks of a watch are whole. Later ones show the outside of the model alone, which costs a fifth: its calls, the
functions called between them and the backward pass, and the loss. When the model is called in another mode, or the loss is made
in another way, looks are whole again. Some functions can go wrong at any step, such as a logarithm or a softmax: a network that
calls one is always looked at whole.
"""

from __future__ import annotations

from typing import Any, Final

from torch import Tensor, nn

from lettrine.torch.capture.functions import followed
from lettrine.torch.capture.looks import Look

WHOLE: Final = 3  # looks that are whole at first, and whenever something has changed; and
AGAIN: Final = 8  # one more whenever the run is so many times as long as at the last whole look
FOLLOWED: Final = (nn.RNNBase,)  # modules that are followed from look to look


class Wholeness:
    """Decides which looks at one model are whole."""

    def __init__(self, model: nn.Module) -> None:
        self._modules = list(model.modules())
        self._always = any(isinstance(module, FOLLOWED) for module in self._modules)
        self._owed, self._last = WHOLE, 0  # looks that are to be whole; the step of the last one
        # In which modes, and with what, the model was called in whole looks; what was called outside of it.
        self._known: set[Any] = set()

    def restart(self) -> None:
        """Something has happened: the next looks are whole."""
        self._owed = WHOLE

    def wanted(self, step: int, module: nn.Module, args: tuple[Any, ...], *, first: bool) -> bool:
        """Whether a look at this step is, in which the module is called with `args`. first: whether it is the first look."""
        state = self._state(module, args)
        if state not in self._known and not first:
            self._owed = WHOLE
        self._known.add(state)
        return self._always or self._owed > 0 or step >= AGAIN * max(self._last, 1)

    def note(self, look: Look, *, first: bool) -> None:
        """A look was taken. first: whether it is the first of its step."""
        outside = tuple(call.name for call in look.outside)
        if look.whole:
            self._owed, self._last = self._owed - first, look.step
            self._always |= any(followed(call) for call in look.calls if call.where)
        elif outside not in self._known:
            self._owed = WHOLE
        self._known.add(outside)

    def _state(self, module: nn.Module, args: tuple[Any, ...]) -> int:
        """Number of the kinds of what a module is called with, and of the modes of all modules."""
        given = args[0] if args else ()
        kinds = tuple((each.dtype, each.ndim) if isinstance(each, Tensor) else type(each) for each in given)
        return hash((module, kinds, tuple([each.training for each in self._modules])))
