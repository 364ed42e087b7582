"""Evidence of the kind of loss: its terms, its reference value, and whether it should fall as the network learns.

Evidence "loss", of the loss whose backward pass was looked at:
    words["kind"]: kinds of its terms, such as "cross-entropy" or "squared error + penalty". words["nature"]: "" for an ordinary
    loss against data. Losses without a reference: "margin" (the right class is made harder), which should fall; and those that
    need not fall: "adversarial", "contrastive", "bootstrapped" (a network made the targets), "maximised" (the optimiser was
    built to maximise), "moving" (the size of the targets changes during training), "policy" or "other".
    figures: terms; classes (0 for none); reference: loss of the best constant answer; even: loss of a uniform or zero
        answer; floor: loss of answers that are the targets, where that is not 0, as under label smoothing. All are in the
        units of the loss looked at, NaN for none. value 0, value 1 …: that loss at each step
        looked at, the mean of its backward passes. With it the checks convert the reference to the units of the loss
        that was handed over. passes: backward passes of a step, of those that were looked at. parts: all of them, as far
        as they can be counted; shares: 1 if each was made for its share of the loss only, as in `loss / parts`. weight: by
        what the mean of a single term is multiplied, such as the number of outputs where these are summed. upwards: 1 if
        the loss is a single error and all steps looked at increase it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from math import isfinite, nan, sqrt
from typing import Any, Final

import torch

from lettrine.health.evidence import Evidence
from lettrine.torch.capture.looks import Look, Stepping, reader
from lettrine.torch.devices import double
from lettrine.torch.graph.losses.fixed_head import fixed_head
from lettrine.torch.graph.losses.margins import margined
from lettrine.torch.graph.losses.means import mean_of
from lettrine.torch.graph.losses.references import TargetSums, error_of
from lettrine.torch.graph.losses.scales import is_share
from lettrine.torch.graph.losses.terms import Term
from lettrine.torch.graph.rivals.acting import chosen_by_draw
from lettrine.torch.graph.rivals.opponents import bootstrapped, contrastive, foreign, product_of, sides

CLASSES: Final = ("cross-entropy", "binary cross-entropy")
VALUES: Final = ("squared error", "absolute error", "smooth absolute error", "huber")
_ALIKE: Final = 1e-4  # relative difference up to which two losses are the same
BOUNDED: Final = (*CLASSES, *VALUES, "divergence", "ctc", "triplet", "embedding", "ranking", "hinge", "likelihood", "penalty")
"""Kinds of terms that are minimised against fixed data. For any other kind it is not known whether it should fall."""


@reader
class LossReader:
    """Identifies the loss of one watch."""

    def __init__(self) -> None:
        self._sums: dict[int, TargetSums] = {}
        self._values: dict[int, list[float]] = {}
        self._ratios: list[float] = []  # loss / sum of its terms, if both are known
        self._scales: list[tuple[tuple[float, ...], float]] = []  # of each look
        self._parts_of_step = 0.0  # backward passes before an optimiser stepped, the most that were counted
        self._terms: list[Term] = []
        self._natures: list[str] = []
        self._compared: list[bool] = []  # at each look: whether it may be contrastive
        # by step, of each kind of term at its place: a network that judges (a critic) is told true and false
        self._constants: dict[int, set[tuple[tuple[str, int], float]]] = {}
        self._mixed: set[tuple[str, int]] = set()  # terms whose targets differed within a batch once, or came one by one
        self._sides: set[frozenset[int]] = set()
        self._searched = False
        self._plain = False  # classes by number, all with the same weight
        self._parts: dict[
            int, list[tuple[str, float, float]]
        ] = {}  # by step: kind of each of several terms, its mean, its share of the loss
        self._upwards: list[bool] = []  # whether the steps increase the only term
        self._maximised: list[bool] = []  # at each look: whether the optimiser was built to maximise
        self._handed: list[tuple[str, float]] = []  # for losses handed over: which term each is, and its share

    def look(self, look: Look) -> Iterable[Evidence]:
        """One backward pass."""
        terms = look.terms
        if not terms or look.loss is None or any(each.kind == "unread" for each in terms):
            return ()
        if [each.kind for each in terms] != [each.kind for each in self._terms]:
            if self._terms and look.step in self._values:
                self._natures.append("several")  # one step has backward passes of different losses
            self._sums, self._ratios = {}, []
        self._terms = [replace(each, given=None, target=None, options={}) for each in terms]  # do not keep the user's tensors
        value = look.value
        self._values.setdefault(look.step, []).append(value)
        constants = self._constants.setdefault(look.step, set())
        for place, term in enumerate(terms):
            self._pool(place, term)
            told = term.kind, place
            if term.target is None or term.target.numel() < 2:
                self._mixed.add(told)  # one label says nothing: micro-batches of one example are told all classes
            elif isfinite(constant := self._sums[place].constant if place in self._sums else nan):
                constants.add((told, constant))
            else:
                self._mixed.add(told)
        factors, weight = look.scale
        if isfinite(weight):
            self._ratios.append(weight)
        self._scales.append((factors, weight))
        if len(terms) > 1 and value > 0:
            means = [(each.kind, mean_of(each), each.weight) for each in terms]
            self._parts = {look.step: [(kind, mean, mean * weight / value) for kind, mean, weight in means]}
        self._situation(look, terms, value)
        if isfinite(terms[0].weight):
            maximised = (
                any(group.get("maximize", False) for each in look.optimisers for group in each.param_groups) or look.turned <= 0
            )
            self._upwards.append((terms[0].weight < 0) is not maximised and not look.once(fixed_head))
            self._maximised.append(maximised)
        return ()

    def stepping(self, stepping: Stepping) -> Iterable[Evidence]:
        """Count the parts of a step."""
        self._parts_of_step = max(self._parts_of_step, stepping.parts)
        return ()

    def handed(self, step: int, loss: Any) -> Iterable[Evidence]:
        """The loss handed over may be one of several terms."""
        parts = self._parts.pop(step, [])
        value = float(double(loss.detach()).sum()) if isinstance(loss, torch.Tensor) else float(loss)
        alike = [(kind, share) for kind, mean, share in parts if value > 0 and abs(mean / value - 1) < _ALIKE]
        if parts:
            self._handed += alike if len(alike) == 1 and abs(alike[0][1] - 1) > _ALIKE else [("", nan)]
        return ()

    def finish(self) -> Iterator[Evidence]:
        """What is known of the loss."""
        if len({kind for kind, _ in self._handed}) == 1 and self._handed[0][0]:
            shares = sorted(share for _, share in self._handed)
            figures = {"looks": float(len(shares)), "share": shares[len(shares) // 2], "terms": float(len(self._terms))}
            yield Evidence("handed term", (), (0, max(self._values, default=0)), figures, {"kind": self._handed[0][0]})
        if not self._values:
            return
        steps = sorted(self._values)
        # a gradient that is reversed on its way does not mean that the loss should rise
        if self._maximised and all(self._maximised):
            self._natures.append("maximised")
        nature, reference, even, floor = self._nature(), nan, nan, nan
        if not nature:
            reference, even = self._reference(lambda sums: sums.reference()), self._reference(_even)
            floor = self._reference(lambda sums: sums.floor())
        figures = {f"value {step}": sum(values) / len(values) for step, values in self._values.items()}
        classes = [sums.classes for sums in self._sums.values() if sums.classes]
        parts = max(self._parts_of_step, 1.0)
        figures |= {
            "passes": float(max(map(len, self._values.values()))),
            "parts": parts,
            "shares": float(all(is_share(*each, round(parts)) for each in self._scales) and "several" not in self._natures),
            "terms": float(len(self._terms)),
            "classes": float(classes[0]) if len(self._terms) == 1 and classes else 0.0,
            "reference": reference,
            "even": even,
            "floor": floor,
            "weight": self._weight(),
            "upwards": float(
                nature in ("", "maximised")
                and len(self._terms) == 1
                and self._terms[0].kind in (*CLASSES, *VALUES)
                and all(self._upwards or [False])
            ),
        }
        kinds = " + ".join(dict.fromkeys(each.kind for each in self._terms))
        words = {"kind": kinds, "nature": nature}
        if len(self._terms) == 1 and self._plain:
            words["targets"] = "classes"
        yield Evidence("loss", (), (steps[0], steps[-1]), figures, words)

    def _weight(self) -> float:
        """By what a single term's mean over all it is taken over is multiplied to give the loss."""
        return float(torch.tensor(self._ratios).median()) if len(self._terms) == 1 and self._ratios else nan

    def _pool(self, place: int, term: Term) -> None:
        if term.target is None or term.kind not in (*CLASSES, *VALUES):
            return
        sums = self._sums.setdefault(place, TargetSums())
        target, options = term.target.detach(), term.options
        smoothing = float(options.get("label_smoothing", 0.0))
        if term.kind == "binary cross-entropy":
            sums.add_labels(target, options.get("pos_weight"))
        elif term.kind in VALUES:
            sums.add_values(target, error_of(term.kind, options.get("beta", options.get("delta", 1.0))))
        elif term.given is not None and target.is_floating_point():
            sums.add_shares(target, options["axis"], smoothing)
        elif classes := options.get("classes", 0) or (term.given.shape[options["axis"]] if term.given is not None else 0):
            sums.add_classes(target, classes, options.get("weight"), smoothing)
            self._plain = options.get("weight") is None and not smoothing

    def _situation(self, look: Look, terms: list[Term], value: float) -> None:
        found = []
        if not self._searched:
            self._searched = True
            if foreign(look):
                found.append("adversarial")
        if len(look.optimisers) > 1 and (involved := sides(look)):
            self._sides.add(involved)
        if any(bootstrapped(look, each.target) for each in terms if each.target is not None):
            found.append("bootstrapped")
        compared = [each.given for each in terms if each.kind == "cross-entropy" and contrastive(each.given, each.target)]
        self._compared.append(bool(compared))
        if any(given is not None and product_of(given) is not None for given in compared):
            found.append("contrastive")
        if any(margined(each.given, each.target, look.calls) for each in terms if each.kind == "cross-entropy"):
            found.append("margin")
        likelihoods = all(each.kind == "cross-entropy" for each in terms)
        if likelihoods and ((value < 0 and not any(isfinite(each.weight) for each in terms)) or chosen_by_draw(look)):
            found.append("policy")  # weights of both signs, such as rewards: an error alone is never below 0
        self._natures += [each for each in found if each not in self._natures]

    def _nature(self) -> str:
        told = [{constant for term, constant in each if term not in self._mixed} for each in self._constants.values()]
        if len(self._sides) > 1 or any(len(each) > 1 for each in told):
            return "adversarial"
        if self._natures:
            return self._natures[0]
        if self._compared and all(self._compared):
            return "contrastive"
        if any(sums.moving() for sums in self._sums.values()):
            return "moving"
        unknown = [each.kind for each in self._terms if each.kind not in BOUNDED]
        return "policy" if "policy" in unknown else "other" if unknown else ""

    def _reference(self, of: Any) -> float:
        """Reference of the sum, if every term has one: a sum is never compared with the reference of one term."""
        total = 0.0
        for place, term in enumerate(self._terms):
            sums = self._sums.get(place)
            one: float = of(sums) if sums is not None else nan
            if term.root:
                one = sqrt(one) if one >= 0 else nan
            weight = term.weight
            if len(self._terms) == 1 and self._ratios and not term.root:
                weight = float(torch.tensor(self._ratios).median())
            total += (1.0 if term.root and len(self._terms) == 1 and not isfinite(weight) else weight) * one
        return total if isfinite(total) and total > 0 else nan


def _even(sums: TargetSums) -> float:
    even = sums.even()
    return even if isfinite(even) else sums.zero()
