"""Evidence "norm eps": norms that add far more to the variance before its root than rounding asks for.

where: their names. figures: "least" and "most" of their eps.
"""

from __future__ import annotations

from collections.abc import Iterable

from lettrine.health.evidence import Evidence
from lettrine.health.limits_wiring import NORM_EPS
from lettrine.torch.capture.catalogue import kind_of, named_modules
from lettrine.torch.capture.looks import Look, reader


@reader
class NormEps:
    """Looks once."""

    def __init__(self) -> None:
        self._done = False

    def look(self, look: Look) -> Iterable[Evidence]:
        """At the first look."""
        if self._done:
            return
        self._done = True
        norms = {name: module for name, module in named_modules(look.model) if "norm" in kind_of(module).lower()}
        given = {name: getattr(module, "eps", None) for name, module in norms.items()}
        large = {name: eps for name, eps in given.items() if isinstance(eps, float) and eps >= NORM_EPS}
        if large:
            figures = {"least": min(large.values()), "most": max(large.values())}
            yield Evidence("norm eps", tuple(large), (look.step, look.step), figures)

    def finish(self) -> Iterable[Evidence]:
        """Nothing more."""
        return ()
