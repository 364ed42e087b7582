"""The page: what it says, and how it behaves in a browser."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from chromium_pipe import Page, chromium
from report_synthetic import a_finding, a_report, tanh_trace

from lettrine.errors import MissingExtraError
from lettrine.health.findings import Outcome, Report
from lettrine.report import Section, figure, html
from lettrine.report.arrays import embedding_scatter
from lettrine.report.figure import Figure
from lettrine.report.html import Spelled, letters

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\x1b[2J\u202e</style>{{7*7}}"

needs_chromium = pytest.mark.skipif(
    chromium() is None and not os.environ.get("CI"), reason="no chromium on this machine; with CI set this test fails instead"
)


@pytest.fixture(scope="module")
def report() -> Report:
    trace = tanh_trace(gain=3, dead=3, norm=True, steps=200)
    warning = a_finding(severity="warning", id="spike", where=(), explains=("The loss rose.",))
    many = a_finding(where=tuple(f"block.{i}.act" for i in range(20)))
    outcomes = (Outcome("saturation", "found"), Outcome("spike", "found"), Outcome("leak", "not run", "no class frequencies"))
    return Report((many, warning), outcomes, trace, "Health of a deep net")


@pytest.fixture(scope="module")
def page(report: Report) -> str:
    section = Section(
        "Language model",
        text="Trained on names.",
        facts={"dev loss": "2.10 nats"},
        words=("amélie", "jorin"),
        header=("recipe", "ours"),
        rows=(("kaiming", "2.1015"),),
        figures={"embedding": Figure("Embedding", "Letters.", embedding_scatter([[0, 0], [1, 1]], ["a", "b"]))},
    )
    return html.render(report, sections=[section], facts={"seed": "42"})


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    trace = tanh_trace(steps=40, name=HOSTILE + "{i}")
    facts = replace(trace.facts, errors=(HOSTILE,), optimiser=HOSTILE, notes={HOSTILE: HOSTILE})
    texts = dict.fromkeys(("message", "why", "remedy", "reference", "id"), HOSTILE)
    findings = (a_finding(**texts, where=(HOSTILE,) * 12, explains=(HOSTILE,)),)
    chart = Figure(HOSTILE, HOSTILE, embedding_scatter([[0, 0], [1, 1]], [HOSTILE, '"><script>'], groups=[HOSTILE, "b"]))
    spelled = [Spelled(name, [[(c, 0.001) for c in HOSTILE]]) for name in (HOSTILE, "b")]
    section = Section(
        HOSTILE, HOSTILE, {HOSTILE: HOSTILE}, [HOSTILE], [HOSTILE], [[HOSTILE]], {HOSTILE: chart}, spelled=spelled, shown=HOSTILE
    )
    path = tmp_path_factory.mktemp("hostile") / "page.html"
    bad = Report(findings, (Outcome(HOSTILE, "failed", HOSTILE),), replace(trace, facts=facts), HOSTILE)
    return html.write(path, bad, sections=[section], facts={HOSTILE: HOSTILE})


class Elements(HTMLParser):
    """Tags and their attributes, text by tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {key: value or "" for key, value in attrs}))


