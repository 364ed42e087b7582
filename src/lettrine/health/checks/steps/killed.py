"""Units that worked, and died after a large step: the learning rate is the cause."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lettrine.health import limits
from lettrine.health.checks.consequence import consequence
from lettrine.health.checks.reading import feeding_weight, share, update_ratios, usable
from lettrine.health.trace import Trace


@dataclass(frozen=True)
class Killed:
    """layer: the module whose units died. weight: the one before it. size: the largest step of that weight until then, relative
    to the weight, at step `step`. before, after: share of dead units at first, and from step `dead` on.
    """

    layer: str
    weight: str
    size: float
    step: int
    before: float
    after: float
    dead: int

    @property
    def words(self) -> str:
        """What happened, in a sentence."""
        return (
            f"Step {self.step:,} changed {self.weight} by {share(self.size)} of its size; of the units of {self.layer}, "
            f"{share(self.before)} were dead at first and {share(self.after)} from step {self.dead:,} on."
        )


def killed(trace: Trace) -> Killed | None:
    """The layer that lost most of its units, if a step large enough to be the cause came before, and learning suffered."""
    mask, bad = usable(trace), consequence(trace).bad
    steps, found = trace.steps[mask], list[Killed]()
    names, table = update_ratios(trace, mask)
    for info in trace.modules:
        if info.role == "output" or info.name not in trace.units or info.name not in trace.outputs:
            continue
        weight, dead = feeding_weight(trace, info.name), trace.output(info.name, "dead")[mask]
        seen = np.flatnonzero(np.isfinite(dead))
        if weight not in names or len(seen) < limits.DEAD_STEPS or dead[seen[0]] > limits.DEAD_SHARE / 2:
            continue
        alive = seen[dead[seen] < limits.DEAD_SHARE]
        late = seen[seen > alive[-1]]
        after = float(np.median(dead[late])) if len(late) >= limits.DEAD_LAST else 0.0
        if after <= (limits.DEAD_SHARE if bad else limits.DEAD_CRITICAL):
            continue
        sizes = np.nan_to_num(table[names.index(weight)][: late[0]])
        most = int(np.argmax(sizes))
        if sizes[most] > limits.UPDATE_LARGE_EARLY:
            before = float(dead[seen[0]])
            found.append(Killed(info.name, weight, float(sizes[most]), int(steps[most]), before, after, int(steps[late[0]])))
    return max(found, key=lambda each: each.after, default=None)
