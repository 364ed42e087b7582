"""Evidence "old probabilities": a clipped ratio of new and old probabilities of actions that is 1 throughout, although the new
ones of the very same actions have changed since an earlier step: the old ones are computed anew each time.

where: (). figures: "looks", with a clipped ratio of 1; "changed", those of them with actions that an earlier such look had seen
and found more or less likely; "apart", the mean difference of their log-probabilities.

An action is its state, a row of what the model is given, and what was chosen there. Where states and actions are alike by nature,
as in a small grid, nothing is compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import numpy as np
from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.functions import FunctionCall
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.data.telling import flat
from lettrine.torch.graph.losses.comparisons import readable
from lettrine.torch.graph.makers import makers

_CLIPS: Final = frozenset("clamp clip clamp_ clip_".split())  # noqa: SIM905
_LESS: Final = frozenset(("sub", "__sub__"))
_PICKS: Final = frozenset(("gather", "take_along_dim"))
_SAME: Final = 5e-7  # of a ratio from 1: rounding in single precision
_APART: Final = 1e-4  # of log-probabilities that have changed
_LEAST: Final = 8  # actions in a batch
_UNSURE: Final = 7.0  # nats: the chance that actions drawn anew are all the same, 1 in a thousand
_ROWS: Final = 512  # actions of a batch that are compared
_ALL: Final = 16_384  # actions that are remembered


@reader
class OldProbabilities:
    """Remembers how likely each action was."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[int, int, float]] = {}  # by state: the step, the action, and how likely it was
        self._steps: list[int] = []
        self._apart: list[float] = []

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        new = _clipped_ratio_of_one(look) if len(look.roots) == 1 else None
        if new is None:
            return ()
        likely = new.detach().reshape(-1)[:_ROWS].cpu().double().numpy()
        states, actions, counted = _actions(look, len(new))
        if not len(states) == len(actions) == len(likely) or len(set(states)) < len(states):
            return ()
        self._steps.append(look.step)
        known = [(place, *self._known[each]) for place, each in enumerate(states) if each in self._known]
        again = [(place, then) for place, step, action, then in known if step < look.step and action == actions[place]]
        # The same states with other actions were drawn anew, and so may be the same ones, of a policy that is sure.
        sure = counted and -sum(likely[place] for place, _ in again) < _UNSURE
        if len(again) >= max(_LEAST, len(known)) and not sure:
            apart = float(np.mean([abs(likely[place] - then) for place, then in again]))
            self._apart += [apart] if apart > _APART else []
        if len(self._known) < _ALL:
            rows = zip(states, actions, likely, strict=True)
            self._known.update((state, (look.step, action, float(now))) for state, action, now in rows)
        return ()

    def finish(self) -> Iterator[Evidence]:
        """What the looks showed."""
        if self._apart:
            figures = {"looks": len(self._steps), "changed": len(self._apart), "apart": float(np.mean(self._apart))}
            told = {name: float(value) for name, value in figures.items()}
            yield Evidence("old probabilities", (), (self._steps[0], self._steps[-1]), told)


def _clipped_ratio_of_one(look: Look) -> Tensor | None:
    """The new log-probabilities, one for each action, if the ratio that is clipped is 1 throughout."""
    made = look.once(makers)
    for call in look.outside:
        ratio = call.given(0, "input")
        if call.name not in _CLIPS or not isinstance(ratio, Tensor) or not ratio.requires_grad or not readable(ratio):
            continue
        if ratio.numel() < _LEAST or ratio.numel() != len(ratio) or float((ratio - 1).abs().max()) > _SAME:
            continue
        return _new(ratio, made)
    return None


def _new(ratio: Tensor, made: Mapping[int, FunctionCall]) -> Tensor | None:
    """Of exp(new - old), the new ones."""
    call = made.get(id(ratio))
    call = None if call is None or call.name != "exp" else made.get(id(call.given(0, "input")))
    if call is None or call.name not in _LESS:
        return None
    new, old = call.given(0, "input"), call.given(1, "other")
    fits = isinstance(new, Tensor) and isinstance(old, Tensor) and new.requires_grad and not old.requires_grad
    return new if fits and readable(new) and len(new) == new.numel() else None


def _actions(look: Look, rows: int) -> tuple[list[int], list[int], bool]:
    """A number for each state and for what was chosen there, none where that was not seen; whether it was one of a few."""
    states: list[Any] = [each for each in look.roots[0].inputs if each.ndim > 1]
    picked: list[Any] = [call.given(2, "index", call.given(2, "indices")) for call in look.outside if call.name in _PICKS]
    taken: list[Any] = [call.given(0, "input") for call in look.outside if call.name in _LESS and _from_data(call)]
    return _marks(states, rows), _marks([*picked, *taken], rows), any(isinstance(each, Tensor) for each in picked)


def _marks(tensors: list[Any], rows: int) -> list[int]:
    """A number for each row of those with so many."""
    able = [each for each in tensors if isinstance(each, Tensor) and each.ndim and len(each) == rows and readable(each)]
    if not able:
        return []
    return [hash(row.tobytes()) for row in np.concatenate([flat(each, _ROWS) for each in able], axis=1)]


def _from_data(call: FunctionCall) -> bool:
    """Whether a result of weights is taken from data, as the mean of a normal distribution is from what was drawn."""
    first, second = call.given(0, "input"), call.given(1, "other")
    return isinstance(first, Tensor) and isinstance(second, Tensor) and not first.requires_grad and second.requires_grad
