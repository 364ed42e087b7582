"""The edit distance as the textbooks have it, to hold automata and trees against."""

from __future__ import annotations


def edits(a: str, b: str) -> int:
    """How many characters must be put in, left out or replaced to make b of a (Wagner & Fischer 1974)."""
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        above, row = row, [i]
        for j, right in enumerate(b, 1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (left != right)))
    return row[-1]
