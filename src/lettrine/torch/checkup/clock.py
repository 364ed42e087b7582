"""The clock of a check-up: time that passed, without the time that this thread waited for a processor.

So on a busy machine the same experiments run as on a quiet one. Processor time would not do: a model on CUDA and a slow data
source take time and no processor, and with several threads it runs several times as fast.
"""

from __future__ import annotations

from pathlib import Path
from time import monotonic
from typing import Final

BUSY: Final = 3.0  # times the time limit that may pass on a busy machine, all in all
NANOSECONDS: Final = 1e-9
SCHEDULED: Final = Path("/proc/thread-self/schedstat")  # Linux: nanoseconds run, nanoseconds waited for a processor, time slices


def clock() -> float:
    """Seconds since some moment, without those this thread waited for a processor."""
    return monotonic() - waited()


def waited() -> float:
    """Seconds this thread has waited for a processor; 0 where the system does not tell."""
    try:
        return NANOSECONDS * int(SCHEDULED.read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0.0
