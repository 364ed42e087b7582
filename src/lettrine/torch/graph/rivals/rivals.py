"""Evidence "rivals": which way a generator and its judge move the judge's score of what is generated, and of real examples.

where: the judge, the generator. figures: "looks" at steps of the judge's optimiser, and "made" at steps of the generator's;
"alone": steps of the generator's optimiser in which nothing it made was asked of any other module, 0 if something ever was;
"judge_made", "judge_real" (at steps of the judge) and "maker": 1 if a lower score makes the loss smaller at all of them, -1 if a
higher one does, 0 if this is not known or differs.

An output counts as generated if it was given by one watched module and handed on to another one, detached or not, alone or
beside others in one tensor. The way is
followed from the loss through operations that only rise or only fall, and through losses whose targets are all alike. Left out:
a loss after which both are stepped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from torch import Tensor, nn

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.functions import FunctionCall
from lettrine.torch.capture.looks import Look, Stepping, reader
from lettrine.torch.graph.losses.comparisons import readable
from lettrine.torch.graph.losses.directions import rises_with
from lettrine.torch.graph.losses.written import inputs_of
from lettrine.torch.graph.memory import memory, tensors_within
from lettrine.torch.graph.reading import Node, operation
from lettrine.torch.graph.walks import walk

_LABELLED: Final = ("binary_cross_entropy", "binary_cross_entropy_with_logits", "mse_loss")
_JOINING: Final = frozenset("cat concat concatenate hstack".split())  # noqa: SIM905
_RISING: Final = ("Sigmoid", "Softplus", "LogSigmoid", "Tanh")
_HALF: Final = 0.5  # between the labels of made and real
_MOST: Final = 100  # operations followed
_BEHIND: Final = 200  # operations between a maker and the judge, such as augmentations
_LOOKED: Final = 4  # passes of one step that are looked at, at most: after them nothing is known


@dataclass
class _Pass:
    """What one loss does with a score. maker: "" for real examples. sides: of the two, which were stepped after it."""

    judge: str
    maker: str
    sign: float
    sides: set[str] = field(default_factory=set)


@reader
class Rivals:
    """Notes the sign at each pass, and who is stepped with it."""

    def __init__(self) -> None:
        self._given: list[tuple[str, Tensor]] = []  # what modules gave in this step
        self._passes: list[_Pass] = []  # since an optimiser stepped
        self._stepped = False
        self._found: dict[tuple[str, str], dict[str, list[float]]] = {}
        self._step = -1
        self._modules: dict[str, nn.Module] = {}
        self._asked: set[str] = set()  # makers whose output, with its graph, went into another module since an optimiser stepped
        self._alone: dict[str, int] = {}
        self._looks = 0  # at passes of this step
        self._judged: set[str] = set()  # makers that were stepped with such an output

    def look(self, look: Look) -> Iterable[Evidence]:
        """One pass."""
        if look.step != self._step or self._stepped:
            self._note()
        if look.step != self._step:
            self._given, self._looks = [], 0
        self._step = look.step
        self._looks += 1
        if look.loss is None or len(look.optimisers) < 2:
            return ()
        self._modules.update((root.name, root.module) for root in look.roots)
        self._given += [(root.name, each) for root in look.roots for each in root.outputs if readable(each)]
        signs = _signs(look.loss, look.outside, look.turned)
        joined = _joined(look.outside)
        for root in look.roots:
            graphs = [each for each in root.inputs if readable(each) and each.requires_grad]
            asked = [name for each in graphs for name in (*self._behind(each), *self._makers(each, joined)) if name != root.name]
            self._asked.update(asked)
            if sign := next((signs[each.grad_fn] for each in root.outputs if each.grad_fn in signs), 0.0):
                makers = [
                    name for each in root.inputs if readable(each) for name in self._makers(each, joined) if name != root.name
                ]
                self._passes.append(_Pass(root.name, next(iter((*makers, *asked[::-1])), ""), sign))
        return ()

    def stepping(self, stepping: Stepping) -> Iterable[Evidence]:
        """The optimiser of one side steps."""
        if stepping.step == self._step:
            held = {id(each) for group in stepping.optimiser.param_groups for each in group["params"]}
            self._stepped = True
            for each in self._passes:
                # A generator none of whose outputs went into another module with its graph is stepped after a pass of its own.
                for side, name in (("judge", each.judge), ("maker", each.maker if each.maker in self._asked else "")):
                    if name and any(id(parameter) in held for parameter in self._modules[name].parameters()):
                        each.sides.add(side)
            called = {name for name, _ in self._given} if self._looks < _LOOKED else set()
            for name, module in self._modules.items():
                if name in called and any(id(each) in held and each.grad is not None for each in module.parameters()):
                    self._judged |= {name} & self._asked
                    self._alone[name] = self._alone.get(name, 0) + (name not in self._asked)
        return ()

    def finish(self) -> Iterator[Evidence]:
        """The signs of all looks."""
        self._note()
        for (judge, maker), found in self._found.items():
            ways = {name: _alike(found.get(name, [])) for name in ("judge_made", "judge_real", "maker")}
            looks = {"looks": float(len(found.get("judge_made", ()))), "made": float(len(found.get("maker", ())))}
            looks["alone"] = 0.0 if maker in self._judged else float(self._alone.get(maker, 0))
            yield Evidence("rivals", (judge, maker), (0, self._step), looks | ways)

    def _note(self) -> None:
        """Keep the passes after which one side was stepped."""
        makers = {each.maker for each in self._passes if each.maker}
        for each in self._passes:
            for maker in ({each.maker} if each.maker else makers) if len(each.sides) == 1 else ():
                what = "maker" if "maker" in each.sides else "judge_made" if each.maker else "judge_real"
                self._found.setdefault((each.judge, maker), {}).setdefault(what, []).append(each.sign)
        self._passes, self._stepped, self._asked = [], False, set()

    def _makers(self, given: Tensor, joined: Mapping[int, list[int]]) -> list[str]:
        place = memory(given)
        places = {place, *joined.get(place, ())}
        return [name for name, each in self._given if memory(each) in places]

    def _behind(self, given: Tensor) -> list[str]:
        """Those whose output is in the graph of what a module was given: it may have been changed, or joined with labels, by
        calls that were not noted.
        """
        nodes = set(walk([given.grad_fn], _BEHIND))
        return [name for name, each in self._given if each.grad_fn in nodes]


def _joined(calls: Iterable[FunctionCall]) -> Mapping[int, list[int]]:
    """By memory: what was put side by side, row by row, such as states and actions."""
    found: dict[int, list[int]] = {}
    for call in calls:
        whole = call.result
        if call.name in _JOINING and isinstance(whole, Tensor) and readable(whole):
            parts = [each for each in tensors_within(call.args) if readable(each) and each.shape[:1] == whole.shape[:1]]
            found[memory(whole)] = [memory(each) for each in parts]
    return found


def _alike(signs: list[float]) -> float:
    return signs[0] if signs and len(set(signs)) == 1 else 0.0


def _signs(loss: Tensor, calls: Iterable[FunctionCall], turned: float) -> Mapping[Node, float]:
    """For each node on the way, 1 if what is made smaller rises with it and -1 if it falls; 0 where both is so."""
    noted = {call.result.grad_fn: call for call in calls if isinstance(call.result, Tensor) and call.result.grad_fn}
    found: dict[Node, float] = {}
    waiting: list[tuple[Node, float]] = [(loss.grad_fn, turned)]
    for _ in range(_MOST):
        if not waiting:
            break
        node, sign = waiting.pop(0)
        found[node] = sign if found.get(node, sign) == sign else 0.0
        call = noted.get(node)
        if call is not None and call.name in _LABELLED:
            given, target = call.given(0, "input"), call.given(1, "target")
            if (
                isinstance(given, Tensor)
                and isinstance(target, Tensor)
                and readable(target)
                and bool((target == target.max()).all())
            ):
                waiting.append((given.grad_fn, sign * (-1.0 if float(target.max()) > _HALF else 1.0)))
        elif operation(node) in _RISING:
            waiting.append((inputs_of(node)[0], sign))
        else:
            waiting += rises_with(node, sign) or []
    return found


def _all_alike(target: Tensor) -> bool:
    return readable(target) and bool((target == target.max()).all())
