"""Whether two traces tell the same."""

from __future__ import annotations

import numpy as np

from lettrine.health.archive import trace_to_arrays
from lettrine.health.trace import Trace


def same(ours: Trace, theirs: Trace, rtol: float) -> None:
    """Every text and every figure, figures to `rtol`: sums may have been added in another order."""
    assert ours.facts.errors == theirs.facts.errors == ()
    (arrays, text), (expected, expected_text) = trace_to_arrays(ours), trace_to_arrays(theirs)
    assert text == expected_text
    assert arrays.keys() == expected.keys()
    for name in arrays:
        np.testing.assert_allclose(arrays[name], expected[name], rtol=rtol, err_msg=name)
