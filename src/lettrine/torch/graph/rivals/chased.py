"""Evidence "chased": the best value of the next state, times a discount and with a reward, is compared with the value of an
action, and both are made by the same network with their graph. So the step moves the target as well.

where: the network. figures: "looks" that showed it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.functions import FunctionCall
from lettrine.torch.capture.looks import Look, reader
from lettrine.torch.graph.losses.comparisons import LOSSES
from lettrine.torch.graph.makers import makers

_DIFFERENCES: Final = frozenset("sub __sub__ rsub __rsub__".split())  # noqa: SIM905
_SHAPING: Final = frozenset("squeeze unsqueeze view reshape flatten float to clone contiguous".split())  # noqa: SIM905
_SCALING: Final = frozenset("mul multiply __mul__ __rmul__ where".split())  # noqa: SIM905
_ADDING: Final = frozenset("add __add__ __radd__".split())  # noqa: SIM905
_BEST: Final = frozenset(("max", "amax"))
_PICKING: Final = frozenset(("gather", "__getitem__", "take_along_dim"))
_BACK: Final = 10  # calls followed from a comparison to the network


@reader
class Chased:
    """Looks for values whose target has a graph."""

    def __init__(self) -> None:
        self._steps: dict[str, list[int]] = {}

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        made = look.once(makers)
        answers = {id(each): root.name for root in look.roots for each in root.outputs}
        for call in look.outside:
            if call.name not in LOSSES and call.name not in _DIFFERENCES:
                continue
            first, second = call.given(0, "input"), call.given(1, "target", call.given(1, "other"))
            if not (isinstance(first, Tensor) and isinstance(second, Tensor)):
                continue
            for value, target in ((first, second), (second, first)):
                name = _value(value, made, answers) if value.requires_grad and target.requires_grad else ""
                if name and name == _target(target, made, answers):
                    self._steps.setdefault(name, []).append(look.step)
                    return ()
        return ()

    def finish(self) -> Iterator[Evidence]:
        """The networks that were seen so."""
        for name, steps in self._steps.items():
            yield Evidence("chased", (name,), (steps[0], steps[-1]), {"looks": float(len(steps))})


def _value(tensor: Tensor, made: Mapping[int, FunctionCall], answers: Mapping[int, str]) -> str:
    """The network of whose answers a value was picked, one for each row."""
    for _ in range(_BACK):
        call = made.get(id(tensor))
        given = None if call is None else call.given(0, "input")
        if call is None or not isinstance(given, Tensor):
            return ""
        if call.name in _PICKING and id(given) in answers:
            return answers[id(given)]
        if call.name not in _SHAPING and call.name != "__getitem__":
            return ""
        tensor = given
    return ""


def _target(tensor: Tensor, made: Mapping[int, FunctionCall], answers: Mapping[int, str]) -> str:
    """The network of whose answers the largest was taken; something must have been added to it since: the reward."""
    added = False
    for _ in range(_BACK):
        call = made.get(id(tensor))
        if call is None:
            return ""
        onwards = [each for each in call.args if isinstance(each, Tensor) and each.requires_grad]
        if len(onwards) != 1:
            return ""
        if call.name in _BEST and added:
            return answers.get(id(onwards[0]), "")
        if call.name in _ADDING:
            added = True
        elif call.name not in _SCALING and call.name not in _SHAPING and call.name != "__getitem__":
            return ""
        tensor = onwards[0]
    return ""
