"""Live pages in a real browser."""

from __future__ import annotations

import sys
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import pytest

from lettrine import health
from lettrine.live.board import Board
from lettrine.live.play import Player
from lettrine.live.server import Server
from lettrine.live.showing import Live
from lettrine.text.corpora import load_corpus
from lettrine.training.api import Shape, train
from lettrine.training.folder import load_run
from lettrine.training.settings import Settings

sys.path.append(str(Path(__file__).parents[1] / "report"))
from chromium_pipe import Page, chromium

needs_browser = pytest.mark.skipif(chromium() is None, reason="needs Chromium")
SMALL = {"hidden": "20", "embedding": "4", "context": "3", "batch": "32", "steps": "100000", "activation": "tanh", "threads": "1"}
FINDINGS = "[...document.querySelectorAll('#findings>li')].map(each => each.dataset.finding).join()"


def set_to(page, name, value):
    page.evaluate(f"(i => {{ i.value = {value}; i.dispatchEvent(new Event('change')) }})(document.getElementById('{name}'))")


def stays_as_the_report(page):
    """After the end: the verdict, all pictures, and the slider over the recorded steps."""
    until(page, "document.getElementById('link').textContent === 'ended'")
    until(page, "document.querySelectorAll('#pictures svg').length >= 6")
    assert page.evaluate("document.querySelector('#verdict h1').textContent").startswith("Healthy")
    until(page, "!document.getElementById('walk').hidden")
    page.evaluate("(s => { s.value = 2; s.dispatchEvent(new Event('input')) })(document.querySelector('#walk input'))")
    assert page.evaluate("document.querySelectorAll('.walk-layer').length") >= 5
    assert page.complaints() == []


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Page(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(browser):
    """The one browser, with nothing seen yet."""
    browser.look()
    browser.events.clear()
    yield browser
    browser.call("Page.navigate", url="about:blank")


@pytest.fixture
def played(tmp_path):
    """A page that plays."""
    board = Board()
    player = Player(load_corpus("first-names"), SMALL, board, out=tmp_path / "runs")
    server = Server(board, title="Play", answer=player.answer, port=0)
    yield server
    player.close()
    server.close()


def until(page, expression, seconds=60.0):
    end, guarded = time.monotonic() + seconds, f"(() => {{ try {{ return {expression} }} catch {{ return null }} }})()"
    while not (value := page.evaluate(guarded)):  # elements may not be there yet
        assert time.monotonic() < end, f"{expression} stayed {value!r}: {page.complaints()}"
        time.sleep(0.1)
    return value


def step_of(page):
    return page.evaluate("Number(document.querySelector('#numbers dd').textContent.split(' ')[0].replaceAll(',', ''))")


def click(page, text):
    assert page.evaluate(
        f"(b => b ? (b.click(), true) : false)([...document.querySelectorAll('button')].find(b => b.textContent === {text!r}))"
    ), text


@needs_browser
def test_train_break_and_cure(page, played):
    page.call("Page.navigate", url=played.address)
    until(page, "document.querySelectorAll('#pictures svg').length >= 4")
    assert page.evaluate("document.querySelector('#figure-loss svg') !== null")
    click(page, "Train")
    until(page, "document.getElementById('train').textContent === 'Pause'")
    until(page, "document.querySelectorAll('#words li').length > 10")
    click(page, "Pause")
    until(page, "document.getElementById('train').textContent === 'Train'")
    before = step_of(page)
    click(page, "One step")
    until(page, f"document.querySelector('#numbers dd').textContent.startsWith(({before + 1}).toLocaleString('en'))")
    set_to(page, "rate", -2)
    until(page, "document.getElementById('rate-shown').textContent === '0.01'")
    click(page, "naive start")
    until(page, f"{FINDINGS}.includes('initial-loss')")
    for name in ("embedding", "gradient-data", "activations", "loss"):  # what is out of sight is drawn once it is looked at
        until(page, f"(document.getElementById('figure-{name}').scrollIntoView(), true)")
        until(page, f"document.querySelector('#figure-{name}.ghosted [stroke-dasharray=\"3,3\"]') !== null")
    until(page, "document.querySelector('#figure-loss').textContent.includes('Kneser-Ney')")
    assert "pairs counted" in page.evaluate("document.querySelector('#figure-loss').textContent")
    click(page, "Apply")
    until(page, f"!{FINDINGS}.includes('initial-loss')")
    named = page.call("Accessibility.getFullAXTree")["nodes"]
    controls = [
        each for each in named if each["role"]["value"] in ("button", "slider", "spinbutton", "combobox", "textbox", "image")
    ]
    assert len(controls) > 10
    assert all(each["name"]["value"] for each in controls if not each["ignored"])  # for those who hear the page
    assert page.complaints() == []
    assert all(address.startswith((f"http://127.0.0.1:{played.port}/", "data:")) for address in page.requests())


@needs_browser
def test_a_list_is_dropped_a_run_is_kept_and_its_command_shown(page, played, tmp_path):
    page.call("Page.navigate", url=f"{played.address}lesson/saturation")
    until(page, "document.querySelectorAll('#pictures svg').length >= 4")
    assert page.evaluate("document.querySelector('#lesson h2').textContent") == "Saturation"  # a lesson has an address
    page.evaluate(
        "(() => { const data = new DataTransfer();"
        "data.items.add(new File([[...'bcdfgh'].flatMap(a => [...'aeiou'].map(b => a + b + '<b>')).join('\\n')], 'mine.txt'));"
        "dispatchEvent(new DragEvent('drop', { dataTransfer: data, cancelable: true })) })()"
    )
    until(page, "document.getElementById('numbers').textContent.includes('mine.txt, 30')")
    assert page.evaluate("document.getElementById('command').textContent").startswith("lettrine train mine.txt --steps 100000")
    click(page, "Large hidden weights")
    until(page, "document.getElementById('train').textContent === 'Pause'")
    click(page, "Pause")
    until(page, "[...document.querySelectorAll('#words li')].some(each => each.textContent.includes('<b>'))")  # words are text
    click(page, "Keep this run")
    until(page, "document.getElementById('keep').textContent.startsWith('Kept in')")
    assert load_run(tmp_path / "runs" / "played").status == "interrupted"
    assert page.complaints() == []


@needs_browser
def test_a_training_is_shown_and_not_touched(page):
    words, shape = load_corpus("first-names"), Shape(context=3, embedding=4, hidden=(20,))
    settings = Settings(steps=4_000, batch=32, threads=1)
    live = Live("A training", port=0)
    page.look(390, dark=True)
    page.call("Page.navigate", url=live.address)
    until(page, "document.getElementById('link').textContent === 'live'")
    assert page.evaluate("document.getElementById('controls').hidden")
    shown = train(words, shape=shape, settings=settings, on_progress=lambda now: live.offer(now.trace, {"step": now.step}))
    live.close()
    stays_as_the_report(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.call("Page.reload")  # who comes after the end finds all of it
    stays_as_the_report(page)
    alone = train(words, shape=shape, settings=settings)
    for name, value in alone.model.parameters.items():
        np.testing.assert_array_equal(value, shown.model.parameters[name])


@needs_browser
def test_a_training_that_nobody_saw_is_shown_after_its_end_until_the_next_begins(page):
    live = Live("Unseen", port=0)
    shape, settings = Shape(context=3, embedding=4, hidden=(20,)), Settings(steps=200, batch=32, threads=1)
    train(load_corpus("first-names"), shape=shape, settings=settings, on_progress=lambda now: live.offer(now.trace))
    live.close()
    page.call("Page.navigate", url=live.address)
    stays_as_the_report(page)
    following = Live("Next", port=0)
    with pytest.raises(URLError):
        urlopen(live.address)  # noqa: S310  # our own server
    following.close()


@needs_browser
def test_a_torch_training_is_shown_and_not_touched(page):
    torch = pytest.importorskip("torch")

    def trained(page=None, **how):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 3))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        with health.watch(model, optimizer, every=10, **how) as watch:
            if page is not None:
                page.call("Page.navigate", url=watch.address)
                until(page, "document.getElementById('link').textContent === 'live'")
            for _ in range(300):
                x = torch.randn(32, 8)
                loss = torch.nn.functional.cross_entropy(model(x), x[:, :3].argmax(1))
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                watch.loss(loss)
        return model.state_dict()

    shown = trained(page, live=True)
    stays_as_the_report(page)
    for name, value in trained().items():
        assert torch.equal(value, shown[name])


@needs_browser
def test_a_notebook_of_this_machine_frames_the_page(page, tmp_path):
    torch = pytest.importorskip("torch")
    model = torch.nn.Linear(2, 2)
    assert health.watch(model)._repr_html_() is None
    with health.watch(model, torch.optim.SGD(model.parameters()), live=True) as watch:
        (tmp_path / "index.html").write_text(f"<link rel=icon href=data:,>{watch._repr_html_()}")
        notebook = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(tmp_path)))
        Thread(target=notebook.serve_forever, daemon=True).start()
        page.call("Page.navigate", url=f"http://localhost:{notebook.server_port}/")
        until(page, "frames.length === 1")
        end = time.monotonic() + 30
        while not watch._audience._page._board.watched:
            assert time.monotonic() < end
            time.sleep(0.1)
        notebook.shutdown()
        notebook.server_close()
    assert page.complaints() == []
