"""A trace in the form that `torch.save` and `torch.load(weights_only=True)` accept: tensors and text."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch

from lettrine.errors import HealthError
from lettrine.health.archive import trace_from_arrays, trace_to_arrays
from lettrine.health.trace import Trace


def packed(trace: Trace) -> dict[str, Any]:
    """The inverse of `unpacked`."""
    arrays, values = trace_to_arrays(trace)
    return {"arrays": {name: torch.from_numpy(array) for name, array in arrays.items()}, "values": json.dumps(values)}


def unpacked(kept: Any) -> Trace:
    """The trace from its packed form. Raises HealthError if it cannot be read."""
    try:
        return trace_from_arrays({name: np.asarray(array) for name, array in kept["arrays"].items()}, json.loads(kept["values"]))
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise HealthError(f"the trace of the run that goes on cannot be read ({error}); leave load_state_dict out") from None
