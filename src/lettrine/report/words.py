"""Numbers and names as text: the same on paper, on the screen and in a chart."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from typing import Final, TypeVar

NONE: Final = "\N{EN DASH}"  # not measured
NUMERALS: Final = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")

Item = TypeVar("Item")


def clean(text: str) -> str:
    """The text without control characters, line breaks, marks that change the direction of writing, and non-characters.

    Names come from the user's code, characters from the user's words.
    """
    return "".join(" " if c in "\t\r\n" else c for c in text if c in "\t\r\n" or not hidden(c))


def hidden(character: str) -> bool:
    """Whether a character is not seen but changes what is around it."""
    return unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"} or ord(character) & 0xFFFE == 0xFFFE


def short(name: str, most: int, outer: int | None = None) -> str:
    """The name, cleaned and at most `most` characters long.

    Outer parts are cut to their first letter, as in e.l.11.attention; numbers stay whole. If that is not enough, the middle is
    left out. outer: how many parts to cut; None for as many as needed.
    """
    name = clean(name)
    parts = name.split(".")
    for i, part in enumerate(parts[:-1][:outer]):
        if outer is None and len(name) <= most:
            break
        parts[i] = part if part.isdigit() else part[:1]
        name = ".".join(parts)
    if len(name) <= most:
        return name
    tail = (most - 1) * 3 // 5
    return f"{name[: most - 1 - tail]}…{name[-tail:]}"


def labels(names: Sequence[str], most: int) -> list[str]:
    """`short` names, all cut alike. A number tells two apart that became the same."""
    deepest = max((name.count(".") for name in names), default=0)
    enough = (k for k in range(deepest + 1) if all("…" not in short(name, most, k) for name in names))
    outer = next(enough, deepest)
    seen: dict[str, int] = {}
    result = []
    for name in names:
        label = short(name, most, outer)
        seen[label] = seen.get(label, 0) + 1
        result.append(label if seen[label] == 1 else f"{label} ({seen[label]})")
    return result


def number(value: float) -> str:
    """Three significant digits; with powers of ten below 0.001 and from 100,000 on; a dash for NaN.

    Zeros at the end stay, so that the columns of a table line up. `brief` drops them.
    """
    if math.isnan(value):
        return NONE
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value == 0:
        return "0"
    if not 1e-3 <= abs(value) < 1e5:
        return scientific(value)
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"


def brief(value: float) -> str:
    """`number` without zeros at the end, for sentences."""
    digits, e, power = number(value).partition("e")
    return (digits.rstrip("0").rstrip(".") if "." in digits else digits) + e + power


def scientific(value: float) -> str:
    """Always with a power of ten, such as 2.20e-3, as in the published tables of gradients."""
    if not math.isfinite(value):
        return number(value)
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def percent(share: float) -> str:
    """A share as per cent, one digit below ten."""
    if math.isnan(share):
        return NONE
    return f"{share:.1%}".replace("%", " %") if 0 < share < 0.0995 else f"{share:.0%}".replace("%", " %")


def count(amount: int, noun: str) -> str:
    """Such as: no checks, one check, two checks, 23 checks."""
    return f"{numeral(amount)} {noun}" if amount == 1 else f"{numeral(amount)} {noun}s"


def numeral(amount: int) -> str:
    """Small numbers in words."""
    return NUMERALS[amount] if amount < len(NUMERALS) else f"{amount:,}"


def steps_text(first: int, last: int) -> str:
    """Such as: step 3, or steps 3 to 1,000."""
    return f"step {first:,}" if first == last else f"steps {first:,} to {last:,}"


def spread(items: Iterable[Item], most: int, keep: Collection[int] = ()) -> list[Item]:
    """At most `most` items, in order: evenly spaced, with the first, the last, and those at the indices `keep`."""
    items = list(items)
    if len(items) <= most:
        return items
    chosen = set(spread(sorted(keep), most))
    free = [i for i in range(len(items)) if i not in chosen]
    wanted = most - len(chosen)
    if wanted > 1:
        chosen |= {free[round(i * (len(free) - 1) / (wanted - 1))] for i in range(wanted)}
    return [items[i] for i in sorted(chosen)]
