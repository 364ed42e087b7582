"""Live pages in a real browser."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pytest

from lettrine import health
from lettrine.live.board import Board
from lettrine.live.play import Player
from lettrine.live.server import Server
from lettrine.live.showing import Live
from lettrine.text.corpora import load_corpus
from lettrine.training.api import Shape, train
from lettrine.training.settings import Settings

sys.path.append(str(Path(__file__).parents[1] / "report"))
from chromium_pipe import Page, chromium

needs_browser = pytest.mark.skipif(chromium() is None, reason="needs Chromium")
SMALL = {"hidden": "20", "embedding": "4", "context": "3", "batch": "32", "steps": "100000", "activation": "tanh", "threads": "1"}
FINDINGS = "[...document.querySelectorAll('#findings>li')].map(each => each.dataset.finding).join()"

GHOSTED = "document.querySelectorAll('figure.ghosted [stroke-dasharray=\"3,3\"]').length"


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
def test_train_break_and_cure(tmp_path):
    board = Board()
    player = Player(load_corpus("first-names"), SMALL, board, out=tmp_path / "runs")
    server = Server(board, title="Play", answer=player.answer, port=0)
    try:
        with Page(tmp_path / "profile") as page:
            page.call("Page.navigate", url=server.address)
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
            page.evaluate(
                "document.getElementById('rate').value = -2; document.getElementById('rate').dispatchEvent(new Event('change'))"
            )
            until(page, "document.getElementById('rate-shown').textContent === '0.01'")
            click(page, "naive start")
            until(page, f"{FINDINGS}.includes('initial-loss')")
            until(page, f"{GHOSTED} >= 6")
            until(page, "document.querySelector('#figure-embedding svg') !== null")
            assert "Kneser-Ney" in page.evaluate("document.querySelector('#figure-loss').textContent")
            click(page, "Apply")
            until(page, f"!{FINDINGS}.includes('initial-loss')")
            assert page.complaints() == []
            assert all(address.startswith((f"http://127.0.0.1:{server.port}/", "data:")) for address in page.requests())
    finally:
        player.close()
        server.close()


@needs_browser
def test_a_lesson_has_an_address(tmp_path):
    board = Board()
    player = Player(load_corpus("first-names"), SMALL, board)
    server = Server(board, title="Play", answer=player.answer, port=0)
    try:
        with Page(tmp_path / "profile") as page:
            page.call("Page.navigate", url=f"{server.address}lesson/saturation")
            until(page, "!document.getElementById('lesson').hidden")
            click(page, "Large hidden weights")
            until(page, f"{FINDINGS}.includes('saturation')")
            assert page.complaints() == []
    finally:
        player.close()
        server.close()


@needs_browser
def test_a_training_is_shown_and_not_touched(tmp_path):
    words, shape = load_corpus("first-names"), Shape(context=3, embedding=4, hidden=(20,))
    settings = Settings(steps=4_000, batch=32, threads=1)
    live = Live("A training", port=0)
    with Page(tmp_path / "profile", width=390, dark=True) as page:
        page.call("Page.navigate", url=live.address)
        until(page, "document.getElementById('link').textContent === 'live'")
        assert page.evaluate("document.getElementById('controls').hidden")
        shown = train(words, shape=shape, settings=settings, on_progress=lambda now: live.offer(now.trace, {"step": now.step}))
        live.close()
        until(page, "document.getElementById('link').textContent === 'ended'")
        until(page, "document.querySelectorAll('#pictures svg').length >= 6")
        assert page.evaluate("document.querySelector('#verdict h1').textContent").startswith("Healthy")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        until(page, "!document.getElementById('walk').hidden")  # the page stays as the report
        page.evaluate("(s => { s.value = 2; s.dispatchEvent(new Event('input')) })(document.querySelector('#walk input'))")
        assert page.evaluate("document.querySelectorAll('.walk-layer').length") >= 5
        assert page.complaints() == []
    alone = train(words, shape=shape, settings=settings)
    for name, value in alone.model.parameters.items():
        np.testing.assert_array_equal(value, shown.model.parameters[name])


@needs_browser
def test_a_torch_training_is_shown_and_not_touched(tmp_path):
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

    with Page(tmp_path / "profile") as page:
        shown = trained(page, live=True)
        until(page, "document.getElementById('link').textContent === 'ended'")
        until(page, "document.querySelectorAll('#pictures svg').length >= 4")
        assert page.evaluate("document.querySelector('#verdict h1').textContent").startswith("Healthy")
        assert page.complaints() == []
    for name, value in trained().items():
        assert torch.equal(value, shown[name])
