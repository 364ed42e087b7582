"""`python -m scripts.site [NAME ...]`: run the programs of these checks and experiments, or of all, and keep what they gave."""

from __future__ import annotations

import sys

from scripts.site.programs import CHECKS, EXPERIMENTS, keep


def main(wanted: list[str]) -> int:
    """Every program of these names; a name may be that of a check and of an experiment. Exit code 1 if one shows nothing."""
    wrong = 0
    for kind, names in (("check", CHECKS), ("experiment", EXPERIMENTS)):
        for name in names:
            if wanted and name not in wanted:
                continue
            try:
                made = keep(kind, name)
            except RuntimeError as error:
                wrong += 1
                print(f"{kind} {error}"[:600], flush=True)
            else:
                print(f"{kind} {name}: {made.title}", flush=True)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
