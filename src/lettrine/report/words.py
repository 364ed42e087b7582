"""Numbers and names as text: the same on paper, on the screen and in a chart."""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
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


def short(name: str, most: int) -> str:
    """The name, cleaned, and if it is longer than that, only its last parts, such as …attention.self.query: what is left can be
    searched for. The last part is whole in any case, unless it is longer than twice that.
    """
    name = clean(name)
    parts = name.split(".")
    while len(name) > most and len(parts) > 1:
        parts = parts[1:]
        name = f"…{'.'.join(parts)}"
    return name if len(name) <= 2 * most else f"…{name[1 - 2 * most :]}"


def labels(names: Sequence[str], most: int) -> list[str]:
    """`short` names. Of those that became the same, parts are left in until they differ."""
    result = [short(name, most) for name in names]
    alike: dict[str, list[int]] = {}
    for place, label in enumerate(result):
        alike.setdefault(label, []).append(place)
    for places in alike.values():
        parts = [clean(names[place]).split(".") for place in places]
        kept = telling(parts)
        for place, each in zip(places, parts, strict=True):
            if kept:
                result[place] = f"{'…' * (kept < len(each))}{'.'.join(each[-kept:])}"
    seen = Counter[str]()
    for place, label in enumerate(result):
        seen[label] += 1
        result[place] = label if seen[label] == 1 else f"{label} ({seen[label]})"
    return result


def telling(names: Sequence[Sequence[str]]) -> int:
    """How many of their last parts tell these names apart; 0 if there is nothing to tell apart."""
    different = len({tuple(each) for each in names})
    if different == 1:
        return 0
    return next(kept for kept in range(1, max(map(len, names)) + 1) if len({tuple(each[-kept:]) for each in names}) == different)


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
