"""Targets of a sequence at other places than those they belong to, and targets that are noise of their own; reported as
"shuffled-targets".
"""

from __future__ import annotations

from collections.abc import Iterator

from lettrine.health import limits_wiring as limits
from lettrine.health.checks.reading import listed
from lettrine.health.evidence import Evidence
from lettrine.health.findings import Finding
from lettrine.health.trace import Trace


def displaced(trace: Trace) -> Iterator[Finding]:
    """Targets shifted twice, wrapped around, flattened in another order than the predictions, or drawn at random."""
    yield from _drawn_targets(trace)
    for seen in trace.seen("displaced"):
        if seen.figure("looks") == seen.figure("all") >= limits.AHEAD_LOOKS:
            message, why, remedy = _told(seen)
            little = seen.words["what"] == "wrapped" and 1 / seen.figure("places") < limits.WRAPPED_LITTLE
            yield Finding(
                id="shuffled-targets",
                severity="info" if little else "critical" if seen.words["what"] == "order" else "warning",
                where=seen.where,
                steps=seen.steps,
                value=seen.figure("places"),
                limit=1.0,
                message=message,
                why=why,
                remedy=remedy,
                reference="Bengio et al. 2003, A neural probabilistic language model, section 2",
            )


def _drawn_targets(trace: Trace) -> Iterator[Finding]:
    """Noise that is asked of the network and is not what was added to its input."""
    for seen in trace.seen("drawn target"):
        if seen.figure("looks") < max(limits.DRAWN_LOOKS, seen.figure("all")):
            continue
        name = seen.words["function"]
        yield Finding(
            id="shuffled-targets",
            severity="critical",
            where=seen.where,
            steps=seen.steps,
            value=seen.figure("looks"),
            limit=float(limits.DRAWN_LOOKS),
            message=f"The targets come from {name}, and nothing else at the step was computed from these numbers: they are not "
            "the noise in the input.",
            why="No network can know numbers that were drawn for the loss alone; the best answer is 0.",
            remedy="Draw the noise once: noise = torch.randn_like(x); noisy = a * x + b * noise; loss = mse_loss(net(noisy, t), "
            "noise).",
            reference="Ho, Jain & Abbeel 2020, Denoising diffusion probabilistic models, algorithm 1",
        )


def _told(seen: Evidence) -> tuple[str, str, str]:
    """Message, why and remedy."""
    places, rows = int(seen.figure("places")), int(seen.figure("rows"))
    given = f"what {listed(seen.where)} is given" if seen.where else "the input"
    if seen.words["what"] == "ahead":
        message = (
            f"The target at each place is the token {places} places later in {given}, in all {rows:,} rows looked at; no target "
            "is the next token."
        )
        why = (
            "Inputs and targets were shifted more than once, as by the program and again by the model or its loss: what is then "
            "written one token after another leaves tokens out."
        )
        remedy = (
            "Shift once: hand over unshifted labels if the model or the loss shifts them (as *ForCausalLM of transformers does); "
            "or cut logits[:, :-1] and labels[:, 1:] yourself, with a loss that does not shift."
        )
    elif seen.words["what"] == "wrapped":
        message = (
            f"The target at the last of {places} places is the row's own first token, in all {rows:,} rows looked at: that token "
            "does not follow."
        )
        why = f"One target of {places} is wrong in every row, and the network learns to expect it."
        remedy = (
            "Cut rows of T + 1 tokens: inputs are row[:-1], targets row[1:]. (torch.roll and np.roll put the first token at the "
            "end.)"
        )
    else:
        message = (
            f"Predictions are flattened from {seen.words['predictions']}, their targets from {seen.words['targets']}: each is "
            "compared with the target of another place in another row."
        )
        why = "The network cannot learn targets that do not belong to their inputs."
        remedy = (
            "Bring both to one order before they are flattened: targets.T.reshape(-1), or outputs.transpose(0, 1) before "
            "reshape(-1, classes)."
        )
    return message, why, remedy
