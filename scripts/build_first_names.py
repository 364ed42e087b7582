"""Rebuild src/lettrine/text/data/first-names.txt from the counts in the PyPI package `names`.

    pip install names==0.3.0 && python scripts/build_first_names.py

Needed only to check or repeat what is in the repository; lettrine itself never runs it.
"""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path

TARGET = Path(__file__).parent.parent / "src" / "lettrine" / "text" / "data" / "first-names.txt"


def first_names(folder: Path) -> list[str]:
    """Distinct names in lower case, by falling share of the population, then alphabetically.

    Each file gives a name's share of one sex in per cent; the sexes being equally many, the sum of both orders the names.
    """
    shares: defaultdict[str, Decimal] = defaultdict(Decimal)
    for file in ("dist.male.first", "dist.female.first"):
        for line in (folder / file).read_text(encoding="ascii").splitlines():
            name, share, _cumulative, _rank = line.split()
            shares[name.lower()] += Decimal(share)
    return sorted(shares, key=lambda name: (-shares[name], name))


def main() -> None:
    """Write the list."""
    package = find_spec("names")
    if package is None or package.origin is None:
        raise SystemExit("the package `names` is not installed; pip install names==0.3.0")
    names = first_names(Path(package.origin).parent)
    TARGET.write_text("\n".join(names) + "\n", encoding="ascii", newline="\n")
    print(f"{len(names):,} names written to {TARGET}")


if __name__ == "__main__":
    main()
