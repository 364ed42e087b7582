"""A trace of many repeated blocks, written by hand: every figure follows from the number of the block and of the step."""

from __future__ import annotations

import numpy as np

from lettrine.health.trace import GRADIENT_STATS, OUTPUT_STATS, PARAMETER_STATS, Curve, Facts, ModuleInfo, ParameterInfo, Trace

STEPS = (0, 1, 3, 9)


def deep_trace(blocks: int = 6, *, growth: float = 1.0, update: float = 1e-3) -> Trace:
    """Of embed, `blocks` of (up, act, down and the block itself), head.

    std of the output of everything in block b: growth ** b, of up twice as much; of the gradient: growth ** -b. gradient:data of
    up is 0.01 (b + 1) at the first step and ten times as much at the others, of down 0.5. update:data: `update`.
    """
    places = [("embed", "Linear", "linear", 0)]
    for b in range(blocks):
        names = (
            (".up", "Linear", "linear"),
            (".act", "GELU", "activation"),
            (".down", "Linear", "linear"),
            ("", "Block", "other"),
        )
        places += [(f"net.layers.{b}{name}", kind, role, b) for name, kind, role in names]
    places.append(("head", "Linear", "output", blocks - 1))
    modules = tuple(ModuleInfo(name, kind, role, "gelu" if role == "activation" else "", 8) for name, kind, role, _ in places)
    kept = [name for name, kind, _, _ in places if kind == "Linear"]
    outputs, gradients, parameters = {}, {}, {}
    for name, _, role, b in places:
        outputs[name] = np.full((len(STEPS), len(OUTPUT_STATS)), np.nan)
        outputs[name][:, OUTPUT_STATS.index("std")] = growth**b * (2 if name.endswith("up") else 1)
        if role == "activation":
            outputs[name][:, OUTPUT_STATS.index("dead")] = 0.25 if b == 2 else 0.0
        gradients[name] = np.full((len(STEPS), len(GRADIENT_STATS)), np.nan)
        gradients[name][:, GRADIENT_STATS.index("std")] = growth**-b
        if name in kept:
            row = np.full((len(STEPS), len(PARAMETER_STATS)), np.nan)
            ratio = 0.01 * (b + 1) * np.array([1, 10, 10, 10]) if name.endswith("up") else 0.5
            row[:, PARAMETER_STATS.index("gradient_data")] = ratio
            row[:, PARAMETER_STATS.index("update_data")] = update
            parameters[f"{name}.weight"] = row
    steps = np.array(STEPS)
    loss, empty = Curve(*[np.arange(1.0, 11)] * 4), Curve(*[np.zeros(0)] * 4)
    return Trace(
        modules=modules,
        parameters=tuple(ParameterInfo(f"{name}.weight", name, (8, 8), True, True) for name in kept),
        facts=Facts("by hand"),
        steps=steps,
        step_stats={},
        outputs=outputs,
        gradients=gradients,
        parameter_stats=parameters,
        norms={},
        output_histograms={},
        gradient_histograms={},
        units={},
        maps={},
        loss=loss,
        recent=loss,
        dev=empty,
    )
