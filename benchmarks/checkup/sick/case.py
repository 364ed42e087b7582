"""What a sick task is, and how one is registered.

Re-created from kinds of public bug reports. A builder takes `cured` and returns (model, batches, loss_fn, optimizer).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.checkup.making import Made


@dataclass(frozen=True)
class Case:
    """kind: the finding's id that is right. where: a name that must be among its places; "" for the whole task."""

    name: str
    kind: str
    where: str
    build: Callable[[bool], Made]


CASES: list[Case] = []


def case(name: str, kind: str, where: str = "") -> Callable[[Callable[[bool], Made]], Callable[[bool], Made]]:
    def register(build: Callable[[bool], Made]) -> Callable[[bool], Made]:
        CASES.append(Case(name, kind, where, build))
        return build

    return register
