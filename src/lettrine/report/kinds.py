"""Modules and weights that stand at the same place of block after block, such as the 24 called h.*.attn.c_attn."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from lettrine.health.trace import Trace

REPEATS: Final = 4  # of a block, from which its modules are shown as one kind
ENDING: Final = ".input"  # of the name of an activation that was called as a function
NUMBER: Final = re.compile(r"(.*?)(\d+)$")


@dataclass(frozen=True)
class Kind:
    """One kind. name: with a star in the place of each number that counts blocks. cls: what its members are, such as Linear.

    members: whole names, from the input on. blocks: the number of the block each of them lies in, from 0.
    """

    name: str
    cls: str
    members: tuple[str, ...]
    blocks: tuple[int, ...]


def kinds(named: Mapping[str, str]) -> list[Kind]:
    """The kinds among modules or weights, {name: class} from the input on; what repeats less than REPEATS times is in none.

    A number counts blocks if it stands in the name of something that holds others (so not in conv1 and conv2, nor in the places
    of a plain stack, layers.0 and layers.1) and takes REPEATS values or more.
    """
    holders = {
        ".".join(parts[:end]) for parts in (name.removesuffix(ENDING).split(".") for name in named) for end in range(len(parts))
    }
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


def places(name: str, holders: set[str]) -> tuple[str, tuple[int, ...]]:
    """A name with a star for each number that may count blocks, and those numbers. holders: names of what holds others.

    A name that has stars of its own is of no kind.
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
    """A template with its stars replaced, one after another."""
    first, *rest = template.split("*")
    return first + "".join(each + text for each, text in zip(shown, rest, strict=True))


def numbered(split: Mapping[str, tuple[str, tuple[int, ...]]]) -> dict[str, int]:
    """The number of the block that each name lies in: among all numbers that occur after the same beginning, in their order."""
    heads: dict[str, set[tuple[int, ...]]] = {}
    for template, numbers in split.values():
        heads.setdefault(template.partition("*")[0], set()).add(numbers)
    ranks = {(head, each): rank for head, found in heads.items() for rank, each in enumerate(sorted(found))}
    return {name: ranks[template.partition("*")[0], numbers] for name, (template, numbers) in split.items()}
