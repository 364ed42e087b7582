"""Evidence "values": a network's values of next states that become, with a reward, the targets of its values, and what was left
out on the way.

The target of a value is reward + gamma * (value of the next state), without the second part where the episode ends.

where: the network whose answers are trained. figures: "looks" with such targets; of these, "same": the next states were the very
rows whose values are trained; "alike": at which all of those rows were one row; "unpicked": the trained value is the largest of
the answers, instead of that of the action taken; "unmasked": no data was multiplied with the next values, or filled in; "picked":
the next value is the largest of several, or was picked from them. "rows" of a batch; "discount", the last number they were
multiplied by. moved: 1 if the rows at two looks differed. "low", "high": the least and the largest number that was added to a
next value, "rewards" how many were, "paid": how many of these lie at least half as far from the commonest number as the farthest
one does. own: looks at which the next values were told by weights that are trained; "most": the largest size of a target at the
last look.

Values are followed by the memory they lie in, since detaching is not noted. What a target takes from an answer by a function that
is not linear is no value of a next state: an overlap with the box that was foretold, for example.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import inf, isnan, nan
from typing import Final

import torch
from torch import Tensor

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.functions import WATCHED, FunctionCall
from lettrine.torch.capture.looks import Look, RootCall, reader
from lettrine.torch.devices import double
from lettrine.torch.graph.losses.comparisons import readable
from lettrine.torch.graph.makers import makers
from lettrine.torch.graph.memory import memory, tensors_within
from lettrine.torch.graph.rivals.told_by import ToldBy

_NETWORK: Final = frozenset(("linear", "conv1d", "conv2d", "embedding", WATCHED))
_BEST: Final = frozenset(("max", "amax"))
_CHOOSING: Final = frozenset(("max", "argmax"))
_PICKING: Final = frozenset(("gather", "take_along_dim"))
_ADDING: Final = frozenset("add __add__ __radd__ add_ __iadd__ sub __sub__".split())  # noqa: SIM905
_FACTORS: Final = frozenset("mul multiply __mul__ __rmul__ mul_ __imul__".split())  # noqa: SIM905
_FILLS: Final = frozenset(
    """masked_fill masked_fill_ __setitem__ where index_put index_put_ index_fill index_fill_ index_copy index_copy_ scatter
    scatter_ masked_scatter masked_scatter_ cat concat concatenate hstack stack pad""".split()  # noqa: SIM905
)
"""They may put a 0 in the place of what follows an end."""
_SHAPING: Final = frozenset("squeeze unsqueeze view reshape flatten __getitem__ float".split())  # noqa: SIM905
_BENDING: Final = frozenset("sigmoid exp softmax log_softmax softplus log square pow __pow__ sqrt".split())  # noqa: SIM905
_MOVING: Final = frozenset("roll flip cat concat concatenate hstack stack pad".split())  # noqa: SIM905
"""Rows come to other places, as where the next value of an episode is that of the row below."""
_BACK: Final = 8  # calls followed from a loss to the network
_DISCOUNTS: Final = (0.5, 1.0)  # no discount is lower; 1 is none
_ADDED: Final = 1_024  # rewards kept of each look
_ROWS: Final = 4  # of a batch: fewer may be alike by chance


@dataclass(frozen=True)
class _Value:
    """What became of a network's answer. asked: the rows that the network was given. mixed: the data that were added had been
    multiplied by a number, as in a mean of a target and an answer. rewards: what was added first. own: of weights that
    are trained. weight: that of the first layer.
    """

    asked: Tensor | None
    picked: bool = False
    discount: float = nan
    masked: bool = False
    added: bool = False
    mixed: bool = False
    rewards: Tensor | None = None
    own: bool = False
    weight: Tensor | None = None


@dataclass
class _Count:
    looks: int = 0
    same: int = 0
    alike: int = 0
    unpicked: int = 0
    unmasked: int = 0
    picked: int = 0
    rows: int = 0
    moved: int = 0
    rewards: int = 0
    low: float = inf
    high: float = -inf
    own: int = 0
    most: float = nan
    added: list[Tensor] = field(default_factory=list)


@reader
class Values:
    """Follows the values of next states to the targets they are part of."""

    def __init__(self) -> None:
        self._counts: dict[str, _Count] = {}
        self._first: dict[str, Tensor] = {}
        self._told: dict[str, ToldBy] = {}
        self._discount = nan
        self._last = 0

    def look(self, look: Look) -> Iterable[Evidence]:
        """Take in one look."""
        terms = [(term.given, term.target) for term in look.terms if term.given is not None and term.target is not None]
        pairs = [(given, target) for given, target in terms if readable(target) and not target.requires_grad]
        adding = any(call.name in _ADDING for call in (*look.earlier, *look.outside))
        values = _followed(look) if pairs and adding else {}
        made = look.once(makers) if values else {}
        for given, target in pairs:
            value = values.get(memory(target))
            root, best = _root(given, look, made)
            if (
                value is not None
                and value.added
                and not value.mixed
                and root is not None
                and (value.masked or not isnan(value.discount))
            ):
                self._take(look.step, root, value, best=best)
                self._counts[root.name].most = float(target.abs().max())
                break
        return ()

    def _take(self, step: int, root: RootCall, value: _Value, *, best: bool) -> None:
        count, rows = self._counts.setdefault(root.name, _Count()), next(iter(root.inputs), None)
        self._last, self._discount = step, value.discount
        count.looks += 1
        count.unpicked += best
        count.picked += value.picked
        count.own += value.own
        if value.weight is not None and not value.own:
            if root.name in self._told:
                self._told[root.name].see(step, value.weight)
            else:
                self._told[root.name] = ToldBy(step, value.weight)
        count.unmasked += not value.masked
        if value.rewards is not None:
            count.rewards += value.rewards.numel()
            count.added.append(value.rewards.detach().reshape(-1)[:_ADDED].cpu())
            count.low, count.high = min(count.low, float(value.rewards.min())), max(count.high, float(value.rewards.max()))
        if rows is None or not readable(rows):
            return
        count.rows = len(rows) if rows.ndim > 1 else 1
        first = self._first.setdefault(root.name, rows.detach().clone())
        count.moved |= not _equal(first, rows)
        if count.rows >= _ROWS and value.asked is not None and _equal(value.asked, rows):
            count.same += 1
            count.alike += _equal(rows, rows[:1].expand_as(rows))

    def finish(self) -> Iterator[Evidence]:
        """The counts of each network."""
        for name, count in self._counts.items():
            figures = {key: float(value) for key, value in vars(count).items() if key != "added"}
            figures["paid"] = float(_paid(count.added))
            yield Evidence("values", (name,), (0, self._last), {**figures, "discount": self._discount})
        for name, told in self._told.items():
            yield from told.evidence(name)


def _paid(added: list[Tensor]) -> int:
    """How many rewards stand out: small costs of each step do not."""
    if not added:
        return 0
    rewards = double(torch.cat(added))
    apart = (rewards - rewards.mode().values).abs()
    return int((apart >= apart.max() / 2).sum()) if bool(apart.max() > 0) else 0


def _followed(look: Look) -> dict[int, _Value]:
    """By memory: what became of the answers of networks."""
    roots = {root.module for root in look.roots}
    trained, whole = look.held, look.held.issuperset(look.parameters)
    asked = [(list(root.inputs), root.outputs) for root in look.roots]
    asked += [(tensors_within(call.args), tensors_within(call.output)) for call in look.modules if call.module in roots]
    values = {
        memory(each): _Value(next(iter(inputs), None), own=True)
        for inputs, outputs in asked
        for each in outputs
        if readable(each)
    }
    weighed: dict[int, float] = {}  # data times a number
    for call in (*look.earlier, *look.outside):
        results = [each for each in tensors_within(call.result) if readable(each) and each.is_floating_point()]
        given = [each for each in tensors_within([call.args, list(call.kwargs.values())]) if readable(each)]
        known = next((values[memory(each)] for each in given if memory(each) in values), None)
        if call.name in _NETWORK and (known is None or known.picked or known.added):
            own = whole if call.name == WATCHED else any(id(each) in trained for each in given)
            weight = call.given(1, "weight") if call.name != WATCHED else None
            known = _Value(given[0], own=own, weight=weight if isinstance(weight, Tensor) else None) if given else None
        if known is None or call.name in _BENDING:
            if call.name in _FACTORS and (numbers := _numbers(call, given)):
                weighed.update((memory(each), numbers[0]) for each in results)
            continue
        places = results or ([given[0]] if call.name == "__setitem__" and given else [])
        data = [each for each in given if memory(each) not in values and each.numel() > 1]
        after = _after(call, known, given, data)
        shares = [weighed[memory(each)] for each in data if memory(each) in weighed] if call.name in _FACTORS else []
        if shares and _DISCOUNTS[0] <= shares[0] < _DISCOUNTS[1]:
            after = replace(after, discount=shares[0])
        if call.name in _ADDING and any(memory(each) in weighed for each in data):
            after = replace(after, mixed=True)
        if call.name in _MOVING or len({each.shape[:1] for each in (*results[:1], *given[:1])}) > 1:
            after = replace(after, asked=None)
        values.update((memory(each), after) for each in places)
    return values


def _after(call: FunctionCall, value: _Value, given: list[Tensor], data: list[Tensor]) -> _Value:
    """The same value after a call."""
    if call.name in _BEST | _PICKING:
        return replace(value, picked=True)
    if call.name in _FILLS:
        return replace(value, masked=True)
    if call.name in _FACTORS:
        numbers = _numbers(call, given)
        discount = next((each for each in numbers if _DISCOUNTS[0] <= each < _DISCOUNTS[1]), value.discount)
        return replace(value, masked=value.masked or bool(data), discount=discount)
    if call.name in _ADDING and (data or (not isnan(value.discount) and _numbers(call, given))):
        # A number is the same reward for each step.
        rewards = data[0] if data else torch.full(given[0].shape, _numbers(call, given)[0], device=given[0].device)
        return replace(value, added=True, rewards=rewards if value.rewards is None else value.rewards)
    return value


def _numbers(call: FunctionCall, given: list[Tensor]) -> list[float]:
    """The single numbers among the arguments of a call."""
    numbers = [float(each) for each in call.args if isinstance(each, int | float)]
    return numbers + [float(each) for each in given if each.numel() == 1]


def _root(given: Tensor, look: Look, made: Mapping[int, FunctionCall]) -> tuple[RootCall | None, bool]:
    """The call of the network whose answers are trained, and whether only their largest one is."""
    roots, best = {id(each): root for root in look.roots for each in root.outputs}, False
    for _ in range(_BACK):
        if id(given) in roots:
            return roots[id(given)], best
        call = made.get(id(given))
        source = None if call is None else call.given(0, "input")
        if call is None or not isinstance(source, Tensor) or call.name not in _SHAPING | _BEST | _PICKING:
            break
        best = best or (call.name in _BEST and call.given(1, "dim") is not None) or _own_best(call, source, made)
        given = source
    return None, False


def _own_best(call: FunctionCall, source: Tensor, made: Mapping[int, FunctionCall]) -> bool:
    """Whether a call picks, from the answers, the places of the largest of the very same answers."""
    place = call.given(2, "index", call.given(2, "indices")) if call.name in _PICKING else None
    for _ in range(_BACK):
        chosen = made.get(id(place)) if isinstance(place, Tensor) else None
        if chosen is None or chosen.name in _CHOOSING:
            of = None if chosen is None else chosen.given(0, "input")
            return isinstance(of, Tensor) and memory(of) == memory(source)
        if chosen.name not in _SHAPING:
            break
        place = chosen.given(0, "input")
    return False


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one, other.to(one.dtype))
