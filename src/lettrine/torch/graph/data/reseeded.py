"""Evidence "reseeded": torch's random generator is in the same state at each step, although numbers were drawn in it.

A generator never comes back to a state by itself. Only steps count in which something was drawn on the processor without a
generator of its own. where: (). figures: "looks", such steps; "same", those with the commonest state; "noise": 1 if at each of
them more than dropout was drawn, outside of the model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

import torch
from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.functions import FunctionCall
from lettrine.torch.capture.looks import Look, reader

_DRAWS: Final = frozenset("randn_like randn normal normal_ rand rand_like randint bernoulli bernoulli_".split())  # noqa: SIM905
_DROPOUTS: Final = frozenset("dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout".split())  # noqa: SIM905
_LOOKS: Final = 4
_NUMBERS: Final = 8


@reader
class Reseeded:
    """Notes the state of the generator before the first backward pass of a step."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[int, bool]] = {}  # by step: state and first numbers, and whether noise was drawn outside

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        if look.place == 0 and look.step not in self._seen:
            drawn = [call for call in (*look.earlier, *look.calls) if _draws(call)]
            if drawn:
                noise = [call.result for call in drawn if call.name in _DRAWS and call.root < 0]
                # Under torch.random.fork_rng the state comes back, whatever was drawn.
                numbers = tuple(noise[0].reshape(-1)[:_NUMBERS].tolist()) if noise else ()
                self._seen[look.step] = hash((torch.get_rng_state().numpy().tobytes(), numbers)), bool(noise)
        return ()

    def finish(self) -> Iterable[Evidence]:
        """If one state came again."""
        if len(self._seen) < _LOOKS:
            return
        same = Counter(state for state, _ in self._seen.values()).most_common(1)[0][1]
        if same > 1:
            noise = all(noise for _, noise in self._seen.values())
            figures = {"looks": float(len(self._seen)), "same": float(same), "noise": float(noise)}
            yield Evidence("reseeded", (), (min(self._seen), max(self._seen)), figures)


def _draws(call: FunctionCall) -> bool:
    """Whether a function drew numbers on the processor from the generator that all share."""
    if not isinstance(call.result, Tensor) or not call.result.is_cpu or call.kwargs.get("generator") is not None:
        return False
    if call.name in _DROPOUTS:
        share, training = call.given(1, "p"), call.given(2, "training")
        return training is not False and isinstance(share, float) and 0 < share < 1
    return call.name in _DRAWS
