"""The functions of torch that are called between the model's call and the backward pass: their arguments, and in which module.

Modules and the graph do not show everything: a loss that broadcasts, a softmax over the batch, a mask, targets. In the few steps
that are looked at, a `TorchFunctionMode` notes the calls. It changes none, and computes nothing itself.

The mode is on the stack from the first call of the model in such a step until the loss's `backward` is called or the optimiser
steps. It is below the modes of the user, so that each `with` block of the user pops its own mode.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import CodeType
from typing import Any, Final

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from lettrine.torch.capture.keeping import SMALL, given, kept, kept_small
from lettrine.torch.capture.thrown_away import Untaken
from lettrine.torch.private import put_below, take_off, without_modes

INSIDE: Final = frozenset(
    """softmax log_softmax softmin gumbel_softmax scaled_dot_product_attention multi_head_attention_forward masked_fill
    masked_fill_ dropout dropout_ dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout bernoulli bernoulli_ embedding
    embedding_bag batch_norm instance_norm sqrt log log2 log10 log1p pow div true_divide reciprocal rsqrt exp norm relu sigmoid
    tanh randn_like randn normal normal_ mse_loss l1_loss smooth_l1_loss huber_loss cross_entropy nll_loss binary_cross_entropy
    binary_cross_entropy_with_logits kl_div matmul bmm __matmul__ einsum view reshape flatten add
    add_""".split()  # noqa: SIM905  a list of words is read more easily
)
"""Names of the functions that are noted inside the watched modules. Outside, where the loss is made, all are noted."""
STATISTICS: Final = frozenset(
    """mean std var std_mean var_mean linalg_norm normalize sub sub_ __sub__ __rsub__ add add_ mul mul_ div_ __rdiv__ clamp clamp_
    clamp_min maximum expand expand_as unsqueeze""".split()  # noqa: SIM905
)
"""Functions that are noted in passes on held-out data as well, if at most one of their tensors is large: those that compute
statistics of a batch, and those that apply them to its rows."""
_SUMS: Final = ("add", "add_")
_TABLE: Final = 2  # axes of a table
UNFOLLOWED: Final = frozenset(
    """dropout dropout_ dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout batch_norm instance_norm relu sigmoid
    tanh embedding view reshape flatten add add_""".split()  # noqa: SIM905
)
"""Functions among them that need not be followed: a few looks show all they do."""
OURS: Final = frozenset(
    """__get__ __set__ is_floating_point numel dim size item tolist numpy cpu detach empty copy_ retain_grad
    register_hook""".split()  # noqa: SIM905
)
"""Functions that are not noted: they say nothing about a loss, or the capture itself calls them to copy outputs."""
MOST: Final = 4_000  # most calls noted in one step: a loop in Python may make very many
WATCHED: Final = "a watched module"  # stands for the name of a function where such a module was called, before the model's call
EARLIER: Final = 256  # last calls before the model's that are kept: a target may be computed first


@dataclass(frozen=True)
class FunctionCall:
    """One call. name: of the function, such as "softmax". where: qualified name of the innermost watched module around it, ""
    outside of all. root: the number of the model's call around it, in this pass, from 0; -1 outside.
    site: the code and the instruction that made the call.

    A tensor of more than LARGE values is kept only as long as the training keeps it. After that `Gone` stands in its place.
    """

    name: str
    where: str
    held_args: tuple[Any, ...]
    held_kwargs: Mapping[str, Any]
    held_result: Any
    root: int = -1
    site: tuple[CodeType, int] | None = field(default=None, compare=False)

    @property
    def args(self) -> tuple[Any, ...]:
        """The arguments themselves, not copies. Free them after the look."""
        return tuple(map(given, self.held_args))

    @property
    def kwargs(self) -> dict[str, Any]:
        """The arguments given by name, likewise."""
        return {name: given(value) for name, value in self.held_kwargs.items()}

    @property
    def result(self) -> Any:
        """What it returned."""
        return given(self.held_result)

    def given(self, place: int, name: str, default: Any = None) -> Any:
        """An argument by its place or its name."""
        if place < len(self.held_args):
            return given(self.held_args[place])
        return given(self.held_kwargs.get(name, default))


@dataclass(frozen=True)
class ModuleCall:
    """One call of a watched module. root: the number of the model's call around it. Large tensors: as in `FunctionCall`."""

    name: str
    module: nn.Module
    held_args: tuple[Any, ...]
    held_output: Any
    root: int

    @property
    def args(self) -> tuple[Any, ...]:
        """The positional arguments."""
        return tuple(map(given, self.held_args))

    @property
    def output(self) -> Any:
        """What it returned."""
        return given(self.held_output)


