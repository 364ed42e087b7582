"""Walks through autograd's graph, and recognises weights that still have their random start values."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod, sqrt
from types import FunctionType
from typing import Any, Final

import torch
from torch import Tensor, nn

from lettrine.torch.devices import double
from lettrine.torch.graph.reading import Node

NODES: Final = 20_000  # nodes visited in one walk: a larger graph belongs to a large network and is read in part
_LEAST: Final = 48  # values needed to recognise a distribution
_READ: Final = 1 << 16  # values read of a parameter
_ROWS: Final = 128  # rows compared with each other
_LARGE: Final = 1 << 14  # values needed to recognise a normal draw with one of the usual standard deviations
_DEVIATIONS: Final = 4.0  # standard errors that a statistic of a random draw may differ from its expectation


def walk(starts: Iterable[Node | None], most: int = NODES) -> list[Node]:
    """The nodes reachable from these, nearest first, each once."""
    waiting, found, seen = list(starts), list[Node](), set[Node]()
    place = 0
    while place < len(waiting) and len(found) < most:
        node = waiting[place]
        place += 1
        if node is None or node in seen:
            continue
        seen.add(node)
        found.append(node)
        waiting += [following for following, _ in node.next_functions]
    return found


def leaves(nodes: Iterable[Node]) -> list[Tensor]:
    """The leaf tensors among these nodes, where gradients are stored."""
    return [leaf for node in nodes if isinstance(leaf := getattr(node, "variable", None), Tensor)]


def hidden_parameters(model: nn.Module) -> dict[int, str]:
    """By id: names of parameters in plain containers and plain objects of the model's modules, such as "layers[1].weight".

    torch does not register them as parameters of the model.
    """
    own = {id(parameter) for parameter in model.parameters()}
    known = set(model.modules())
    found: dict[int, str] = {}
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            if not name.startswith("_") and (isinstance(value, list | tuple | dict | set) or _plain(value)):
                for place, parameter in _contained(value, name, known):
                    if id(parameter) not in own:
                        found.setdefault(id(parameter), f"{path}.{place}" if path else place)
    return found


def _contained(value: Any, place: str, known: set[nn.Module], depth: int = 3) -> list[tuple[str, Tensor]]:
    if isinstance(value, nn.Module):
        return [] if value in known else [(f"{place}.{name}", each) for name, each in value.named_parameters()]
    if isinstance(value, nn.Parameter):
        return [(place, value)]
    if depth and _plain(value):
        below = [(each, f"{place}.{name}") for name, each in vars(value).items() if not name.startswith("_")]
        return [found for each, inside in below for found in _contained(each, inside, known, depth - 1)]
    if not depth or not isinstance(value, list | tuple | dict | set):
        return []
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    return [found for key, each in pairs for found in _contained(each, f"{place}[{key!r}]", known, depth - 1)]


def _plain(value: Any) -> bool:
    """Whether this is an object of a class of the user's own that is no module, such as a layer that forgot to be one."""
    own = not type(value).__module__.startswith(("torch", "builtins", "collections", "functools"))
    return own and hasattr(value, "__dict__") and callable(value) and not isinstance(value, nn.Module | type | FunctionType)


def fresh_random(weight: Tensor, large: int = _LARGE) -> str:
    """The random distribution of a matrix that is not trained yet; "" if there is none.

    Its values must match what one of the usual initialisers draws for its shape. Uniform draws end sharply at a bound that
    follows from the shape; trained weights exceed it. Normal draws have no bound: only large matrices, and embeddings with std
    1, are recognised, by std and kurtosis. large: values from which a matrix is large.
    """
    values = double(weight.detach().reshape(-1)[:_READ])
    count = values.numel()
    if weight.ndim < 2 or count < _LEAST or not bool(torch.isfinite(values).all()):
        return ""
    mean, std, peak = float(values.mean()), float(values.std()), float(values.abs().max())
    if not std > 0 or abs(mean) > _DEVIATIONS * std / sqrt(count):
        return ""
    fan_in, fan_out = prod(weight.shape[1:]), weight.shape[0] * prod(weight.shape[2:])
    for bound in (1 / sqrt(fan_in), sqrt(6 / fan_in), sqrt(3 / fan_in), sqrt(6 / (fan_in + fan_out))):
        # The std of n uniform values has a relative error of 0.447 / sqrt(n); their peak lies within about 1 / n of the bound.
        if (1 - 10 / count) * bound <= peak <= (1 + 1e-6) * bound and abs(std * sqrt(3) / bound - 1) < 1.8 / sqrt(count):
            return f"uniform within ±{bound:.2g}"
    kurtosis = float((values - mean).pow(4).mean()) / std**4
    usual = (1.0,) if count < large else (1.0, 0.02, sqrt(2 / fan_in), sqrt(2 / fan_out), sqrt(2 / (fan_in + fan_out)))
    normal = count >= 5 * _LEAST and abs(kurtosis - 3) < _DEVIATIONS * sqrt(24 / count)
    if normal and any(abs(std / each - 1) < _DEVIATIONS / sqrt(2 * count) for each in usual) and _independent(weight):
        return f"normal with std {std:.2g}"
    return ""


def _independent(weight: Tensor) -> bool:
    """Whether rows are independent: the squared cosine of two random rows in d dimensions is 1 / d on average.

    Learned vectors, of words for example, form groups.
    """
    return abs(_likeness(weight)) < _DEVIATIONS


def alike_rows(weight: Tensor) -> bool:
    """Whether rows are more alike than those of a random draw, as training makes them, and not all the same."""
    return _likeness(weight) >= _DEVIATIONS and bool(weight.detach().flatten(1).std(0).any())


def _likeness(weight: Tensor) -> float:
    """How far the mean squared cosine of two rows lies above that of independent ones, in standard errors."""
    rows = double(weight.detach()[:_ROWS].flatten(1))
    rows = rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-30)
    pairs = len(rows) * (len(rows) - 1) / 2
    if pairs < 1:
        return 0.0
    squares = ((rows @ rows.T).square().sum() - len(rows)) / (2 * pairs)  # the diagonal holds ones
    return float((squares * rows.shape[1] - 1) / sqrt(2 / pairs))
