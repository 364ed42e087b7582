"""What stays as it is although it was made to learn, by evidence written by hand; and statistics of the batch in eval mode."""

from __future__ import annotations

import pytest
from paper import found, make_trace, outcome, the

from lettrine.health.checks import examine
from lettrine.health.evidence import Evidence
from lettrine.health.trace import Trace


def seen(kind: str, *where: str, words: dict[str, str] | None = None, **figures: float) -> Trace:
    return make_trace(
        evidence=(Evidence(kind, where, (0, 94), {name: float(value) for name, value in figures.items()}, words or {}),)
    )


def test_an_optimiser_that_never_steps() -> None:
    finding = the(seen("idle", "fc1.weight", "fc1.bias", steps=20), "never-moved")
    assert (finding.where, finding.severity) == (("fc1.weight", "fc1.bias"), "warning")
    assert "step() of each optimizer" in finding.remedy
    assert found(seen("idle", "fc1.weight", steps=2), "never-moved") == ()  # it may have had nothing to do


@pytest.mark.parametrize(("kept", "told"), [(42, True), (5, False)])
def test_pairs_of_low_rank_frozen_at_their_start(kept: int, told: bool) -> None:
    trace = seen("frozen pairs", "fc1.lora_A", "fc1.lora_B", pairs=1, rank=4, steps=kept)
    assert bool(found(trace, "never-moved")) is told
    if told:
        assert "1 pair of matrices of rank 4" in the(trace, "never-moved").message


def test_a_norm_of_single_values() -> None:
    finding = the(seen("norm of one", "fc1", words={"kind": "GroupNorm"}, looks=3, all=3), "no-gradient")
    assert finding.where == ("fc1",)
    assert "fewer groups" in finding.remedy
    assert found(seen("norm of one", "fc1", words={"kind": "GroupNorm"}, looks=2, all=3), "no-gradient") == ()


def test_statistics_of_the_batch_in_eval_mode() -> None:
    told = {"batch": 32, "rows": 450}
    finding = the(seen("neighbours", "fc1", words={"function": "var"}, looks=2, all=2, **told), "batch-mixing")
    assert (finding.where, finding.value, finding.limit) == (("fc1",), 450, 32)
    assert "keepdim=True" in finding.remedy
    assert (
        "GroupNorm"
        in the(seen("neighbours", "fc1", words={"function": "batch_norm"}, looks=2, all=2, **told), "batch-mixing").remedy
    )
    once = seen("neighbours", "fc1", words={"function": "var"}, looks=1, all=2, **told)
    assert outcome(once, "batch-mixing")[0] == "not applicable"


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        ({"gradient": 1}, "gradients are computed and never used."),
        ({"gradient": 0}, "no backward pass was seen either."),
        ({"gradient": 1, "rate": 0.01, "first_rate": 0.1}, "a schedule takes the learning rate from 0.1 to 0.01."),
        ({"gradient": 1, "broken": 1}, "as a GradScaler finds before it leaves a step out."),
        ({"gradient": 1, "scale": 1.0, "first_scale": 65_536}, "its scale has fallen from 65,536 to 1."),
    ],
)
def test_an_optimiser_that_has_never_stepped(figures: dict[str, float], said: str) -> None:
    told = {name: float(value) for name, value in {"rounds": 40, "broken": 0, **figures}.items()}
    evidence = Evidence("no step", ("fc1.weight",), (0, 0), told, {"kind": "Adam"})
    finding = the(make_trace(steps=(0,), loss=[2.3], evidence=(evidence,)), "never-moved")
    assert (finding.severity, finding.where) == ("critical", ("fc1.weight",))
    assert finding.message.startswith("The optimizer (Adam) made no step in 40 rounds: ")
    assert finding.message.endswith(said)
    assert found(make_trace(evidence=(evidence,)), "never-moved") == ()  # it has stepped since


@pytest.mark.parametrize(("count", "keeps", "told"), [(60, "a state", True), (40, "a state", False), (60, "", False)])
def test_optimisers_made_for_each_step(count: int, keeps: str, told: bool) -> None:
    trace = seen("successors", words={"kind": "Adam", "keeps": keeps}, steps=100, count=count, taken=30)
    assert any(each.id == "optimiser-state-lost" for each in examine(trace).findings) is told