def text_of(page: str) -> str:
    """What a reader sees, roughly."""
    bare = re.sub(r"<(script|style)\b[^>]*>.*?</\1>", "", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", bare))


def test_the_page_says_everything_in_order(page: str) -> None:
    text = text_of(page)
    parts = (
        "Not healthy: one critical finding and one warning.",
        "Two checks ran, one could not run.",
        "Half of the outputs are saturated.",
        "block.0.act",
        "and 12 more",
        "Multiply the weights by 0.56.",
        "0.5; the limit is 0.46",
        "Glorot",
        "The loss rose.",
        "Language model",
        "amélie",
        "kaiming",
        "Loss",
        "Size of the updates",
        "Layer by layer",
        "no class frequencies",
        "18,147",
        "seed",
    )
    places = [text.find(part) for part in parts]
    assert -1 not in places, parts[places.index(-1)]
    assert places == sorted(places)


def test_the_page_loads_nothing_and_stays_small(page: str) -> None:
    elements = Elements(page).found
    for tag, attributes in elements:
        for name in ("src", "href", "xlink:href", "data", "action", "poster", "srcset"):
            assert attributes.get(name, "data:").startswith("data:"), (tag, attributes)
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)
    policy = next(a["content"] for tag, a in elements if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert len(page.encode()) < 500_000


def test_every_id_is_used_once(page: str) -> None:
    ids = [attributes["id"] for _, attributes in Elements(page).found if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_a_page_for_notebooks_is_framed(report: Report) -> None:
    frame = report._repr_html_()
    assert [tag for tag, _ in Elements(frame).found] == ["iframe"]
    assert Elements(frame).found[0][1]["srcdoc"].startswith("<!doctype html>")


def test_a_page_of_sections_alone() -> None:
    page = html.render_sections("All recipes", [Section("kaiming", facts={"dev": "2.10"})])
    assert "All recipes" in text_of(page)
    assert "Findings" not in text_of(page)
    assert "<nav" not in page
    many = html.render_sections("All recipes", [Section(f"recipe {i}") for i in range(9)])
    elements = Elements(many).found
    targets = [attributes["href"] for tag, attributes in elements if tag == "a"]
    assert targets == [f"#{attributes['id']}" for tag, attributes in elements if tag == "section" and "id" in attributes]
    assert len(targets) == 9


def test_a_narrow_table_stands_beside_its_one_picture() -> None:
    drawn = {"a": Figure("Embedding", "Letters.", embedding_scatter([[0, 0], [1, 1]], ["a", "b"]))}
    narrow = Section("narrow", header=["character", "nearest"], rows=[["a", "b"]], figures=drawn)
    wide = Section("wide", header=["a", "b", "c", "d"], rows=[["1", "2", "3", "4"]], figures=drawn)
    classes = [
        a.get("class")
        for _, a in Elements(html.render_sections("x", [narrow, wide])).found
        if a.get("class") in ("beside", "scroll")
    ]
    assert classes == ["beside", "scroll", "scroll"]


def test_columns_of_figures_are_set_flush_right() -> None:
    rows = [["std", "0.75", "-0.1 %", "yes"], ["loss", "", "+2 %", "no", "5"]]
    assert html.numeric_columns(rows) == [False, False, True, False, False]
    assert html.numeric_columns([["1"], ["2"], ["-"], [""]], ["a", "b"]) == [True, False]
    assert html.numeric_columns([["-yes-"], ["no"]]) == [False]
    assert html.numeric_columns([]) == []


def test_a_report_saves_itself(tmp_path: Path) -> None:
    small = a_report()
    assert small.save(tmp_path / "health.html").read_text().startswith("<!doctype html>")
    assert "update-data" in small.charts()


def test_a_missing_extra_is_named(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(figure.importlib, "import_module", absent)
    with pytest.raises(MissingExtraError, match=r"\[report\]"):
        html.render(report)


def test_hostile_names_are_text(hostile: Path) -> None:
    page = hostile.read_text()
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert "49" not in re.findall(r"</style>(\d+)", page)
    elements = Elements(page).found
    tags = [tag for tag, _ in elements]
    assert [how.get("type", "script") for tag, how in elements if tag == "script"].count("script") == 1
    assert tags.count("style") == 1
    assert "img" not in tags
    assert text_of(page).count("alert(1)") > 20, "shown, not swallowed"


@needs_chromium
@pytest.mark.parametrize("width", [390, 1200])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_in_a_browser(page: str, tmp_path: Path, width: int, dark: bool) -> None:
    path = tmp_path / "report.html"
    path.write_text(page, encoding="utf-8")
    with Page(tmp_path / "profile", width=width, dark=dark) as browser:
        browser.open(path)
        charts = browser.evaluate("[...document.querySelectorAll('figure svg')].map(s => s.getBoundingClientRect().height)")
        assert len(charts) == 14
        assert min(charts) > 60
        assert browser.evaluate("document.documentElement.scrollWidth") <= width, "nothing sticks out"
        columns = browser.evaluate(
            "getComputedStyle([...document.querySelectorAll('.figures')].pop()).gridTemplateColumns.split(' ').length"
        )
        assert columns == (1 if width == 390 else 2)
        paper, ink = browser.evaluate("[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]")
        assert (brightness(paper) < brightness(ink)) == dark
        line = browser.evaluate("getComputedStyle(document.querySelector('.mark-line path')).stroke")
        assert re.fullmatch(r"rgb\(\d+, \d+, \d+\)", line)
        size = browser.evaluate("parseFloat(getComputedStyle(document.querySelector('figure svg text')).fontSize)")
        svg = "document.querySelector('figure svg')"
        scale = browser.evaluate(f"{svg}.getBoundingClientRect().width / {svg}.viewBox.baseVal.width")
        assert size * scale >= 9, "text of the charts can be read"
        dot = "document.querySelectorAll('[data-tip]')[3]"
        browser.evaluate(f"{dot}.scrollIntoView({{block: 'center'}})")
        point = browser.evaluate(f"(b => [b.x + b.width / 2, b.y + b.height / 2])({dot}.getBoundingClientRect())")
        browser.point(*point)
        assert re.search(r"step \d+: [\d.]+", browser.evaluate("document.querySelector('.tip').textContent"))
        assert not browser.complaints()
        assert [url for url in browser.requests() if not url.startswith("data:")] == [path.as_uri()]


@needs_chromium
def test_hostile_names_are_inert_in_a_browser(hostile: Path, tmp_path: Path) -> None:
    with Page(tmp_path / "profile") as browser:
        browser.open(hostile)
        assert browser.evaluate("document.querySelectorAll('script:not([type])').length") == 1
        browser.evaluate("(s => { s.value = 1; s.dispatchEvent(new Event('input')) })(document.querySelector('.walk input'))")
        assert browser.evaluate("document.querySelectorAll('img').length") == 0
        assert browser.evaluate("document.querySelectorAll('figure svg').length") == 12
        assert browser.evaluate("document.documentElement.scrollWidth") <= 1200
        assert not browser.complaints()
        assert [url for url in browser.requests() if not url.startswith("data:")] == [hostile.as_uri()]
        assert not [event for event in browser.events if event.get("method") == "Page.javascriptDialogOpening"]


@needs_chromium
def test_the_policy_is_enforced(page: str, tmp_path: Path) -> None:
    """The same page with a script slipped in: the browser refuses it and says so, which the tests above would have seen."""
    path = tmp_path / "report.html"
    path.write_text(page.replace("</main>", "<script>window.ran = 1</script><img src='https://example.org/a.png'></main>"))
    with Page(tmp_path / "profile") as browser:
        browser.open(path)
        assert browser.evaluate("window.ran === undefined")
        assert any("Content Security Policy" in complaint for complaint in browser.complaints())


def test_letters_are_told_with_their_chance() -> None:
    assert letters([("a", 0.5), ("b", 0.02), ("c", 0.004), ("d", 0.0)]) == [
        ("a", 0, "a: 50 %"),
        ("b", 1, "b: 1 in 50"),
        ("c", 2, "c: 1 in 250"),
        ("d", 3, "d: never"),
    ]
    assert letters([("e", 0.5), ("\u0301", 0.1)]) == [("e\u0301", 0, "e\u0301: 5.0 %")]
    family = [("\U0001f468", 0.5), ("\u200d", 0.5), ("\U0001f469", 0.5)]
    assert [text for text, _, _ in letters(family)] == ["\U0001f468\u200d\U0001f469"]


def test_sections_stand_where_they_are_put(report: Report) -> None:
    places = ("last", "first", "middle")
    text = html.render(report, sections=[Section(f"the {place} one", place=place) for place in places])
    marks = ("the first one", 'class="verdict', "Findings", "the middle one", "Pictures", "the last one", "Layer by layer")
    found = [text.index(f">{mark}" if "class" not in mark else mark) for mark in marks]
    assert found == sorted(found)


@needs_chromium
def test_the_slider_changes_the_words_and_a_letter_tells_its_chance(report: Report, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    spelled = [Spelled(name, [[(c, 0.02) for c in word]] * 3) for name, word in (("0.5", "cool"), ("1", "warm"), ("1.5", "hot"))]
    section = Section("New words", spelled=spelled, shown="1", place="first")
    path.write_text(html.render(report, sections=[section]), encoding="utf-8")
    seen = "[...document.querySelectorAll('.spelled .words')].filter(l => l.offsetHeight).map(l => l.innerText.split('\\n')[0])"
    with Page(tmp_path / "profile", width=390) as browser:
        browser.open(path)
        assert browser.evaluate(seen) == ["warm"]
        slide = "(v => { const s = document.querySelector('.slider input'); s.value = v; s.dispatchEvent(new Event('input')) })"
        for value, word, name in ((0, "cool", "0.5"), (2, "hot", "1.5")):
            browser.evaluate(f"{slide}({value})")
            assert browser.evaluate(seen) == [word]
            assert browser.evaluate("document.querySelector('.slider output').textContent") == name
        x, y = browser.evaluate(
            "(r => [r.left + r.width / 2, r.top + r.height / 2])"
            "([...document.querySelectorAll('.spelled b')].filter(b => b.offsetHeight)[1].getBoundingClientRect())"
        )
        browser.point(x, y)
        assert browser.evaluate("[...document.querySelectorAll('.tip')].filter(t => !t.hidden).map(t => t.textContent)") == [
            "o: 1 in 50"
        ]
        assert browser.evaluate("document.documentElement.scrollWidth") <= 390
        assert not browser.complaints()


def brightness(colour: str) -> int:
    return sum(map(int, re.findall(r"\d+", colour)[:3]))
