"""`python -m scripts.live_picture`: play on the live page in a real Chromium, and keep what was seen as docs/live.webp."""

from __future__ import annotations

import base64
import struct
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from lettrine.live.board import Board
from lettrine.live.play import Player
from lettrine.live.server import Server
from lettrine.text.corpora import load_corpus

ROOT: Final = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "report"))
from chromium_pipe import Page  # noqa: E402

OUT: Final = ROOT / "docs" / "live.webp"
WIDTH, HEIGHT, SCALE = 1240, 980, 0.75
NETWORK: Final = {"hidden": "100x2", "activation": "tanh", "threads": "1", "batch": "32", "lr": "0.003"}
BY_NAME: Final = "[...document.querySelectorAll('button')].find(each => each.textContent === '{}')"


def chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a RIFF file."""
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def image_of(still: bytes) -> bytes:
    """The chunks of a still WebP file that are its image."""
    found, place = b"", 12
    while place < len(still):
        name, size = struct.unpack("<4sI", still[place : place + 8])
        if name in (b"ALPH", b"VP8 ", b"VP8L"):
            found += chunk(name, still[place + 8 : place + 8 + size])
        place += 8 + size + size % 2
    return found


def animated(stills: list[tuple[bytes, int]], width: int, height: int) -> bytes:
    """WebP files and how many milliseconds each is shown, as one that moves (RFC 9649)."""
    low, size = (lambda value: struct.pack("<I", value)[:3]), (width - 1, height - 1)
    place = low(0) * 2 + low(size[0]) + low(size[1])
    frames = b"".join(chunk(b"ANMF", place + low(shown) + b"\x02" + image_of(still)) for still, shown in stills)
    head = chunk(b"VP8X", b"\x02\0\0\0" + low(size[0]) + low(size[1])) + chunk(b"ANIM", b"\xff\xff\xff\xff\0\0")
    body = b"WEBP" + head + frames
    return b"RIFF" + struct.pack("<I", len(body)) + body


def main() -> None:
    """Train, start naively, apply the remedy, and look at the pictures."""
    board = Board()
    stills: list[tuple[bytes, int]] = []
    with closing(Player(load_corpus("first-names"), NETWORK, board)) as player, tempfile.TemporaryDirectory() as profile:
        server = Server(board, title="Play", answer=player.answer, port=0)
        with closing(server), Page(Path(profile)) as page:

            def keep(count: int, every: float, shown: int = 500) -> None:
                for _ in range(count):
                    time.sleep(every)
                    taken: Any = page.call("Page.captureScreenshot", format="webp", quality=55)
                    stills.append((base64.b64decode(taken["data"]), shown))

            def click(name: str) -> None:
                while not page.evaluate(f"Boolean({BY_NAME.format(name)})"):
                    time.sleep(0.1)
                page.evaluate(BY_NAME.format(name) + ".click()")

            page.call("Emulation.setDeviceMetricsOverride", width=WIDTH, height=HEIGHT, deviceScaleFactor=SCALE, mobile=False)
            page.call("Page.navigate", url=server.address)
            time.sleep(5)
            click("Train")
            keep(5, 1.5)
            click("naive start")
            time.sleep(4)
            keep(2, 1.0, 1500)
            click("Apply")
            time.sleep(3)
            keep(4, 1.5)
            page.evaluate("document.getElementById('pictures').scrollIntoView()")
            time.sleep(2)
            keep(7, 2.5, 700)
    OUT.write_bytes(animated(stills, round(WIDTH * SCALE), round(HEIGHT * SCALE)))
    print(f"{OUT}: {OUT.stat().st_size:,} bytes, {len(stills)} frames")


if __name__ == "__main__":
    main()
