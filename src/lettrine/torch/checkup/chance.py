"""Which module draws random numbers, and how. Read from the operations themselves, below any module or function."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from lettrine.torch.capture.catalogue import named_modules
from lettrine.torch.private import DROPOUT

MASKS: Final = ("bernoulli", "native_dropout")  # operations that draw a dropout mask
DRAWS: Final = ("rand", "normal", "uniform", "exponential", "multinomial", "geometric", "cauchy", "log_normal", "poisson", *MASKS)
_DROPOUTS: Final = ("dropout", "alpha_dropout", "dropout1d", "dropout2d", "dropout3d", "feature_alpha_dropout")


@dataclass(frozen=True)
class Draw:
    """One operation that drew random numbers. module: the innermost running one. asked: the caller wrote dropout(…,
    training=True).
    """

    module: str
    operation: str
    asked: bool

    @property
    def mask(self) -> bool:
        """Whether it draws a dropout mask."""
        return self.operation.startswith(MASKS)


@contextmanager
def listening(model: nn.Module) -> Iterator[list[Draw]]:
    """Note every draw while the block runs."""
    draws: list[Draw] = []
    running: list[str] = []
    asked: list[bool] = []

    def entering(name: str) -> Callable[..., None]:
        return lambda *_: running.append(name)

    def leaving(*_: Any) -> None:
        running.pop()

    def note(operation: str) -> None:
        draws.append(Draw(running[-1] if running else "", operation, bool(asked and asked[-1])))

    handles = []
    for name, module in named_modules(model):
        handles.append(module.register_forward_pre_hook(entering(name)))
        handles.append(module.register_forward_hook(leaving, always_call=True))
    try:
        with _explicit(asked, set(model.modules())), _Functions(note), _Operations(note):
            yield draws
    finally:
        for handle in handles:
            handle.remove()


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records the operations that reach the kernels."""

    def __init__(self, note: Callable[[str], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._note = note

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__.lstrip("_")
        if name.startswith(DRAWS) and not (name.startswith("native_dropout") and args[2:3] == (False,)):
            self._note(name)
        return func(*args, **(kwargs or {}))


class _Functions(TorchFunctionMode):
    """Records attention calls, because some kernels hide their dropout."""

    def __init__(self, note: Callable[[str], None]) -> None:
        super().__init__()
        self._note = note

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is functional.scaled_dot_product_attention:
            rate = (kwargs or {}).get("dropout_p", args[4] if len(args) > 4 else 0.0)
            if rate > 0:
                self._note("native_dropout of attention")
        return func(*args, **(kwargs or {}))


@contextmanager
def _explicit(asked: list[bool], registered: set[nn.Module]) -> Iterator[None]:
    """Record, inside a dropout function, whether its caller wrote training=True on purpose.

    torch's own signature has True as default, so leaving it out and writing it look alike further down. A dropout module of the
    model that is still in training mode after eval() was set so on purpose; a module created during the call was not.
    """
    kept = {name: getattr(functional, name) for name in _DROPOUTS}

    def standing_in(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if asked:  # torch itself, passing the call on with every argument written out
                return function(*args, **kwargs)
            given = kwargs.get("training", args[2] if len(args) > 2 else None) is True
            caller = sys._getframe(1).f_locals.get("self")  # noqa: SLF001  a dropout module says True for itself
            asked.append(given and (not isinstance(caller, DROPOUT) or caller in registered))
            try:
                return function(*args, **kwargs)
            finally:
                asked.pop()

        return call

    for name, function in kept.items():
        setattr(functional, name, standing_in(function))
    try:
        yield
    finally:
        for name, function in kept.items():
            setattr(functional, name, function)
