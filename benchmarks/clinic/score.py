"""How often a health check is right: recall, precision, and which fault is taken for which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan
from typing import Final

from benchmarks.clinic.doctors import Answer
from benchmarks.clinic.plants import Case

MINOR = ("bias-before-norm",)
"""Faults that are only worth an "info"."""

CLOSER: Final = {"oscillation": ("sorted-data",), "no-learning": ("shuffled-targets",)}
"""What names a planted fault more closely than its own name: data in the order of their classes, targets drawn at random."""


@dataclass(frozen=True)
class Result:
    """One case, one seed."""

    case: Case
    seed: int
    answers: tuple[Answer, ...]

    @property
    def alarms(self) -> list[Answer]:
        """Findings that are more than a note."""
        return [each for each in self.answers if each.severity != "info"]

    @property
    def named(self) -> bool:
        """Whether the planted fault was named, at the right place."""
        answers = self.answers if self.case.fault in MINOR else self.alarms
        return any(each.id in self._right and self._there(each) for each in answers)

    @property
    def first(self) -> str:
        """Id of the likeliest cause that was given; "nothing" if there is none."""
        answers = self.answers if self.case.fault in MINOR else self.alarms
        if not answers:
            return "nothing"
        return self.case.fault if answers[0].id in self._right else answers[0].id

    @property
    def wrong(self) -> list[Answer]:
        """Findings that are not true of this case."""
        right = (*self._right, *self.case.also)
        return [each for each in self.alarms if each.id not in right or (each.id == self.case.fault and not self._there(each))]

    @property
    def _right(self) -> tuple[str, ...]:
        return self.case.fault, *CLOSER.get(self.case.fault, ())

    def _there(self, answer: Answer) -> bool:
        # A check may name a layer where another names its weight.
        named = {name.removesuffix(".weight").removesuffix(".bias") for name in answer.where}
        return not self.case.where or any(name.removesuffix(".weight") in named for name in self.case.where)


def summary(results: Sequence[Result]) -> dict[str, float]:
    """recall: planted faults named; first: named as the likeliest cause; precision: findings that are true; silent: healthy
    cases without a warning. NaN where there was nothing to be right or wrong about.
    """
    sick = [each for each in results if each.case.fault]
    well = [each for each in results if not each.case.fault]
    alarms = sum(len(each.alarms) for each in results)
    return {
        "recall": _share(sum(each.named for each in sick), len(sick)),
        "first": _share(sum(each.first == each.case.fault for each in sick), len(sick)),
        "precision": _share(alarms - sum(len(each.wrong) for each in results), alarms),
        "silent": _share(sum(not each.alarms for each in well), len(well)),
    }


def _share(count: int, of: int) -> float:
    return count / of if of else nan


def confusion(results: Sequence[Result]) -> dict[str, Counter[str]]:
    """By planted fault, how often which finding was given first."""
    table: dict[str, Counter[str]] = {}
    for each in results:
        table.setdefault(each.case.fault or "healthy", Counter())[each.first] += 1
    return table


def rendered(results: Sequence[Result]) -> str:
    """The summary, the confusion table, and every miss, as text."""
    figures = summary(results)
    sick = sum(bool(each.case.fault) for each in results)
    lines = [
        f"{sick} sick and {len(results) - sick} healthy runs",
        "  ".join(f"{name} —" if isnan(value) else f"{name} {100 * value:.0f} %" for name, value in figures.items()),
        "",
        f"{'planted':26}named  given first",
    ]
    for fault, given in confusion(results).items():
        mine = [each for each in results if (each.case.fault or "healthy") == fault]
        named = sum(each.named if each.case.fault else not each.alarms for each in mine)
        lines.append(f"{fault:26}{named:2}/{len(mine):<4}{', '.join(f'{name} {count}' for name, count in given.most_common())}")
    for each in results:
        missed = bool(each.case.fault) and not each.named
        if missed or each.wrong:
            what = "missed" if missed else "wrong"
            said = "; ".join(f"{answer.id} {list(answer.where)[:3]} {answer.message}" for answer in each.answers)
            lines.append(f"{what}: {each.case.name} seed {each.seed}: {said}")
    return "\n".join(lines)
