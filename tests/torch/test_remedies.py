"""Remedies followed to the letter: the whole table is benchmarks/bench_remedies.py, here is the quick part of it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.bench_remedies import APPLIED, SICK, Program, Tried, numbers, tried
from benchmarks.clinic import followed as clinic
from benchmarks.clinic.newcases import CASES
from benchmarks.wild.case import above, below, load
from benchmarks.wild.followed import Followed, Follower, followed
from benchmarks.wild.found import Found
from benchmarks.wild.remedies import FEWER, TRIED, VARIANTS

from lettrine.health.checks import CHECKS
from lettrine.health.findings import Finding


@pytest.mark.parametrize("name", ["update-too-large", "target-scale", "missing-zero-grad", "broadcast"])
def test_a_remedy_that_is_followed_helps(name: str) -> None:
    for place in range(len(SICK[name])):
        result = tried(name, place, seeds=(0,))
        assert result.found
        assert result.after < 0.9
        assert not result.before <= result.after  # nor is it NaN before and after


def test_every_remedy_of_the_table_has_two_programs() -> None:
    assert set(APPLIED) == set(SICK)
    assert min(map(len, SICK.values())) >= 2


def test_figures_are_read_from_the_text_and_harm_is_seen() -> None:
    finding = Finding("x", "info", (), (0, 0), 0.0, 0.0, "m.", "w", "Train on (y - 5,120.5) / 9e+02, and undo it.", "r")
    assert numbers(finding, r"\(y - #\) / #") == [5120.5, 900.0]
    with pytest.raises(ValueError, match="names no figure"):
        numbers(finding, "from # to #")
    assert Tried("x", 0, found=True, before=0.3, after=0.5).harms
    assert Tried("x", 0, found=True, before=0.3, after=float("nan")).harms
    assert not Tried("x", 0, found=True, before=float("nan"), after=0.5).harms
    assert Program("classes").cleared


def test_a_remedy_is_done_to_the_program_of_another() -> None:
    model = torch.nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    found = Found("update-too-large", "warning", remedy="Lower the learning rate 10 times or more, from 0.5 to 0.05.")
    with Follower(found).watch(model, optimizer):
        before = model.weight.detach().clone()
        model(torch.ones(1, 3)).sum().backward()
        optimizer.step()
    assert torch.allclose(before - model.weight, torch.full((1, 3), 0.05))  # a tenth of the step, and the rate is put back
    assert optimizer.param_groups[0]["lr"] == 0.5
    assert Followed("x", "y", "by hand", above(0.9, 0.8), above(0.5, 0.8)).harms
    assert not Followed("x", "y", "by hand", below(0.9, 0.8), below(0.5, 0.8)).harms


def test_every_finding_has_two_programs_of_others_or_a_reason() -> None:
    cases = load(VARIANTS) | load()
    for finding, names in TRIED.items():
        assert len(names) >= 2 or finding in FEWER, finding
        assert all(cases[name].kinds for name in names), finding
    assert {*TRIED, *FEWER} >= set(CHECKS)
    assert not {finding for finding, names in TRIED.items() if len(names) >= 2} & set(FEWER)


@pytest.mark.parametrize(
    ("name", "finding"),
    [
        ("second_layer_below_nought", "dead-units"),
        ("depths_are_all_below_nought", "dead-units"),
        ("weights_between_nought_and_one", "saturation"),
        ("branches_merged_from_a_list", "unregistered"),
        ("captions_in_half_precision", "eps-underflow"),
    ],
)
def test_a_remedy_helps_on_programs_of_others(name: str, finding: str) -> None:
    (result,) = [each for each in followed(load()[name], None, seed=0) if each.finding == finding]
    assert result.how == "by program"
    assert result.after.good
    assert not result.before.good


@pytest.mark.parametrize(
    ("name", "finding"),
    [
        ("dead-units/mlp_relu", "dead-units"),
        ("missing-zero-grad/mlp_tanh", "missing-zero-grad"),
        ("not-optimised/mlp_tanh", "not-optimised"),
        ("update-too-large/mlp_tanh", "update-too-large"),
        ("symmetry/mlp_tanh", "symmetry"),
    ],
)
def test_a_remedy_helps_in_the_clinic(name: str, finding: str) -> None:
    case = next(each for each in CASES if each.name == name)
    (result,) = (each for each in clinic.followed(case, 5) if each.finding == finding)
    assert (result.how, result.outcome) == ("by program", "helps")


@pytest.mark.parametrize(
    ("before", "after", "healthy", "outcome"),
    [
        (2.0, 1.0, 1.0, "helps"),
        (2.0, 2.01, 2.0, "no change"),
        (2.0, 2.2, 2.2, "as healthy"),
        (2.0, 2.3, 2.2, "HARMS"),
        (float("nan"), 2.0, 2.0, "helps"),
        (2.0, float("nan"), 2.0, "HARMS"),
        (float("nan"), float("nan"), 2.0, "no change"),
    ],
)
def test_what_a_remedy_did(before: float, after: float, healthy: float, outcome: str) -> None:
    assert clinic.Followed("x", "y", "by hand", before, after, healthy).outcome == outcome
