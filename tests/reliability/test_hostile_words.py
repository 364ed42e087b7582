"""Words, paths and names that would run in a browser or drive a terminal: shown as text, everywhere they are shown."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from strangers import ESCAPES

from lettrine.cli.app import main
from lettrine.cli.show import UNSAFE, plain

sys.path.append(str(Path(__file__).parents[1] / "report"))
from chromium_pipe import Page, chromium

# Each line, were it taken for HTML, a template or markup, would leave a mark that the tests look for.
WORDS = [
    "<script>alert(1)</script>",
    "<script>document.title='owned'</script>",
    "</script><script>window.owned=1</script>",
    '"><img src=x onerror=window.owned=1>',
    "'><svg onload=window.owned=1>",
    "</style><style>body{display:none}</style>",
    "</title><h1 id=owned>",
    "<iframe src=http://127.0.0.1:9/></iframe>",
    "<a href=javascript:window.owned=1>a</a>",
    "<!--",
    "-->",
    "]]>",
    "&lt;b&gt;&#60;i&#62;",
    "{{7*7}}{%raw%}",
    "${7*7}",
    "\\u003cscript\\u003e",
    "[red]stop[/red]",
    "[/]",
    "[link=http://127.0.0.1:9]x[/link]",
    ":heart::bomb:",
    "%s%n%x",
    "\u202egnirts\u202c",
    "\u2066isolate\u2069",
    "a\u0301\u0302",
    "👩\u200d👩\u200d👧",
    "`rm`$(rm)",
    "=cmd|x!a1",
]
QUICK = ["--context", "3", "--embedding", "2", "--hidden", "8", "--steps", "400", "--batch", "8", "--engine", "reference"]
ODD_NAME = "w\x1b[31m\x1b]0;owned\x07\n[red]<b>\x9b\u202e'\".txt"


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("words")


@pytest.fixture(scope="module")
def words(place: Path) -> Path:
    path = place / ODD_NAME
    path.write_text("\n".join(WORDS * 4), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run(place: Path, words: Path) -> Path:
    folder = place / "run<script>window.owned=1</script>\x1b[31m\n\x9b[/]".replace("/", "-")
    assert main(["train", str(words), "--out", str(folder), *QUICK]) == 0
    return folder


def check_harmless(text: str) -> None:
    found = UNSAFE.search(text.replace("\n", ""))
    assert not found, ascii(text[max(0, found.start() - 60) : found.end() + 60])


def test_what_is_harmful_is_found() -> None:
    """The check above must fail where it should."""
    for character in ESCAPES:
        if character in "]0;owned[31m2J\n":
            continue
        with pytest.raises(AssertionError):
            check_harmless(f"a{character}b")
        assert plain(f"a{character}b") in ("ab", "a b")
    assert plain("👩\u200d👧 é नि ‌") == "👩\u200d👧 é नि ‌", "what scripts are written with stays"


COMMANDS = [
    "sample {run} -n 50 --temperature 1.5",
    "sample {run} -n 50 --json",
    "sample {run} --prefix \x1b[31m",
    "sample {run}\x1b]0;owned\x07",
    "score {run} [/] <!-- {{7*7}}{%raw%}",
    "score {run} [red] :heart: --json",
    "score {run} \x1b[31m\u202e\x9b",
    "eval {run}",
    "eval {run} {words}",
    "eval {run} {words} --json",
    "eval {run} {words}\x1b[31m",
    "health {run}",
    "health {run} --json",
    "health {run} --save {run}/health.txt",
    "health {run} --save {run}/health.\x1b[31m",
    "info {run}",
    "info {run} --json",
    "train {words} --out {run}",
    "train {words} --column \x1b[31m\u202e",
    "train {words} --hidden \x1b[31m",
    "train {words} --activation \x1b[31m[/]",
    "train {words} --l2 \x1b[31m=1",
    "train {words} --corpus \x1b[31m",
    "train --corpus \x1b[31m\x9b",
    "train {words} --\x1b[31m",
    "train {words} --steps \x1b[31m",
    "train --resume {run}",
    "train --like {run}\x1b[31m",
    "recipe show \x1b[31m",
    "recipe run \x1b[31m {words}",
    "recipe run naive {words} --steps 2",
    "recipe run naive {words} --steps 2 --json",
    "\x1b[31m\u202e",
]


@pytest.mark.parametrize("typed", COMMANDS, ids=ascii)
def test_nothing_drives_the_terminal(typed: str, run: Path, words: Path, capfd) -> None:
    code = main(
        [
            part.format(run=run, words=words)
            for part in typed.replace("{{", "{{{{").replace("}}", "}}}}").replace("{%raw%}", "").split(" ")
        ]
    )
    captured = capfd.readouterr()
    check_harmless(captured.out)
    check_harmless(captured.err)
    assert "Traceback" not in captured.err
    assert code in (0, 1, 2)
    if code == 2:
        assert captured.err.count("\n") == 1
        assert captured.out == "" or "--json" in typed
    if "--json" in typed:
        json.loads(captured.out)


def test_words_come_out_as_they_are(run: Path, capsys) -> None:
    assert main(["score", str(run), "[/]", "[red]", "<!--"]) == 0
    out = capsys.readouterr().out
    assert "[/]" in out
    assert "[red]" in out, "not taken for markup"
    assert main(["score", str(run), ":heart:", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["scores"][0]["word"] == ":heart:"
    assert main(["sample", str(run), "-n", "200", "--json"]) == 0
    assert any("<" in word for word in json.loads(capsys.readouterr().out)["words"])


def test_training_says_nothing_harmful_on_a_terminal(place: Path, words: Path) -> None:
    """With the progress bar and the findings as they come up, which only a terminal gets to see."""
    import pty  # noqa: PLC0415 - not on every system

    primary, secondary = pty.openpty()
    command = [
        sys.executable,
        "-m",
        "lettrine",
        "train",
        str(words),
        "--out",
        str(place / "terminal\x1b]0;owned\x07"),
        *QUICK,
        "--no-report",
    ]
    environment = os.environ | {"TERM": "dumb", "NO_COLOR": "1"}
    process = subprocess.Popen(command, stdout=secondary, stderr=secondary, env=environment)
    os.close(secondary)
    seen = b""
    try:
        while chunk := os.read(primary, 1 << 16):
            seen += chunk
    except OSError:
        pass  # the other end is closed
    assert process.wait(60) == 0
    text = seen.decode()
    assert "]0;owned" in text.replace("\x1b", ""), "the folder's name is shown"
    assert "\x1b]" not in text
    assert "\x07" not in text
    assert "\x9b" not in text
    assert "\u202e" not in text


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_output_that_cannot_hold_a_character_is_no_traceback(run: Path, encoding: str) -> None:
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    for command in (["sample", str(run), "-n", "100", "--temperature", "2"], ["info", str(run)], ["score", str(run), "☃"]):
        done = subprocess.run([sys.executable, "-m", "lettrine", *command], capture_output=True, check=False, env=environment)
        assert done.returncode in (0, 2)
        assert b"Traceback" not in done.stderr


def test_names_that_are_no_text_are_named_all_the_same(tmp_path: Path, capsys) -> None:
    """A file name is bytes; these are no UTF-8."""
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe")
    path = Path(folder + ".txt")
    path.write_text("\n".join(WORDS * 4), encoding="utf-8")
    assert main(["train", str(path), "--out", folder, *QUICK]) == 0
    assert main(["train", str(path), "--out", folder, *QUICK]) == 2
    assert main(["info", folder]) == 0
    assert main(["info", folder, "--json"]) == 0
    assert main(["sample", folder, "--json"]) == 0
    check_harmless(capsys.readouterr().out)


# ---- the page ------------------------------------------------------------------------------------------------------


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {key: value or "" for key, value in attrs}))


@pytest.fixture(scope="module")
def page(run: Path) -> Path:
    pytest.importorskip("jinja2")
    assert (run / "report.html").exists()
    return run / "report.html"


def test_the_page_holds_the_words_as_text(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    tags = Tags(text).found
    names = [tag for tag, _ in tags]
    kinds = [attributes.get("type") for tag, attributes in tags if tag == "script"]
    assert kinds.count("") + kinds.count(None) == names.count("style") == names.count("title") == 1
    assert set(kinds) <= {"", None, "application/json"}, "one script runs; the others are figures"
    assert not {"img", "iframe", "object", "embed", "form", "base"} & set(names)
    for _, attributes in tags:
        assert not [name for name in attributes if name.startswith("on")]
        assert not attributes.get("href", "#").lower().startswith(("javascript", "http"))
        assert attributes.get("id") != "owned"
    assert "&lt;script&gt;" in text, "shown, not swallowed"
    check_harmless(text)


PAGES = {
    "run": [],
    "recipe": ["recipe", "run", "naive", "{words}", "--steps", "50", "--html"],
    "gallery": ["recipe", "run", "naive", "deep-tanh-5/3", "bengio2003", "{words}", "--steps", "50", "--html"],
    "fault": ["recipe", "run", "--fault", "zero-init", "{words}", "--html"],
    "range": ["lr-range", "{words}", *QUICK[:6], "--html"],
    "compared": ["compare", "{run}", "{other}", "--html"],
}


@pytest.mark.skipif(chromium() is None and not os.environ.get("CI"), reason="no chromium here; with CI set this fails instead")
@pytest.mark.parametrize("kind", PAGES)
def test_pages_are_inert_in_a_browser(kind: str, page: Path, words: Path, run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "page.html"
    if kind == "run":
        copy.write_bytes(page.read_bytes())
    else:
        named = tmp_path / "<img src=x onerror=window.owned=1>.txt"
        named.write_bytes(words.read_bytes())
        other = tmp_path / "<img src=x onerror=window.owned=1>"
        other.symlink_to(run)
        typed = [part.format(words=named, run=run, other=other) for part in PAGES[kind]]
        assert main([*typed, str(copy)]) == 0
        check_harmless(copy.read_text(encoding="utf-8"))
    with Page(tmp_path / "profile") as browser:
        browser.open(copy)
        assert browser.evaluate("window.owned === undefined")
        assert browser.evaluate("document.title") != "owned"
        assert browser.evaluate("document.getElementById('owned') === null")
        assert browser.evaluate("document.querySelectorAll('script:not([type=\"application/json\"])').length") == 1
        assert browser.evaluate("getComputedStyle(document.body).display") == "block"
        shown = browser.evaluate("document.body.innerText")
        assert kind in ("fault", "range") or "<" in shown, "these two show no words"
        assert not re.search(r"(?<!\d)49(?!\d)\s*\{%", shown)
        assert not browser.complaints()
        assert [url for url in browser.requests() if not url.startswith("data:")] == [copy.as_uri()]
        assert not [event for event in browser.events if event.get("method") == "Page.javascriptDialogOpening"]
