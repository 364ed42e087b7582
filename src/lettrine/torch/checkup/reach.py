"""Everything that a task can reach and so could change: modules, tensors, optimisers, generators, and the containers that hold
them.
"""

from __future__ import annotations

import dis
import functools
import random
import sys
import types
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader

MOST: Final = 200_000  # objects visited; whatever lies beyond is data, not state
LONG: Final = 10_000  # entries of a list that are visited: longer lists are data
STEPPED: Final = (GradScaler, LRScheduler)  # of torch, and with a state of their own
GENERATORS: Final = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
_DULL: Final = (str, bytes, int, float, complex, bool, type(None), type, types.ModuleType, torch.dtype, torch.device, np.ndarray)


@dataclass
class Reached:
    """The objects found. objects: everything with attributes of its own, modules included. containers: lists, dicts, sets,
    deques. cells: what functions share with the function around them. stored: globals that functions write to, with their names.
    """

    tensors: list[Tensor] = field(default_factory=list)
    modules: list[nn.Module] = field(default_factory=list)
    optimisers: list[Optimizer] = field(default_factory=list)
    generators: list[Any] = field(default_factory=list)
    objects: list[Any] = field(default_factory=list)
    containers: list[Any] = field(default_factory=list)
    cells: list[types.CellType] = field(default_factory=list)
    stored: list[tuple[dict[str, Any], str]] = field(default_factory=list)


def reach(*roots: Any) -> Reached:
    """Walk from the roots through attributes, containers and closures of functions.

    Datasets are skipped, because experiments do not change data. Only the generators of a DataLoader are taken.
    """
    found = Reached()
    seen: dict[int, Any] = {}  # keeps the objects alive, so that no id is used twice
    waiting = list(roots)
    while waiting and len(seen) < MOST:
        thing = waiting.pop()
        if isinstance(thing, _DULL) or id(thing) in seen:
            continue
        seen[id(thing)] = thing
        waiting += _inside(thing, found)
    return found


def _inside(thing: Any, found: Reached) -> Iterable[Any]:  # noqa: C901, PLR0911  one return for each kind of thing
    if isinstance(thing, Tensor):
        found.tensors.append(thing)
        return ()
    if isinstance(thing, GENERATORS):
        found.generators.append(thing)
        return ()
    if isinstance(thing, DataLoader):
        return [each for each in _generators_of(thing) if each is not None]
    if isinstance(thing, Optimizer):
        found.optimisers.append(thing)
        return [parameter for group in thing.param_groups for parameter in group["params"]]
    if isinstance(thing, nn.Module):
        found.modules.append(thing)
        found.objects.append(thing)
        return list(vars(thing).values())
    if isinstance(thing, dict | list | set | deque):
        if len(thing) > LONG:
            return ()
        found.containers.append(thing)
        return list(thing.values()) if isinstance(thing, dict) else list(thing)
    if isinstance(thing, tuple | frozenset):
        return list(thing)[:LONG]
    if isinstance(thing, types.MethodType):
        return (thing.__self__, thing.__func__)
    if isinstance(thing, functools.partial):
        return (thing.func, *thing.args, *thing.keywords.values())
    if isinstance(thing, types.FunctionType):
        return _closed_over(thing, found)
    if isinstance(thing, STEPPED) or _ours_to_open(thing):
        found.objects.append(thing)
        return list(vars(thing).values())
    return ()


def _closed_over(function: types.FunctionType, found: Reached) -> list[Any]:
    """The objects a function holds: closure, defaults, and of the globals it uses functions beside it, networks, optimisers and
    the like. Our own hooks are skipped: what they note must last.
    """
    if (function.__module__ or "").startswith(__package__):
        return []
    cells = [cell for cell in function.__closure__ or () if _filled(cell)]
    found.cells += cells
    given = function.__globals__
    found.stored += [
        (given, each.argval) for each in dis.get_instructions(function) if each.opname == "STORE_GLOBAL" and each.argval in given
    ]
    named = [given.get(name) for name in function.__code__.co_names]
    beside = [each for each in named if isinstance(each, types.FunctionType) and each.__globals__ is given]
    kinds = (nn.Module, Optimizer, Tensor, *STEPPED, *GENERATORS)
    held = [cell.cell_contents for cell in cells]
    return [*held, *(function.__defaults__ or ()), *beside, *(each for each in named if isinstance(each, kinds))]


def _filled(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018  an empty cell raises
    except ValueError:
        return False
    return True


def _ours_to_open(thing: Any) -> bool:
    """Whether it is a plain object of the user or a library, such as a configuration or cache, and not one of Python or torch
    itself.
    """
    if not hasattr(thing, "__dict__"):
        return False
    home = (getattr(type(thing), "__module__", "") or "").partition(".")[0]
    return home not in sys.stdlib_module_names and home not in ("torch", "numpy", "builtins", "rich", "pytest", "_pytest")


def _generators_of(loader: DataLoader[Any]) -> list[Any]:
    samplers = [loader.sampler, loader.batch_sampler, getattr(loader.batch_sampler, "sampler", None)]
    return [loader.generator, *(getattr(sampler, "generator", None) for sampler in samplers)]
