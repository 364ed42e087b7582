"""Functions whose results nothing takes, although the tensor they were given goes on: calls that leave everything as it was.

Such as `score.masked_fill(mask, -1e9)` or `F.dropout(x)` in a line of its own. What is returned by a module, read in any way or
found in the loss's graph is used, as far as can be told.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from torch import Tensor, nn

from lettrine.torch.capture.keeping import given, kept
from lettrine.torch.graph.memory import tensors_within
from lettrine.torch.private import sequence_number

MASKS: Final = frozenset("masked_fill where".split())  # noqa: SIM905
DOING: Final = MASKS | frozenset(
    """relu relu6 leaky_relu elu celu selu gelu silu mish dropout dropout1d dropout2d dropout3d alpha_dropout clamp clamp_min
    clamp_max""".split()  # noqa: SIM905
)
"""Functions that are called to put their result in the place of what they were given. Not softmax, sigmoid or tanh: networks
compute probabilities for show."""
_SHOWN: Final = (nn.Softmax, nn.Softmax2d, nn.LogSoftmax, nn.Softmin, nn.Sigmoid, nn.LogSigmoid, nn.Tanh)
_MOST: Final = 256  # results waited for at once


@dataclass
class ThrownAway:
    """One call. name, where: as in `FunctionCall`. number: of the node of its result. taker: the function that was given the
    same tensor next, "" if none was. returned: it is the result of a module.
    """

    name: str
    where: str
    number: int | None
    held_args: tuple[Any, ...]
    _result: weakref.ref[Tensor]
    _source: weakref.ref[Tensor]
    taker: str = ""
    returned: bool = False

    @property
    def args(self) -> tuple[Any, ...]:
        """The positional arguments."""
        return tuple(map(given, self.held_args))

    def made(self, tensor: Tensor) -> bool:
        """Whether this is its result."""
        return self._result() is tensor

    def of(self, tensor: Tensor) -> bool:
        """Whether this is what it was given."""
        return self._source() is tensor


class Untaken:
    """Follows the results of such functions through one step that is looked at. used: parameters, by identity, that were given to
    any function.
    """

    def __init__(self) -> None:
        self.used: set[int] = set()
        self._waiting: dict[int, ThrownAway] = {}  # by the identity of the result
        self._sources: dict[int, ThrownAway] = {}
        self._freed: list[ThrownAway] = []  # the identity of their results was given to other tensors

    def forget(self) -> None:
        """Begin anew."""
        self.used.clear()
        self._waiting.clear()
        self._sources.clear()
        self._freed.clear()

    def called(self, name: str, where: str, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> None:
        """A function was called."""
        for each in tensors_within([*args, *kwargs.values()]):
            if isinstance(each, nn.Parameter):
                self.used.add(id(each))
            self._taken(each)
            if (call := self._sources.get(id(each))) is not None and call.of(each) and not call.taker:
                call.taker = name
        if name in DOING:
            self._wait(name, where, args, result)

    def read(self, name: str, args: Sequence[Any]) -> None:
        """Something about tensors was asked, perhaps by the capture, which copies what modules return. Who asks for the gradient
        of a parameter, as zero_grad does, does not compute with it.
        """
        for each in tensors_within(list(args)):
            if name != "__get__" and isinstance(each, nn.Parameter):
                self.used.add(id(each))
            if (call := self._waiting.get(id(each))) is not None and not call.returned:
                self._taken(each)

    def returned(self, module: nn.Module, where: str, args: Sequence[Any], output: Any) -> None:
        """A module returned this. One of several tensors may be for pictures. Weights that get no gradient are told of by
        themselves, so only modules without any are followed here.
        """
        if not isinstance(output, Tensor):
            self.taken(output)
            return
        call, first = self._waiting.get(id(output)), next(iter(args), None)
        known = call is not None and call.made(output) and isinstance(first, Tensor) and call.of(first)
        alike = isinstance(first, Tensor) and first.shape == output.shape and not isinstance(module, _SHOWN)
        if not known and alike and next(module.parameters(), None) is None:
            call = self._wait(type(module).__name__, where, args[:1], output)
        if call is not None:
            call.returned = True

    def _wait(self, name: str, where: str, args: Sequence[Any], result: Any) -> ThrownAway | None:
        """Wait for who takes this result. One in the place of what was given needs nobody."""
        source = next((each for each in args if isinstance(each, Tensor) and each.requires_grad), None)
        waits = isinstance(result, Tensor) and result.requires_grad and len(self._waiting) < _MOST
        if not waits or source is None or source is result:
            return None
        if (before := self._waiting.get(id(result))) is not None and not before.made(result):
            self._freed.append(before)
        references = weakref.ref(result), weakref.ref(source)
        call = ThrownAway(name, where, sequence_number(result.grad_fn), tuple(map(kept, args)), *references)
        self._waiting[id(result)] = self._sources[id(source)] = call
        return call

    def taken(self, value: Any) -> None:
        """All tensors in a value are used."""
        for each in tensors_within(value):
            self._taken(each)

    def left(self) -> tuple[ThrownAway, ...]:
        """Those whose result was not taken until now, while what they were given was."""
        return tuple(call for call in (*self._freed, *self._waiting.values()) if call.taker)

    def _taken(self, tensor: Tensor) -> None:
        if (call := self._waiting.get(id(tensor))) is not None and call.made(tensor):
            del self._waiting[id(tensor)]
