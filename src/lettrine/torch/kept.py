"""A trace in the form that `torch.save` and `torch.load(weights_only=True)` accept: tensors and text."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lettrine.errors import HealthError
from lettrine.health.archive import trace_from_arrays, trace_to_arrays
from lettrine.health.trace import Trace


def packed(trace: Trace) -> dict[str, Any]:
    """The inverse of `unpacked`. Arrays are kept as bytes, with their type after the name: the device that `torch.load` brings
    them to may have no float64.
    """
    arrays, values = trace_to_arrays(trace)
    kept = {f"{name}:{array.dtype}": torch.from_numpy(array.view(np.uint8)) for name, array in arrays.items()}
    return {"arrays": kept, "values": json.dumps(values)}


def unpacked(kept: Any) -> Trace:
    """The trace from its packed form, on whatever device. Raises HealthError if it cannot be read."""
    try:
        return trace_from_arrays(dict(_array(*each) for each in kept["arrays"].items()), json.loads(kept["values"]))
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise HealthError(f"the trace of the run that goes on cannot be read ({error}); leave load_state_dict out") from None


def _array(name: str, value: Any) -> tuple[str, NDArray[Any]]:
    name, _, kind = name.partition(":")  # older versions kept the arrays as they are
    array = np.asarray(torch.as_tensor(value).cpu())
    return name, array.view(kind) if kind else array
