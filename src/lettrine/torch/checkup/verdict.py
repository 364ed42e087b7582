"""Orders the findings of all experiments: the likeliest cause first, its effects merged into it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from lettrine.health.findings import SEVERITIES, Finding

ORDER: Final = (
    "target-range",
    "target-rows",
    "broadcast",
    "softmax-axis",
    "batch-mixing",
    "future-leak",
    "padding",
    "eps-underflow",
    "unregistered",
    "not-optimised",
    "no-gradient",
    "gradients-cleared",
    "missing-zero-grad",
    "scaled-gradients",
    "clip-before-unscale",
    "never-moved",
    "symmetry",
    "frozen-random",
    "shared-norm",
    "eval-dropout",
    "wrong-backward",
    "input-scale",
    "target-scale",
    "leak",
    "repeated-batch",
    "sorted-data",
    "target-constant",
    "wrong-direction",
    "no-warmup",
    "learning-rate-too-high",
    "activation-scale",
    "dead-units",
    "unused-input",
    "padding-counted",
    "shuffled-targets",
    "probabilities-as-logits",
    "relu-logits",
    "learning-rate-too-low",
    "update-too-small",
    "weight-decay",
    "non-finite",
    "initial-loss",
    "cannot-fit",
)
"""Causes before symptoms; ids that are not listed come last."""

EXPLAINS: Final[dict[str, tuple[str, ...]]] = {
    "non-finite": ("initial-loss", "cannot-fit", "shuffled-targets", "learning-rate-too-high", "learning-rate-too-low"),
    "target-range": ("cannot-fit", "initial-loss"),
    "target-rows": ("cannot-fit", "initial-loss"),
    "broadcast": ("cannot-fit", "initial-loss", "shuffled-targets", "unused-input"),
    "softmax-axis": ("cannot-fit", "batch-mixing", "unused-input"),
    "batch-mixing": ("cannot-fit",),
    "future-leak": ("leak",),
    "padding": ("non-finite", "initial-loss", "cannot-fit", "unused-input"),
    "no-gradient": ("never-moved", "cannot-fit"),
    "not-optimised": ("not-optimised", "cannot-fit", "never-moved"),
    "never-moved": ("cannot-fit", "learning-rate-too-low"),
    "eps-underflow": ("cannot-fit", "never-moved", "non-finite"),
    "unregistered": ("save-load", "cannot-fit", "not-optimised"),
    "dead-units": ("cannot-fit", "shuffled-targets", "unused-input"),
    "unused-input": ("cannot-fit", "shuffled-targets"),
    "input-scale": ("non-finite", "initial-loss", "cannot-fit", "learning-rate-too-high", "unused-input", "dead-units"),
    "target-scale": ("non-finite", "initial-loss", "cannot-fit", "learning-rate-too-low", "unused-input", "dead-units"),
    "learning-rate-too-high": ("learning-rate-too-high", "non-finite", "cannot-fit", "dead-units"),
    "wrong-direction": ("cannot-fit", "shuffled-targets", "learning-rate-too-high", "learning-rate-too-low", "initial-loss"),
    "learning-rate-too-low": ("cannot-fit",),
    "no-warmup": ("non-finite", "cannot-fit"),
    "weight-decay": ("cannot-fit",),
    "probabilities-as-logits": ("cannot-fit", "learning-rate-too-low", "learning-rate-too-high"),
    "relu-logits": ("cannot-fit", "learning-rate-too-low", "learning-rate-too-high"),
    "initial-loss": ("initial-loss",),
    "update-too-small": ("cannot-fit",),
    "activation-scale": (
        *("non-finite", "cannot-fit", "learning-rate-too-low", "learning-rate-too-high", "initial-loss"),
        *("dead-units", "unused-input"),
    ),
}
"""For each id, the ids that it explains."""


ALIKE: Final = {"underfitting": "cannot-fit"}
"""What explains the second explains the first: both say that one batch could not be memorised."""


def ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Warnings before remarks, causes before symptoms; each effect is merged into the first cause that explains it. What two
    experiments found alike is listed once.
    """
    listed: list[Finding] = []
    for finding in sorted({(each.id, each.where, each.message): each for each in findings}.values(), key=_place):
        kind = ALIKE.get(finding.id, finding.id)
        causes = (i for i, cause in enumerate(listed) if cause.severity != "info" and kind in EXPLAINS.get(cause.id, ()))
        place = next(causes, None)
        if place is None:
            listed.append(finding)
        else:
            listed[place] = replace(listed[place], explains=(*listed[place].explains, finding.message, *finding.explains))
    return tuple(listed)


def _place(finding: Finding) -> tuple[bool, int, int]:
    order = ORDER.index(finding.id) if finding.id in ORDER else len(ORDER)
    return finding.severity == "info", order, -SEVERITIES.index(finding.severity)
