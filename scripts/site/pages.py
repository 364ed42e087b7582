"""The text of the generated pages, in Markdown."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Mapping
from html import escape
from math import isnan
from typing import Any, Final

from scripts.site.drawing import beside
from scripts.site.facts import Facts, facts
from scripts.site.programs import Shown, Told

from lettrine.health import checks as checks_of_lettrine

SYMPTOM: Final = {
    "": "",
    "remark": "A symptom: where the loss falls well, it is a remark only.",
    "harm": "A symptom: it is a remark only, unless harm was measured or it is critical.",
    "silent": "A symptom: where the loss falls well, nothing is said.",
}

CHECKS_TOLD: Final = (
    "{count} checks are asked of each training. Each page tells what is measured, by which formula and against which limit. "
    "It shows a small program that is sick, and the same program cured; `python -m scripts.site` runs them."
)
EXPERIMENTS_TOLD: Final = (
    "`health.checkup` carries out {count} experiments, the most telling first, and puts everything back bit by bit. Each page "
    "tells what is measured, and shows a small task that is sick, and the same task cured."
)


def grouped(checks: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The checks under the headings of their rooms."""
    package = checks_of_lettrine.__name__
    groups: dict[str, list[Any]] = {f"{package}.{room}": [] for room in checks_of_lettrine.ROOMS}
    for check in checks.values():
        groups[check.function.__module__.rpartition(".")[0]].append(check)
    return {(sys.modules[room].__doc__ or "").strip().removesuffix("."): group for room, group in groups.items()}


def checks_index(checks: Mapping[str, Any]) -> str:
    """All checks by what they look at."""
    lines = [f"# Checks\n\n{CHECKS_TOLD.format(count=len(checks))}\n"]
    for title, group in grouped(checks).items():
        lines.append(f"## {title}\n")
        lines += [f"- [`{each.id}`]({each.id}.md): {_first(facts(each.function).summary)}" for each in group]
        lines.append("")
    return "\n".join(lines)


def check_page(check: Any, made: Shown, explains: Mapping[str, Iterable[str]], experiments: Mapping[str, Iterable[str]]) -> str:
    """One check."""
    told = facts(check.function)
    causes = [name for name, others in explains.items() if check.id in others and name in explains]
    proved = [name for name, ids in experiments.items() if check.id in ids]
    beside = [
        f"It can account for {_links(explains[check.id])}." if explains.get(check.id) else "",
        f"It can be the consequence of {_links(causes)}." if causes else "",
    ]
    after = [
        f"Needs: {', '.join(check.needs)}." if check.needs else "",
        SYMPTOM[check.symptom],
        f"The check-up looks for it by {_links(proved, '../experiments/')}." if proved else "",
    ]
    folded = ['??? note "Causes and consequences"\n', *_indented("\n\n".join(filter(None, beside)))] if any(beside) else []
    return "\n".join([_head(check.id, told), *(f"{line}\n" for line in after if line), *folded, *_example(made)])


def experiments_index(experiments: Mapping[str, Any]) -> str:
    """All experiments in the order in which they are run."""
    lines = [
        f"# Experiments\n\n{EXPERIMENTS_TOLD.format(count=len(experiments))}\n",
        "| experiment | | finds |",
        "|---|---|---|",
    ]
    for each in experiments.values():
        told = facts(each.function)
        lines.append(f"| [`{each.id}`]({each.id}.md) | {told.summary} | {', '.join(f'`{name}`' for name in told.findings)} |")
    return "\n".join(lines) + "\n"


def experiment_page(experiment: Any, made: Shown, checks: Iterable[str]) -> str:
    """One experiment."""
    told = facts(experiment.function)
    known = set(checks)
    found = ", ".join(f"[`{name}`](../checks/{name}.md)" if name in known else f"`{name}`" for name in told.findings)
    cost = f"It takes about {experiment.passes:,} passes through the model."
    return "\n".join([_head(experiment.title, told), f"Finds: {found}.\n", f"{cost}\n", *_example(made)])


def _head(title: str, told: Facts) -> str:
    limits = ["## Limits\n", "| name | value | meaning and source |", "|---|---|---|"]
    limits += [f"| <code>{each.name.replace('_', '_<wbr>')}</code> | {each.value} | {_cell(each.said)} |" for each in told.limits]
    formula = told.formula.removeprefix("none: ").removeprefix("none. ").removesuffix(".")
    none = "Nothing is computed: " if told.formula.startswith("none") else ""
    return "\n".join(
        [
            f"# {title}\n",
            f"{told.summary}\n",
            "## What is measured\n",
            f"{told.measured}\n",
            f"**Formula.** {none}{_coded(formula)}{'' if _coded(formula).endswith('`') else '.'}\n",
            *(limits if told.limits else ["## Limits\n", "None: what it names is so, or it is not."]),
            "",
        ]
    )


