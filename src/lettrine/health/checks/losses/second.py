"""The check of second derivatives that hold mixed ones too."""

from __future__ import annotations

from collections.abc import Iterator

from lettrine.health import limits_wiring as limits
from lettrine.health.checks.reference import looked_at
from lettrine.health.checks.registry import check
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace


@check("mixed-derivatives")
def mixed_derivatives(trace: Trace) -> Iterator[Finding]:
    """An equation whose second derivatives are those of the sum of all first ones.

    Measured: Which gradients are differentiated again, and with which weights.
    Formula: grad(u_x, x, ones)[i] = sum over j of d2u / (dx_i dx_j). The equation asks for d2u / dx_i2.
    """
    for seen in trace.seen("second derivatives"):
        if seen.figure("looks") < limits.MASK_LOOKS:
            continue
        axes = int(seen.figure("axes"))
        yield Finding(
            id="mixed-derivatives",
            severity="warning",
            where=(),
            steps=seen.steps,
            value=float(axes),
            limit=1.0,
            message=f"The whole gradient, by {axes} coordinates, is differentiated at once with weights of 1: column i of the "
            f"result is the sum of d2u / (dx_i dx_j) over all {axes} coordinates j, not d2u / dx_i2.",
            why="The mixed derivatives are added to each second derivative: the network solves another equation.",
            remedy="Differentiate one column at a time: u_x = grad(u, x, torch.ones_like(u), create_graph=True)[0]; u_xx = "
            "grad(u_x[:, 0].sum(), x, create_graph=True)[0][:, 0], and so for each coordinate.",
            reference="Raissi et al. 2019, Physics-informed neural networks, section 3: the residual of the equation",
        )
    looked_at(trace)
