"""Words and numbers, the verdict, and the report in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import inf, nan

import pytest
from report_synthetic import a_finding, a_report, tanh_trace
from rich.console import Console

from lettrine.health.findings import Finding, Outcome, Report
from lettrine.report import terminal
from lettrine.report.summary import Verdict, module_rows, verdict, watched
from lettrine.report.words import NONE, brief, clean, count, labels, number, numeral, percent, scientific, short, spread


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.66412, "0.664"),
        (12.3456, "12.3"),
        (1234.5, "1,234"),
        (0.00042, "4.20e-4"),
        (-0.05, "-0.0500"),
        (3e7, "3.00e7"),
        (0.0, "0"),
    ],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_numbers_that_are_none() -> None:
    assert [number(nan), percent(nan), scientific(nan), number(inf), number(-inf)] == [NONE, NONE, NONE, "∞", "-∞"]
    assert [brief(0.5), brief(30.0), brief(100.0), scientific(0.0022)] == ["0.5", "30", "100", "2.20e-3"]
    assert [percent(0), percent(0.0278), percent(0.5312), percent(1)] == ["0 %", "2.8 %", "53 %", "100 %"]
    assert [count(0, "check"), count(1, "check"), count(12, "check"), count(23, "check")] == [
        "no checks",
        "one check",
        "twelve checks",
        "23 checks",
    ]


def test_names_lose_what_could_move_the_cursor_or_turn_the_text() -> None:
    assert clean("a\x1b[31mb\x00\x7f\u202ec\n\td\ud800\ufffe\U0001ffff") == "a[31mbc  d"


def test_a_shortened_name_can_be_searched_for() -> None:
    name = "encoder.layers.11.attention.output"
    assert short(name, 34) == name
    assert short(name, 30) == "…layers.11.attention.output"
    assert short(name, 20) == "…11.attention.output"
    assert short(name, 3) == "…utput"  # no part of it fits
    assert short("x" * 100, 60) == "x" * 100
    assert labels(["net.block.0.linear", "net.out", "net.block.0.attention"], 18) == [
        "net.block.0.linear",
        "net.out",
        "…block.0.attention",
    ]
    blocks = [f"bert.encoder.layer.{n}.intermediate.intermediate_act_fn" for n in (0, 11)]
    assert labels(blocks, 24) == ["…0.intermediate.intermediate_act_fn", "…11.intermediate.intermediate_act_fn"]
    assert labels(["left.0.act", "right.0.act"], 6) == ["left.0.act", "right.0.act"]
    assert labels(["fc", "fc"], 10) == ["fc", "fc (2)"]


def test_spread_keeps_first_and_last() -> None:
    assert spread(range(5), 12) == [0, 1, 2, 3, 4]
    assert spread(range(100), 4) == [0, 33, 66, 99]
    assert spread(range(100), 4, keep=[50, 51]) == [0, 50, 51, 99]
    assert spread(range(100), 3, keep=range(10, 20)) == [10, 14, 19]


def said(findings: Sequence[Finding], outcomes: Sequence[Outcome], *unjudged: str) -> Verdict:
    return verdict(Report(tuple(findings), tuple(outcomes), tanh_trace(steps=20), unjudged=unjudged))


def test_a_verdict_is_only_healthy_when_enough_was_seen() -> None:
    passed, absent = Outcome("saturation", "passed"), Outcome("overfitting", "not run", "no loss on held-out data")
    assert said([], [passed] * 23).headline == "Healthy: 23 checks, none found a fault."
    assert said([], [passed] * 23).tone == "good"
    partly = said([], [passed, passed, absent])
    assert partly.headline == "Healthy as far as 2 of 3 checks could see."
    assert partly.detail.endswith("Could not run: overfitting.")
    short = said([], [passed], "20 steps say nothing about learning, 100 are needed")
    assert short.headline == "Not judged: 20 steps say nothing about learning, 100 are needed."
    assert short.tone == "unknown"
    broke = said([], [passed, Outcome("leak", "failed", "ValueError")], "the check leak broke")
    assert broke.headline == "Not judged: the check leak broke."
    assert broke.tone == "warning"


def test_a_verdict_counts_by_severity() -> None:
    one, two, info = a_finding(), a_finding(severity="warning"), a_finding(severity="info")
    found = [Outcome("saturation", "found")]
    assert said([one, two, two], found).headline == "Not healthy: one critical finding and two warnings."
    assert said([two, info], found).headline == "Not healthy: one warning and one remark."
    assert said([two, info], found).tone == "warning"
    assert said([one, two, info], found).headline == "Not healthy: one critical finding, one warning and one remark."
    assert said([info], found).headline == "Healthy: one check, none found a fault, with one remark."
    assert said([info], found, "3 steps are few").headline == "Not judged, with one remark: 3 steps are few."
    assert said([one], found, "3 steps are few").headline == "Not healthy: one critical finding."
    assert said([one], found).detail == "One check ran."
    assert said([one, two], found).detail == "Begin with the first: it is the likeliest cause. One check ran."


def test_module_rows_hold_the_last_figures() -> None:
    trace = tanh_trace(steps=20)
    rows = {row.name: row for row in module_rows(trace)}
    assert list(rows) == [module.name for module in trace.modules]
    assert rows["layers.3"].std == trace.output("layers.3", "std")[-1]
    assert rows["layers.3"].gradient_std == trace.gradient("layers.3", "std")[-1]
    assert rows["layers.4"].update_data == trace.parameter("layers.4.weight", "update_data")[-1]
    assert rows["layers.4"].saturated != rows["layers.4"].saturated, "a linear layer has no saturation"
    assert watched(trace) == f"Eleven modules watched over 20 steps, {numeral(len(trace.steps))} measured."


def test_the_report_reads_well_as_plain_text() -> None:
    text = terminal.to_text(a_report())
    assert "\x1b" not in text
    assert all(len(row) <= terminal.PLAIN_WIDTH for row in text.split("\n"))
    for part in (
        "layers.10",
        "update:data",
        "Not healthy: one critical finding.",
        "✗ critical  Half of",
        "layers.1, layers.3",
        "Multiply",
        "Glorot",
    ):
        assert part in text
    assert text.index("layers.10 ") < text.index("Not healthy: one critical finding.")
    assert str(a_report()) == text


@pytest.mark.parametrize("width", [60, 80, 100])
def test_the_report_fits_the_screen_without_cutting_a_figure(width: int) -> None:
    console = Console(width=width, force_terminal=True, color_system="standard", legacy_windows=False)
    report = a_report(trace=tanh_trace(steps=4, name="encoder.blocks.layers.{i}"))
    with console.capture() as capture:
        console.print(report)
    shown = capture.get()
    assert "\x1b[1;31m✗ critical" in shown
    assert "update:data" in shown
    update = report.trace.parameter("encoder.blocks.layers.4.weight", "update_data")[-1]
    lines = shown.splitlines()
    place = next(i for i, each in enumerate(lines) if each.split(" ")[0] == "encoder.blocks.layers.4")
    assert number(update) in lines[place if width >= 80 else place + 1], "a name that leaves no room has a line of its own"
    assert ("kind" in shown) == (width > 80)


def test_a_finding_on_one_line() -> None:
    assert terminal.line(a_finding()) == (
        "✗ critical at step 3: Half of the outputs are saturated. (layers.1, layers.3) → Multiply the weights by 0.56."
    )
    many = terminal.line(a_finding(where=tuple(f"l{i}" for i in range(30))))
    assert "(l0, l1, l2, l3, l4, l5 and 24 more)" in many


def test_markup_and_escapes_in_names_are_text() -> None:
    hostile = "[bold red]x[/]\x1b[2J"
    report = a_report(findings=(a_finding(where=(hostile,), message=hostile),))
    text = terminal.to_text(report)
    assert "[bold red]x[/][2J" in text
    assert "\x1b" not in text


def test_what_went_wrong_in_the_health_check_itself_is_said() -> None:
    report = a_report(findings=(), outcomes=(Outcome("leak", "failed", "KeyError: 'loss'"),))
    facts = replace(report.trace.facts, errors=("hook of layers.1 failed",))
    text = terminal.to_text(replace(report, trace=replace(report.trace, facts=facts)))
    assert "The check leak broke: KeyError: 'loss'" in text
    assert "met an error: hook of layers.1 failed" in text


def test_long_tables_are_cut_in_the_middle() -> None:
    text = terminal.to_text(a_report(trace=tanh_trace(depth=20, hidden=6, steps=2)))
    assert "17 of 41 modules left out" in text
    assert "layers.40 " in text