def _coded(formula: str) -> str:
    """The parts of a formula that are one, set as code."""
    parts = []
    for part in formula.split("; "):
        name, equals, rest = part.partition(" = ")
        parts.append(f"`{name} = {rest}`" if equals and _parses(name) and len(part) < 110 and ", " not in rest else part)
    return "; ".join(parts).replace("*", r"\*") if "`" not in "".join(parts) else "; ".join(parts)


def _parses(name: str) -> bool:
    try:
        ast.parse(name.replace(":", "_").replace(" ", "_").replace("(", "_").replace(")", "_"))
    except SyntaxError:
        return False
    return len(name) < 24


def _example(made: Shown) -> list[str]:
    source = f" Made after [{made.source}](https://{made.source.partition(': ')[2]})." if "github.com" in made.source else ""
    source = source or (f" Made after {made.source}." if made.source else "")
    return [
        f"## Example: {made.title[:1].lower() if made.title[1:2].islower() else made.title[:1]}{made.title[1:]}\n",
        *([f"{made.words.rstrip('.')}.{source}\n"] if made.words else []),
        "### Sick\n",
        *_finding(made.sick),
        "### Healthy\n",
        *_healthy(made.healthy),
        *_pictures(made),
        *_figures(made),
        '??? example "The program"\n',
        *_indented(f"`doctor.watch` stands for `health.watch`, and `cured` for the remedy.\n\n```python\n{made.code}\n```"),
    ]


def _finding(told: Told) -> list[str]:
    found = told.finding
    kind = {"critical": "danger", "warning": "warning", "info": "info"}[found["severity"]]
    where = ", ".join(f"`{name}`" for name in found["where"][:4])
    rows = [f"**{_text(found['message'])}**", "", _text(found["why"]), "", f"**Remedy.** {_text(found['remedy'])}"]
    rows += ["", f"**Source.** {_text(found['reference'])}"] if found["reference"] else []
    rows += ["", f"**Where.** {where}"] if where else []
    others = [f"Beside it: {', '.join(f'`{name}`' for name in told.others)}.\n"] if told.others else []
    title = f"{found['severity']} · {found['id']}"
    return [f'!!! {kind} "{title}"\n', *_indented("\n".join(rows)), *others]


def _healthy(told: Told) -> list[str]:
    rest = f" Remarks: {', '.join(f'`{name}`' for name in told.others)}." if told.others else ""
    said = f" {_text(told.said)}" if told.said else ""
    return [f'!!! success "{told.verdict}"\n', f"    The same program, cured.{said}{rest}\n"]


def _pictures(made: Shown) -> list[str]:
    lines = []
    for name, (title, drawn) in made.sick.pictures.items():
        pairs = [("sick", drawn), *([("healthy", made.healthy.pictures[name][1])] if name in made.healthy.pictures else [])]
        figures = "".join(f"<figure>{svg}<figcaption>{escape(title)}: {side}</figcaption></figure>" for side, svg in pairs)
        lines.append(f'<div class="pair">{figures}</div>\n')
    return lines


def _figures(made: Shown) -> list[str]:
    """What an experiment measured on either side."""
    names = list(dict.fromkeys([*made.sick.figures, *made.healthy.figures]))
    if not names:
        return []
    rows = [
        f"| {name.replace('_', ' ')} | {_number(made.sick.figures.get(name))} | {_number(made.healthy.figures.get(name))} |"
        for name in names
    ]
    drawn = beside(made.sick.figures, made.healthy.figures, "measured")
    picture = [f'<div class="pair"><figure>{drawn}</figure></div>\n'] if drawn else []
    return ["### Measured\n", *picture, "| figure | sick | healthy |", "|---|---:|---:|", *rows, ""]


def _number(value: float | None) -> str:
    if value is None or isnan(value):
        return "-"
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) < 1e9 else f"{value:.3g}"


def _links(names: Iterable[str], folder: str = "") -> str:
    return ", ".join(f"[`{name}`]({folder}{name}.md)" for name in names)


def _first(text: str) -> str:
    return text.partition(". ")[0].rstrip(".") + "."


def _cell(text: str) -> str:
    return _text(text).replace("|", r"\|")


def _text(text: str) -> str:
    """Plain text as Markdown that shows it as it is."""
    return escape(text, quote=False).replace("*", r"\*").replace("_", r"\_").replace("[", r"\[").replace("`", r"\`")


def _indented(text: str) -> list[str]:
    return [f"    {line}" if line else "" for line in text.splitlines()] + [""]
