"""What a case is, and how one is registered.

    @fault(kind="eval-dropout", where="encoder", project="owner/name", source="github.com/owner/name/issues/1")
    def dropout_in_eval(doctor: Doctor, seed: int, cured: bool) -> Score: ...

A program that takes `cured` is registered twice: as it was reported, and as `dropout_in_eval_cured`, which is healthy.
The look of a case is the package it stands in: a look is shown to the health check once, before any rule has met it.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

LOOKS: Final = (
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "eleventh",
    "twelfth",
    "thirteenth",
    "fourteenth",
    "fifteenth",
    "sixteenth",
    "seventeenth",
    "eighteenth",
    "nineteenth",
    "twentieth",
    "twentyfirst",
    "twentysecond",
    "twentythird",
    "twentyfourth",
    "twentyfifth",
    "twentysixth",
)
KINDS: Final = """
input-scale target-scale target-range target-constant target-rows repeated-batch sorted-data shuffled-targets broadcast
probabilities-as-logits softmax-axis relu-logits other-loss non-finite
unregistered not-optimised gradients-cleared no-gradient never-moved detached-generator frozen-random wrong-mode
eval-dropout shared-norm padding batch-mixing future-leak growing-graph
schedule-to-zero weight-decay clip-before-unscale eps-underflow optimiser-state-lost no-warmup
learning-rate-too-high learning-rate-too-low slow-learning collapsed-kl collapsed-embedding underfitting missing-zero-grad
saturation dead-units symmetry norm-statistics initial-loss gradient-scale activation-scale
overfitting held-out-labels dev-scale leak majority-class
""".split()  # noqa: SIM905  a list of words
CASES: Final[dict[str, Case]] = {}


@dataclass(frozen=True)
class Score:
    """How well a trained program does its job, and the bar it must pass to be called healthy.

    A fault hurts if its program stays on the wrong side of the bar.
    """

    value: float
    bar: float
    higher: bool  # whether more is better

    @property
    def good(self) -> bool:
        """False for NaN."""
        return self.value >= self.bar if self.higher else self.value <= self.bar


def above(value: Any, bar: float) -> Score:
    """A score such as accuracy: good from `bar` up."""
    return Score(_plain(value), bar, higher=True)


def below(value: Any, bar: float) -> Score:
    """A score such as an error: good from `bar` down."""
    return Score(_plain(value), bar, higher=False)


@dataclass(frozen=True)
class Case:
    """One program.

    kinds: names of the fault, the best one first, of which any is right; empty if the program is healthy.
    where: module or parameter that a right finding names; "" for the whole run.
    remark: a finding of severity "info" is right too, for what is a weakness rather than a fault.
    certain: why the fault is one although the score does not show it; "" if the score does.
    cure_of: the fault that this healthy program is the cure of; "".
    """

    name: str
    look: str
    program: Callable[..., Score]
    project: str
    source: str
    kinds: tuple[str, ...] = ()
    where: str = ""
    remark: bool = False
    certain: str = ""
    cure_of: str = ""


def fault(
    *, kind: str, project: str, source: str, where: str = "", also: tuple[str, ...] = (), remark: bool = False, certain: str = ""
) -> Callable[[Callable[..., Score]], Callable[..., Score]]:
    """Register a program with a fault, and its cure if the program takes `cured`."""

    def register(program: Callable[..., Score]) -> Callable[..., Score]:
        both = "cured" in inspect.signature(program).parameters
        name = program.__name__
        sick = partial(program, cured=False) if both else program
        _add(Case(name, _look(program), sick, project, source, (kind, *also), where, remark, certain))
        if both:
            _add(Case(f"{name}_cured", _look(program), partial(program, cured=True), project, source, cure_of=name))
        return program

    return register


def healthy(*, project: str, source: str) -> Callable[[Callable[..., Score]], Callable[..., Score]]:
    """Register a program in which nothing is wrong."""

    def register(program: Callable[..., Score]) -> Callable[..., Score]:
        _add(Case(program.__name__, _look(program), program, project, source))
        return program

    return register


def load(look: str = "") -> dict[str, Case]:
    """All cases of a look, or of all looks that are here."""
    for name in (look,) if look else LOOKS:
        try:
            package = importlib.import_module(f"benchmarks.wild.{name}")
        except ModuleNotFoundError:
            continue
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{package.__name__}.{module.name}")
    return {name: case for name, case in CASES.items() if look in ("", case.look)}


def _plain(value: Any) -> float:
    """A tensor of one element or a number, as a float."""
    return float(value.detach()) if hasattr(value, "detach") else float(value)


def _look(program: Callable[..., Any]) -> str:
    return program.__module__.split(".")[2]


def _add(case: Case) -> None:
    if unknown := set(case.kinds) - set(KINDS):
        raise ValueError(f"{case.name} has kinds nobody knows: {', '.join(unknown)}")
    if case.name in CASES:
        raise ValueError(f"two cases are called {case.name}")
    CASES[case.name] = case
