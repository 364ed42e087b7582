"""Small tasks, each sick in one known place, beside their cures: the place must be named, and the cure met with silence."""

from benchmarks.checkup.sick import attention, data, examples, numbers, reading, steps, wiring
from benchmarks.checkup.sick.case import CASES, Case

__all__ = ["CASES", "Case", "attention", "data", "examples", "numbers", "reading", "steps", "wiring"]
