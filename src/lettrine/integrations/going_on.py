"""Whether a training goes on where the last one of the same callback ended, as with skorch's `partial_fit`."""

from __future__ import annotations

from typing import Any

from lettrine.torch.watching.watch import Watch


def going_on(earlier: Watch | None, watch: Watch, state: dict[str, Any] | None) -> dict[str, Any] | None:
    """What the new watch begins with: `state`, or all that the earlier one saw, if no more than its last step is known and the
    parameters are the same. Keras's models are seen through a new module in each training.
    """
    if earlier is None or not earlier.steps or state != {"step": earlier.steps}:
        return state
    own, others = ({id(each) for each in one.model.parameters()} for one in (watch, earlier))
    return earlier.state_dict() if own == others else state
