"""torchmortem, where it is installed (`pip install --no-deps torchmortem plotly`), in the words of this benchmark.

Its detectors look at activations, gradients, weights and the loss, step by step. A title says which way a finding goes; each is
given the kinds it could be meant for, so that it is named right as often as can be.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Any, Final, Self

from benchmarks.wild.found import Found
from torch import Tensor, nn
from torch.optim import Optimizer

# Word in a finding's title or category: what it is called here. The first that fits is taken.
IDS: Final = (
    ("dead units", "dead-units"),
    ("saturation", "saturation"),
    ("divergence", "divergence"),
    ("plateau", "no-learning"),
    ("vanishing", "gradient-scale"),
    ("exploding", "gradient-scale"),
    ("stalling", "no-gradient"),
    ("ratio too high", "update-too-large"),
    ("ratio too low", "update-too-small"),
)


class Mortem:
    """Watches a run as torchmortem's `Autopsy` does with its default settings."""

    def __init__(self, model: nn.Module, optimizer: Optimizer | Iterable[Optimizer]) -> None:
        from torchmortem import Autopsy  # type: ignore[import-not-found]  # noqa: PLC0415  not a dependency

        first = optimizer if isinstance(optimizer, Optimizer) else next(iter(optimizer), None)
        self.autopsy = Autopsy(model, optimizer=first)

    def __enter__(self) -> Self:
        self.autopsy.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.autopsy.__exit__(kind, error, trace)

    def loss(self, loss: Any) -> None:
        self.autopsy.step(loss=float(loss.detach() if isinstance(loss, Tensor) else loss))

    def dev_loss(self, loss: Any) -> None: ...

    def findings(self) -> list[Found]:
        """What its report lists, the gravest first."""
        report = self.autopsy.get_report()
        found = sorted(report.findings if report else (), key=lambda each: -each.severity)
        return [
            Found(_id(each), each.severity.name.lower(), tuple(each.affected_layers), each.summary, " ".join(each.remediation))
            for each in found
        ]


def _id(finding: Any) -> str:
    said = f"{finding.title} {finding.category}".lower()
    return next((kind for word, kind in IDS if word in said), finding.category.replace("_", "-"))