def followed(call: FunctionCall) -> bool:
    """Whether the arguments of a call inside a module can show something new at each look."""
    return call.name not in UNFOLLOWED or (call.name == "embedding" and call.given(2, "padding_idx") is not None)


def _site() -> tuple[CodeType, int] | None:
    """The code outside of torch that made the call being noted, and its instruction."""
    frame = sys._getframe(3)  # noqa: SLF001  above this function, the notes and the mode
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).startswith("torch."):
        frame = frame.f_back
    return frame.f_code, frame.f_lasti


def _of_a_sum(name: str, args: Sequence[Any]) -> bool:
    """Whether the call only joins two paths of a network, as in a skip connection. Its tensors are not kept alive then."""
    return name in STATISTICS and sum(isinstance(each, Tensor) and each.numel() > SMALL for each in args) > 1


def _of_rows(name: str, args: Sequence[Any]) -> bool:
    """Whether the call adds tables. Only what is added to sequences is of interest in a look; a recurrent network written as a
    loop adds rows at every step, and would leave no room for other calls.
    """
    return name in _SUMS and not any(isinstance(each, Tensor) and each.ndim > _TABLE for each in args)


FUSED: Final = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerEncoder)
"""Modules that choose a fused kernel in eval mode, but not while a function mode is on the stack."""


