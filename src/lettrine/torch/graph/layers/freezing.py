"""Evidence "freezes itself": what train() of a module that the user wrote freezes, while it is trained all the same.

where: names of parameters, then of batch norms. figures: "looks" at which they were free; "parameters", how many of the names
are parameters. words: "owner", the class with that train().

A fresh module is in training mode without having been told so. What its train() would do is tried once, on a copy without values,
and only if its code does nothing but set modes and freeze.
"""

from __future__ import annotations

import dis
from collections.abc import Iterable, Iterator
from copy import deepcopy
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final

import torch
from torch import Tensor, nn

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.catalogue import clean_name
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.capture.outputs import BatchNorm
from lettrine.torch.private import held, version

_BUILTINS: Final = frozenset(
    "super any all isinstance range len getattr hasattr enumerate zip list tuple set".split()  # noqa: SIM905
)
_METHODS: Final = frozenset(
    """train eval requires_grad requires_grad_ parameters named_parameters modules named_modules children named_children training
    weight bias items keys values startswith endswith __class__""".split()  # noqa: SIM905
)
_PLAIN: Final = (bool, int, float, str, list, tuple, dict, set, type(None), nn.Module, Tensor)
_GLOBAL: Final = ("LOAD_GLOBAL", "LOAD_NAME")
_ATTRIBUTE: Final = ("LOAD_ATTR", "LOAD_METHOD", "STORE_ATTR", "LOAD_SUPER_ATTR", "LOAD_SUPER_METHOD")
_BARRED: Final = ("STORE_GLOBAL", "DELETE_GLOBAL", "DELETE_ATTR", "IMPORT_NAME")


@reader
class FreezesItself:
    """Strikes from a list what is frozen after all, or does not move."""

    def __init__(self) -> None:
        self._meant: dict[str, nn.Parameter] | None = None
        self._norms: dict[str, nn.Module] = {}
        self._versions: dict[str, int] = {}
        self._steps: list[int] = []
        self._owner = ""

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        if look.place or not look.roots or not all(root.module.training for root in look.roots):
            return ()
        if self._meant is None:
            self._meant = {}
            self._try(look)
        elif self._steps:
            moved = {name: each for name, each in self._meant.items() if version(each) > self._versions[name]}
            self._meant = {name: each for name, each in moved.items() if each.requires_grad}
            self._norms = {name: each for name, each in self._norms.items() if each.training}
        if self._meant or self._norms:
            self._steps.append(look.step)
        return ()

    def _try(self, look: Look) -> None:
        tops: list[str] = []
        for name, module in look.model.named_modules():
            if any(name.startswith(f"{top}." if top else "") for top in tops) or not _own(type(module)):
                continue
            tops.append(name)
            if not _only_freezes(module):
                continue
            parameters, norms = _frozen_by_train(module)
            before = f"{clean_name(name)}." if clean_name(name) else ""
            self._meant = {**(self._meant or {}), **{before + each: module.get_parameter(each) for each in parameters}}
            self._norms |= {before + each: module.get_submodule(each) for each in norms}
            self._owner = self._owner or (type(module).__name__ if parameters or norms else "")
        self._versions = {name: version(each) for name, each in (self._meant or {}).items()}

    def finish(self) -> Iterator[Evidence]:
        """What is left."""
        if (self._meant or self._norms) and self._steps:
            names = (*(self._meant or ()), *self._norms)
            figures = {"looks": float(len(set(self._steps))), "parameters": float(len(self._meant or ()))}
            yield Evidence("freezes itself", names, (self._steps[0], self._steps[-1]), figures, {"owner": self._owner})


def _own(kind: type[nn.Module]) -> bool:
    """Whether the user wrote train() of this class."""
    return isinstance(kind.train, FunctionType) and not kind.train.__module__.startswith("torch.")


def _only_freezes(module: nn.Module) -> bool:
    """Whether the code of train(), with all it calls, does nothing but set modes and freeze."""
    kinds = {type(each) for each in module.modules()}
    data = {name for each in module.modules() for name, value in held(each).items() if isinstance(value, _PLAIN)}
    seen: set[CodeType] = set()
    starts = [kind.train for kind in kinds if _own(kind)]
    return all(_harmless(each.__code__, each.__globals__, kinds, data, seen) for each in starts if isinstance(each, FunctionType))


def _harmless(code: CodeType, names: dict[str, Any], kinds: set[type], data: set[str], seen: set[CodeType]) -> bool:
    if code in seen:
        return True
    seen.add(code)
    called: list[FunctionType] = []
    for each in dis.get_instructions(code):
        name = str(each.argval)
        if each.opname in _BARRED:
            return False
        if each.opname in _GLOBAL and name not in _BUILTINS:
            value = names.get(name)
            if isinstance(value, FunctionType):
                called.append(value)
            elif not (isinstance(value, (ModuleType, bool, int, str)) or _layers(value)):
                return False
        if each.opname in _ATTRIBUTE and name not in _METHODS:
            own = [vars(base)[name] for kind in kinds for base in kind.__mro__ if name in vars(base)]
            if any(not isinstance(value, (FunctionType, *_PLAIN)) for value in own):
                return False
            called += [value for value in own if isinstance(value, FunctionType)]
            if not own and name not in data and not _layers(getattr(nn, name, None)):
                return False
    inner = [each for each in code.co_consts if isinstance(each, CodeType)]
    return all(_harmless(each, names, kinds, data, seen) for each in inner) and all(
        not each.__module__.startswith("torch.") and _harmless(each.__code__, each.__globals__, kinds, data, seen)
        for each in called
    )


def _layers(value: object) -> bool:
    """A class of modules, or several."""
    several = value if isinstance(value, tuple) else (value,)
    return all(isinstance(each, type) and issubclass(each, nn.Module) for each in several)


def _frozen_by_train(module: nn.Module) -> tuple[list[str], list[str]]:
    """Names of the trainable parameters, and of the batch norms in training mode, that train() of a copy freezes."""
    with torch.random.fork_rng(devices=[]):
        try:
            copy = deepcopy(module, _without_values(module))
            copy.train()
        except Exception:  # noqa: BLE001  the user's code: then nothing is known
            return [], []
    free = {name for name, each in module.named_parameters() if each.requires_grad}
    live = {name for name, each in module.named_modules() if isinstance(each, BatchNorm) and each.training}
    return (
        [name for name, each in copy.named_parameters() if name in free and not each.requires_grad],
        [name for name, each in copy.named_modules() if name in live and not each.training],
    )


def _without_values(module: nn.Module) -> dict[int, Any]:
    """What deepcopy is told to put in the place of values, hooks, and whatever else is no plain attribute."""
    instead: dict[int, Any] = {}
    for each in module.modules():
        for name, value in vars(each).items():
            if "_hooks" in name:
                instead[id(value)] = type(value)() if isinstance(value, dict) else None
            elif not isinstance(value, _PLAIN):
                instead[id(value)] = value
    for parameter in module.parameters():
        instead[id(parameter)] = nn.Parameter(torch.empty_like(parameter, device="meta"), requires_grad=parameter.requires_grad)
    return instead | {id(buffer): torch.empty_like(buffer, device="meta") for buffer in module.buffers()}
