"""The site: every check and experiment has what its page needs, and guides and notebooks run as they stand."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from scripts.site import notebooks, pages, programs
from scripts.site.facts import facts

from lettrine import health
from lettrine.health.checks import CHECKS, check
from lettrine.health.checks.causes import EXPLAINS
from lettrine.health.findings import Finding
from lettrine.health.limits import SATURATED_SHARE
from lettrine.torch.checkup import EXPERIMENTS

DOCS = Path(__file__).parents[1] / "docs"


def made(told: str = "") -> programs.Shown:
    """What a program could have given, for the text around it."""
    found = Finding("saturation", "warning", ("1",), (0, 9), 0.9, 0.4, "Its_message.", "Why*.", "Remedy.", "Source").to_dict()
    sick = programs.Told("not healthy", found, ("leak",), {"loss": ("Loss", "<svg></svg>")}, {"change": 0.25}, told)
    well = programs.Told("healthy", {}, (), {"loss": ("Loss", "<svg></svg>")}, {"change": 1e-17}, told)
    return programs.Shown(
        "a program", "It does.", "def program(): ...", "someone/project: github.com/someone/project/issues/1", sick, well
    )


@pytest.mark.parametrize("name", list(CHECKS))
def test_every_check_has_what_its_page_needs(name: str) -> None:
    told = facts(CHECKS[name].function)
    assert told.summary.endswith((".", ";"))
    assert "{" not in told.measured + told.formula
    assert programs.CHECKS[name] in programs.known_programs()
    page = pages.check_page(CHECKS[name], made(), EXPLAINS, {})
    assert f"# {name}\n" in page
    assert all(f">{limit.name}</code> | {limit.value} |" in page.replace("<wbr>", "") for limit in told.limits)


def test_every_experiment_has_what_its_page_needs() -> None:
    assert list(programs.EXPERIMENTS) == list(EXPERIMENTS)
    for each in EXPERIMENTS.values():
        told = facts(each.function)
        assert told.findings, each.id
        assert f"# {each.title}\n" in pages.experiment_page(each, made("It says."), CHECKS)


def test_no_page_is_left_of_a_check_that_is_gone() -> None:
    assert set(programs.CHECKS) == set(CHECKS)
    assert set(programs.PICTURES) <= set(CHECKS)


def test_limits_on_a_page_are_those_of_the_code() -> None:
    told = {limit.name: limit for limit in facts(CHECKS["saturation"].function).limits}
    assert told["SATURATED_SHARE"].value == f"{SATURATED_SHARE:g}"
    assert "published tanh nets" in told["SATURATED_SHARE"].said
    # Two modules of limits know the name: a page tells the one that its check reads.
    for name, value in (("non-finite", "10"), ("growing-graph", "1.5")):
        assert {limit.name: limit.value for limit in facts(CHECKS[name].function).limits}["GROWN"] == value


def test_a_check_that_does_not_say_what_it_measures_has_no_page() -> None:
    def silent(_: Any) -> tuple[()]:
        """A summary alone."""
        return ()

    try:
        check("says-nothing")(silent)
        with pytest.raises(ValueError, match="lacks Measured and Formula"):
            facts(CHECKS["says-nothing"].function)
    finally:
        CHECKS.pop("says-nothing", None)


@pytest.mark.parametrize("name", ["saturation", "repeated-batch", "noisy-judgement"])
def test_programs_are_named_and_their_cures_are_not(name: str) -> None:
    shown = programs.show_check(name)
    programs.complain(name, shown)
    assert "<svg" in next(iter(shown.sick.pictures.values()))[1]


def test_a_program_that_shows_nothing_ends_the_build() -> None:
    shown = made()
    turned = programs.Shown("t", "w", "c", "s", shown.healthy, shown.sick)
    with pytest.raises(RuntimeError, match="instead of a finding"):
        programs.complain("saturation", turned)
    with pytest.raises(RuntimeError, match="the cure of t"):
        programs.complain("saturation", programs.Shown("t", "w", "c", "s", shown.sick, shown.sick))


@pytest.mark.parametrize("name", ["index.md", "health.md"])
def test_guides_run_as_they_stand(name: str) -> None:
    known = set(health.CHECKS)
    names: dict[str, object] = {"__name__": "__main__"}
    for block in re.findall(r"```python\n(.*?)```", (DOCS / name).read_text(), re.DOTALL):
        exec(compile(block, name, "exec"), names)  # noqa: S102  our own text
    assert set(health.CHECKS) == known


@pytest.mark.parametrize("path", sorted(notebooks.EXAMPLES.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_run_and_hold_no_output(path: Path) -> None:
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells)
    ran = notebooks.run(path)
    assert all(output.output_type != "error" for cell in ran.cells for output in cell.get("outputs", ()))
    assert any("svg" in str(output.get("data", "")) for cell in ran.cells for output in cell.get("outputs", ()))


def test_there_are_notebooks() -> None:
    assert len(list(notebooks.EXAMPLES.glob("*.ipynb"))) >= 4


def test_every_page_is_in_the_navigation() -> None:
    listed = set(re.findall(r"([\w/-]+\.md)", (DOCS.parent / "mkdocs.yml").read_text()))
    made = {"recipes.md"}
    assert {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")} | made == listed