class FunctionNotes:
    """The calls of one step, for one watch. before_backward: called with the loss and its gradient, just before the backward
    pass. inside: names of the functions noted inside the watched modules.

    root: the number of the running call of the model, -1 for none; the hook of that call sets it. paused: nothing is noted.
    """

    def __init__(
        self, names: Mapping[nn.Module, str], before_backward: Callable[[Tensor, Any], None], inside: frozenset[str] = INSIDE
    ) -> None:
        self._names, self._noted = names, inside
        self._before_backward = before_backward
        self._inside: list[str] = []
        self._handles: list[Any] = []
        self.calls: list[FunctionCall] = []
        self.modules: list[ModuleCall] = []
        self.untaken = Untaken()
        self.open = self.paused = False
        self._earlier: deque[FunctionCall] | None = None
        self._left = 0  # calls that are still noted before the model's
        self.root = -1

    def wait(self) -> None:
        """Begin to note the calls before the model's, of which only the last ones are kept. It ends after MOST calls: the model
        may never be called again.
        """
        self._earlier, self._left = deque(maxlen=EARLIER), MOST
        self.begin()

    def earlier(self) -> tuple[FunctionCall, ...]:
        """The calls since `wait`, once: from now on all calls are kept."""
        calls, self._earlier = tuple(self._earlier or ()), None
        return calls

    def begin(self, module: nn.Module | None = None) -> None:
        """Begin to note. module: the one whose hook before its call asks for it."""
        self.paused = False
        if self.open:
            return
        self.open = True
        if module is not None and module in self._names:
            self._inside.append(self._names[module])  # torch looked up the hooks of this call before ours was there
        enter, leave = nn.modules.module.register_module_forward_pre_hook, nn.modules.module.register_module_forward_hook
        self._handles = [enter(self._enter), leave(self._leave, always_call=True)]
        _MODE.add(self)

    def end(self) -> None:
        """Note nothing more."""
        if not self.open:
            return
        self.open = False
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._inside.clear()
        self._earlier = None
        self.root = -1
        _MODE.remove(self)

    def forget(self) -> None:
        """Free all that was noted."""
        self.calls.clear()
        self.modules.clear()
        self.untaken.forget()
        self._earlier = None

    def drop(self, roots: int) -> None:
        """Free the first calls of the model, and all that was noted until the last of these ended."""
        last = max((place for place, call in enumerate(self.calls) if 0 <= call.root < roots), default=-1)
        self.calls = [replace(call, root=max(call.root - roots, -1)) for call in self.calls[last + 1 :]]
        self.modules = [replace(call, root=call.root - roots) for call in self.modules if call.root >= roots]

    def note(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
        """One call has been made."""
        if self.paused:
            return
        where = self._inside[-1] if self._inside else ""
        if name in OURS:
            self.untaken.read(args)
            return
        if self._earlier is not None:
            if not where:
                self._note_earlier(name, args, kwargs, result)
            return
        self.untaken.called(name, where, args, kwargs, result)
        wanted = name in self._noted and not _of_a_sum(name, args) and not (self._noted is INSIDE and _of_rows(name, args))
        if (not where or wanted) and len(self.calls) < MOST:
            held = {key: kept(value) for key, value in kwargs.items()}
            self.calls.append(FunctionCall(name, where, kept(args), held, kept(result), self.root, _site()))

    def _note_earlier(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
        self._left -= 1  # the mode cannot be taken off here, within a call that it sees
        if self._left >= 0 and self._earlier is not None:
            held = {key: kept_small(value) for key, value in kwargs.items()}
            self._earlier.append(FunctionCall(name, "", kept_small(args), held, kept_small(result)))

    def backward(self, loss: Tensor, gradient: Any = None) -> None:
        """A backward pass is about to begin."""
        self._before_backward(loss, gradient)

    def _enter(self, module: nn.Module, _: Any) -> None:
        fused = not module.training and isinstance(module, FUSED)
        if fused or (self._earlier is not None and self._left < 0):
            self.end()  # a fused kernel of some other network would round in another way while our mode is there
            return
        name = self._names.get(module)
        if name is not None:
            self._inside.append(name)

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        if self._inside and module in self._names:
            name = self._inside.pop()
            if self._earlier is not None:
                if not self._inside and not self.paused:
                    self._note_earlier(WATCHED, args, {}, output)
                return
            self.untaken.returned(output)
            if not self.paused and output is not None and len(self.modules) < MOST:
                with without_modes():
                    self.modules.append(ModuleCall(name, module, kept(args), kept(output), self.root))


class _Mode(TorchFunctionMode):
    """The function mode, one for all watches of the process. It is on torch's stack of modes while any of them notes calls. Each
    thread has its own stack, so calls in other threads are not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.listeners: list[FunctionNotes] = []

    def add(self, notes: FunctionNotes) -> None:
        self.listeners.append(notes)
        if len(self.listeners) == 1:
            take_off(self)  # if another thread ended the noting, the mode is still on this thread's stack
            put_below(self)

    def remove(self, notes: FunctionNotes) -> None:
        if notes in self.listeners:
            self.listeners.remove(notes)
            if not self.listeners:
                take_off(self)

    def __torch_function__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is _BACKWARD:
            for notes in tuple(self.listeners):
                with suppress(Exception):  # the callback is guarded: no error may reach the user's training
                    notes.backward(args[0], args[1] if len(args) > 1 else kwargs.get("gradient"))
            return func(*args, **kwargs)
        result = func(*args, **kwargs)
        with suppress(Exception):
            name = getattr(func, "__name__", "")
            for notes in self.listeners:
                notes.note(name, tuple(args), kwargs, result)
        return result


_BACKWARD: Final[Any] = Tensor.backward
_MODE: Final = _Mode()
