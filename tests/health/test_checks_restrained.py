"""What keeps a network from learning although all is wired, by traces and evidence written by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from paper import FACTS, MODULES, PARAMETERS, found, healthy_losses, make_trace, noisy, the

from lettrine.health.checks import examine
from lettrine.health.evidence import Evidence
from lettrine.health.trace import ParameterInfo, Trace

LITTLE = noisy(np.linspace(2.3, 2.1, 200), 0.01)


def seen(kind: str, *where: str, loss: object = None, words: dict[str, str] | None = None, **figures: float) -> Trace:
    told = {name: float(value) for name, value in figures.items()}
    return make_trace(evidence=(Evidence(kind, where, (0, 94), told, words or {}),), loss=loss)


def test_dropout_that_drops_nearly_all() -> None:
    finding = the(seen("dropout", "drop", share=0.95, looks=9, loss=LITTLE), "underfitting")
    assert (finding.severity, finding.where) == ("warning", ("drop",))
    assert "drops 95 % of the values" in finding.message
    assert "hardly better than guessing (2.3)" in finding.message
    assert "set p=0.05 in drop" in finding.remedy
    assert "set p=0.1 in that dropout" in the(seen("dropout", share=0.9, looks=9, loss=LITTLE), "underfitting").remedy
    for harmless in (
        seen("dropout", "drop", share=0.5, looks=9, loss=LITTLE),
        seen("dropout", "drop", share=0.95, looks=9, loss=healthy_losses()),
    ):
        assert found(harmless, "underfitting") == ()


def heavy(momentum: float, loss: object) -> Trace:
    return make_trace(facts=replace(FACTS, momentum=momentum), loss=loss)


def test_a_momentum_that_outlasts_the_fall() -> None:
    swings = np.concatenate([np.linspace(2.3, 0.7, 40), np.linspace(0.7, 7.4, 160)])
    finding = the(heavy(0.999, swings), "divergence")
    assert finding.value == pytest.approx(0.999)
    assert "act on for 1,000 steps" in finding.message
    assert "to 0.9; with SGD this makes the steps 100 times smaller" in finding.remedy
    assert "momentum" not in the(heavy(0.9, swings), "divergence").remedy
    assert found(heavy(0.999, healthy_losses()), "divergence") == ()


def test_a_momentum_with_which_the_loss_swings() -> None:
    def swung(end: float) -> np.ndarray:
        return np.concatenate([np.linspace(2.3, 0.5, 60), np.linspace(0.5, 1.9, 60), np.linspace(1.9, end, 60), np.full(20, end)])

    finding = the(heavy(0.995, swung(0.7)), "divergence")
    assert finding.severity == "warning"
    assert "had come to 0.607, rose to 1.81 again, and ended at 0.7" in finding.message  # means of tens
    assert found(heavy(0.995, swung(0.3)), "divergence") == ()  # lower than ever
    assert found(heavy(0.9, swung(0.7)), "divergence") == ()


def missing(**bare: float) -> Trace:
    """A branch beside what learns that never got a gradient."""
    evidence = (Evidence("bare term", (), (0, 94), bare, {"function": "mse_loss", "cut": ""}),) if bare else ()
    return make_trace(evidence=evidence, **{f"fc3.weight.{stat}": np.nan for stat in ("gradient_norm", "gradient_std")})


def test_a_term_that_is_added_as_a_number() -> None:
    finding = the(missing(looks=9.0, all=9.0), "no-gradient")
    assert (finding.severity, finding.where) == ("warning", ("fc3.weight",))
    assert "a term of the loss (mse_loss) is added as a plain number" in finding.message
    assert the(missing(), "no-gradient").severity == "info"
    assert the(missing(looks=5.0, all=9.0), "no-gradient").severity == "info"


def test_a_term_without_a_graph_where_all_learn_from_others() -> None:
    def bare(cut: str, lone: float = 9.0) -> Trace:
        figures = {"looks": 9.0, "all": 9.0, "lone": lone}
        rises = np.linspace(1.0, 9.0, 200)
        return make_trace(
            evidence=(Evidence("bare term", (), (0, 94), figures, {"function": "mse_loss", "cut": cut}),), loss=rises
        )

    assert "made of answers by argmax" in the(bare("argmax"), "no-gradient").message
    finding = the(bare(""), "no-gradient")
    assert (finding.severity, finding.where) == ("warning", ())
    assert "(mse_loss) is added as a plain number" in finding.message
    assert "divergence" not in {each.id for each in examine(bare("")).findings}  # what rises is the number
    assert found(bare("", lone=0.0), "no-gradient") == ()  # it has a backward pass of its own


def test_attention_that_looks_at_one_place_from_the_start() -> None:
    def peaks(loss: object = LITTLE, start: int = 0, **figures: float) -> Trace:
        told = {"first": 0.9, "last": 0.95, "spread": 12.0, "size": 16.0, "looks": 9.0} | figures
        return make_trace(evidence=(Evidence("peaks", ("attention",), (start, 94), told),), loss=loss)

    finding = next(each for each in found(peaks(), "saturation") if each.where == ("attention",))
    assert "90 % of its weight to one place of 16 from the start, since its scores have a std of 12" in finding.message
    assert "math.sqrt(d)" in finding.remedy
    for harmless in (peaks(healthy_losses()), peaks(first=0.5), peaks(last=0.5), peaks(spread=2.0), peaks(start=19)):
        assert all(each.where != ("attention",) for each in found(harmless, "saturation"))


def test_everything_passes_through_one_unit() -> None:
    """20 inputs, one unit, 20 units, 10 answers."""
    shapes = {"fc1": (1, 20), "fc2": (20, 1), "fc3": (20, 20), "head": (10, 20)}

    def given(**changed: tuple[int, int]) -> tuple[ParameterInfo, ...]:
        sizes = shapes | changed
        return tuple(replace(each, shape=sizes[each.module]) if len(each.shape) > 1 else each for each in PARAMETERS)

    finding = the(make_trace(parameters=given(), loss=LITTLE), "underfitting")
    assert (finding.severity, finding.where) == ("warning", ("fc1",))
    assert finding.remedy == "Give fc1 more units, such as 20."
    assert found(make_trace(parameters=given()), "underfitting") == ()  # learned all the same
    for changed in (
        {"fc1": (2, 20), "fc2": (20, 2)},
        {"head": (20, 20)},
        {"fc2": (20, 21)},
    ):  # wider; given back; joined by others
        assert all(
            each.severity == "info" for each in found(make_trace(parameters=given(**changed), loss=LITTLE), "underfitting")
        )
    beside = tuple(replace(each, fed_by="") if each.name == "fc2" else each for each in MODULES)  # fed by more than fc1
    assert all(
        each.severity == "info" for each in found(make_trace(modules=beside, parameters=given(), loss=LITTLE), "underfitting")
    )


@pytest.mark.parametrize(("end", "severity"), [(0.69, "info"), (0.4, None), (0.95, "warning")])
def test_one_unit_that_some_is_learned_through(end: float, severity: str | None) -> None:
    """A loss that stays at a good part of that of guessing: noise may be the rest of it."""
    shapes = {"fc1": (1, 20), "fc2": (20, 1), "fc3": (20, 20), "head": (10, 20)}
    given = tuple(replace(each, shape=shapes[each.module]) if len(each.shape) > 1 else each for each in PARAMETERS)
    loss = 2.3 * (end + (1 - end) * np.exp(-np.arange(300) / 8))
    told = [each.severity for each in found(make_trace(parameters=given, loss=loss), "underfitting") if each.where == ("fc1",)]
    assert told == ([] if severity is None else [severity])
