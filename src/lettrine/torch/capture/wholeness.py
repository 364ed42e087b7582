"""Which looks are whole: they note all functions and modules inside the model's calls.

The first looks of a watch are whole. Later ones cost a fifth and show only the outside of the model: its calls, the functions
between them and the backward pass, and the loss. If the model is called in another mode, or the loss is computed in another way,
looks are whole again. Some functions, such as a logarithm or a softmax, can go wrong at any step. If a network calls one, all
looks at it are whole.
"""

from __future__ import annotations

from typing import Any, Final

from torch import Tensor, nn

from lettrine.torch.capture.functions import followed
from lettrine.torch.capture.looks import Look

WHOLE: Final = 3  # whole looks at first, and after each change; and
AGAIN: Final = 8  # one more each time the run has become so many times longer
FOLLOWED: Final = (nn.RNNBase,)  # most modules that are followed from look to look


class Wholeness:
    """Decides which looks at one model are whole."""

    def __init__(self, model: nn.Module) -> None:
        self._modules = list(model.modules())
        self._always = any(isinstance(module, FOLLOWED) for module in self._modules)
        self._owed, self._last = WHOLE, 0  # looks that are still to be whole; the step of the last one
        # The modes and arguments of the model's calls in whole looks; the functions called outside of it.
        self._known: set[Any] = set()

    def restart(self) -> None:
        """Something has happened: the next looks are whole."""
        self._owed = WHOLE

    def wanted(self, step: int, module: nn.Module, args: tuple[Any, ...], *, first: bool) -> bool:
        """Whether a look at this step is whole. The module is called with `args`. first: whether it is the first look."""
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
        """A number for the kinds of a module's arguments and the modes of all modules."""
        given = args[0] if args else ()
        kinds = tuple((each.dtype, each.ndim) if isinstance(each, Tensor) else type(each) for each in given)
        return hash((module, kinds, tuple([each.training for each in self._modules])))
