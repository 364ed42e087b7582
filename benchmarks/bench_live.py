"""What a live page costs, in a real Chromium: speed of a training with the page open, without, and with nobody looking; time from
a slider to the picture; time to the first picture; bytes of the page.

    python benchmarks/bench_live.py [--rounds 5] [--steps 6000] [--json out.json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from lettrine.live.board import Board
from lettrine.live.play import Player
from lettrine.live.server import Server
from lettrine.live.showing import Live
from lettrine.text.corpora import load_corpus
from lettrine.training.api import train
from lettrine.training.progress import Progress
from lettrine.training.settings import Settings

sys.path.append(str(Path(__file__).parents[1] / "tests" / "report"))
from chromium_pipe import Page

SLIDES = 10


def seconds(settings: Settings, listener: Callable[[Progress], None]) -> float:
    began = time.perf_counter()
    train(settings=settings, on_progress=listener, page=False)
    return time.perf_counter() - began


def speeds(rounds: int, steps: int) -> dict[str, float]:
    """Speed beside that of the same training without a page: with it open, and with nobody looking."""
    settings = Settings(steps=steps, prior="none", threads=1)
    live = Live(port=0)

    def shown(now: Progress) -> None:
        if now.trace is not None:
            live.offer(now.trace, {"step": now.step, "steps": now.steps})

    opened, alone = [], []
    with tempfile.TemporaryDirectory() as profile, Page(Path(profile)) as page:
        page.call("Network.disable")  # what it would tell of every message fills the pipe while nobody reads it
        for _ in range(rounds):
            without = seconds(settings, lambda _: None)
            page.call("Page.navigate", url=live.address)
            time.sleep(2)
            opened.append(without / seconds(settings, shown))
            page.call("Page.navigate", url="about:blank")
            time.sleep(2)
            alone.append(without / seconds(settings, shown))
    live.close()
    return {"speed_with_the_page": statistics.median(opened), "speed_with_nobody_looking": statistics.median(alone)}


def waits() -> dict[str, float]:
    """Seconds to the first picture of a page that is opened, and from a slider to what it changed; bytes of the page."""
    board = Board()
    player = Player(load_corpus("first-names"), {"threads": "1"}, board)
    server = Server(board, title="Play", answer=player.answer, port=0)
    size = 0
    for name in ("", "live.css", "live.js", "charts.js"):
        with urllib.request.urlopen(f"{server.address}{name}") as answer:  # noqa: S310  # our own server
            size += len(answer.read())
    try:
        with tempfile.TemporaryDirectory() as profile, Page(Path(profile)) as page:
            began = time.perf_counter()
            page.call("Page.navigate", url=server.address)
            while not page.evaluate("document.querySelector('#figure-loss svg') !== null"):
                time.sleep(0.01)
            first = time.perf_counter() - began
            slid = []
            for place in range(SLIDES):
                text = f"{0.5 + place / 10:g}"
                began = time.perf_counter()
                page.evaluate(
                    f"document.getElementById('temperature').value = {text};"
                    "document.getElementById('temperature').dispatchEvent(new Event('change'))"
                )
                while not page.evaluate(f"document.getElementById('temperature-shown').textContent === '{text}'"):
                    time.sleep(0.005)
                slid.append(time.perf_counter() - began)
    finally:
        player.close()
        server.close()
    return {"first_picture": first, "from_slider_to_page": statistics.median(slid), "bytes": size}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    found = waits() | speeds(chosen.rounds, chosen.steps)
    for name, value in found.items():
        print(f"{name.replace('_', ' '):28} {value:,.3g}" if name != "bytes" else f"{name:28} {value:,}")
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
