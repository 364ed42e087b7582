"""Modules and weights at the same place of each block, such as the 24 called h.*.attn.c_attn: one kind."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from lettrine.health.trace import Trace

REPEATS: Final = 4  # so many blocks are needed to show their modules as one kind
ENDING: Final = ".input"  # of the name of an activation that is called as a function
NUMBER: Final = re.compile(r"(.*?)(\d+)$")


@dataclass(frozen=True)
class Kind:
    """One kind. name: has a star for each number that counts blocks. cls: the class of its members, such as Linear.

    members: their whole names, from the input on. blocks: the number of the block of each, from 0.
    """

    name: str
    cls: str
    members: tuple[str, ...]
    blocks: tuple[int, ...]


def few(named: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """What layers of one kind share, for each name in {name: class}, where too few blocks repeat for a `Kind`.

    Layers at the same place of two or three blocks are of one kind. A layer that is in no other block is of one kind with those
    whose names differ from its own in numbers only: conv1 and conv2, 0 and 2 of a plain stack.
    """
    holders = holding(named)
    strict = {name: (places(name, holders)[0], cls) for name, cls in named.items()}
    counts = Counter(strict.values())
    return {name: key if counts[key] > 1 else (re.sub(r"\d+", "*", name), key[1]) for name, key in strict.items()}


def kinds(named: Mapping[str, str]) -> list[Kind]:
    """The kinds among modules or weights, {name: class} from the input on. A kind has REPEATS members or more.

    A number counts blocks if it has REPEATS values or more and is in the name of a module that holds others. So those of conv1
    and conv2, and of layers.0 and layers.1 in a plain stack, count none.
    """
    holders = holding(named)
    split = {name: places(name, holders) for name in named}
    values: dict[tuple[str, str, int], set[int]] = {}
    for name, (template, numbers) in split.items():
        for place, number in enumerate(numbers):
            values.setdefault((template, named[name], place), set()).add(number)
    found: dict[tuple[str, str], list[str]] = {}
    for name, (template, numbers) in split.items():
        cls = named[name]
        counts = [len(values[template, cls, place]) >= REPEATS for place in range(len(numbers))]
        shown = ["*" if blocks else str(number) for blocks, number in zip(counts, numbers, strict=True)]
        if any(counts):
            found.setdefault((filled(template, shown), cls), []).append(name)
    kept = {key: names for key, names in found.items() if len(names) >= REPEATS}
    order = numbered({name: split[name] for names in kept.values() for name in names})
    return [Kind(name, cls, tuple(members), tuple(order[each] for each in members)) for (name, cls), members in kept.items()]


def module_kinds(trace: Trace) -> list[Kind]:
    """The kinds of a trace's modules; empty for a network without repeated blocks."""
    return kinds({module.name: module.kind for module in trace.modules})


def holding(names: Iterable[str]) -> set[str]:
    """The names of modules that hold others."""
    parted = (name.removesuffix(ENDING).split(".") for name in names)
    return {".".join(parts[:end]) for parts in parted for end in range(len(parts))}


def places(name: str, holders: set[str]) -> tuple[str, tuple[int, ...]]:
    """A name with a star for each number that may count blocks, and those numbers. holders: names of modules that hold others.

    A name that contains a star itself belongs to no kind.
    """
    if "*" in name:
        return name.replace("*", "?"), ()
    ending = ENDING if name.endswith(ENDING) else ""
    parts = name.removesuffix(ending).split(".")
    numbers = []
    for i, part in enumerate(parts):
        found = NUMBER.match(part)
        if found and (i < len(parts) - 1 or name in holders):
            parts[i] = found[1] + "*"
            numbers.append(int(found[2]))
    return ".".join(parts) + ending, tuple(numbers)


def filled(template: str, shown: Sequence[str]) -> str:
    """A template whose stars are replaced, one after the other."""
    first, *rest = template.split("*")
    return first + "".join(each + text for each, text in zip(shown, rest, strict=True))


def numbered(split: Mapping[str, tuple[str, tuple[int, ...]]]) -> dict[str, int]:
    """The number of each name's block, from 0: its place among all numbers that follow the same beginning, in order."""
    heads: dict[str, set[tuple[int, ...]]] = {}
    for template, numbers in split.values():
        heads.setdefault(template.partition("*")[0], set()).add(numbers)
    ranks = {(head, each): rank for head, found in heads.items() for rank, each in enumerate(sorted(found))}
    return {name: ranks[template.partition("*")[0], numbers] for name, (template, numbers) in split.items()}
