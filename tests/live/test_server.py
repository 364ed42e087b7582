"""The server of live pages: what it answers, and what it refuses."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import random
import socket
import time

import pytest

from lettrine.errors import ConfigError
from lettrine.live.board import Board
from lettrine.live.server import LARGEST, Server

EVERYWHERE = "0.0.0.0"  # noqa: S104


@pytest.fixture
def board():
    return Board()


@pytest.fixture
def asked():
    return []


@pytest.fixture
def server(board, asked):
    def answer(what, values):
        asked.append((what, values))
        if what == "fail":
            raise ConfigError("no")
        return len(asked)

    made = Server(board, title="Try <b>&", answer=answer, port=0)
    yield made
    made.close()


def call(server, method="GET", path="/", body=None, **headers):
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)) as connection:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer, answer.read()


def token_of(server):
    _, page = call(server)
    about = page.decode().split('name="about" content="')[1].split('"')[0].replace("&quot;", '"').replace("&amp;", "&")
    return json.loads(about)["token"]


def test_the_page_and_its_headers(server):
    answer, page = call(server)
    assert answer.status == 200
    assert "Try &lt;b>&amp;" in page.decode()
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["set-cookie"] is None
    for path, kind in (("/live.css", "text/css"), ("/live.js", "text/javascript")):
        answer, _ = call(server, path=path)
        assert answer.headers["content-type"].startswith(kind)


@pytest.mark.parametrize(
    ("headers", "path"),
    [
        ({"Host": "evil.example"}, "/"),
        ({"Host": "evil.example:80"}, "/news"),
        ({"Origin": "http://evil.example"}, "/"),
        ({"Origin": "null"}, "/news"),
    ],
)
def test_other_hosts_and_other_pages_are_refused(server, headers, path):
    answer, body = call(server, path=path, **headers)
    assert answer.status == 403
    assert b"token" not in body


def test_what_changes_anything_needs_the_token(server, asked):
    assert call(server, "POST", "/do/train", "{}")[0].status == 403
    assert call(server, "POST", "/do/train", "{}", X_Lettrine_Token="wrong")[0].status == 403  # noqa: S106
    token = token_of(server)
    assert call(server, "POST", "/do/train", "{}", X_Lettrine_Token=token, Origin="http://evil.example")[0].status == 403
    assert asked == []
    answer, body = call(server, "POST", "/do/train", '{"a":1}', X_Lettrine_Token=token, Origin=f"http://127.0.0.1:{server.port}")
    assert (answer.status, json.loads(body)) == (200, {"said": 1})
    assert asked == [("train", {"a": 1})]


def test_bad_requests_get_a_word_and_no_traceback(server):
    token = token_of(server)
    for body, status in (("", 200), ("[]", 400), ("nonsense", 400), ("[" * 100_000, 400), ("x" * (LARGEST + 1), 413)):
        answer, said = call(server, "POST", "/do/x", body, X_Lettrine_Token=token)
        assert answer.status == status, body[:20]
        assert b"Traceback" not in said
    answer, said = call(server, "POST", "/do/fail", "{}", X_Lettrine_Token=token)
    assert (answer.status, json.loads(said)) == (422, {"error": "no"})
    for path in ("/../../etc/passwd", "/live.js/..%2f..%2fpyproject.toml", "/%00", "/static/x"):
        assert call(server, path=path)[0].status == 404
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        assert call(server, method)[0].status in (403, 405)


def test_two_hundred_hostile_requests(server, board):
    dice = random.Random(7)  # noqa: S311
    pieces = [
        b"GET ",
        b"POST ",
        b"/news",
        b"/do/",
        b"\r\n",
        b"Host: x",
        b"Host: 127.0.0.1",
        b"Content-Length: ",
        b"-1",
        b"99999999999",
    ]
    pieces += [b" HTTP/1.1", b"\0", b"\xff\xfe", b"Transfer-Encoding: chunked", b"ffffffffffffffff", b"%s%n", b"A" * 9_000]
    for _ in range(200):
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as line:
            line.sendall(b"".join(dice.choices(pieces, k=dice.randint(1, 12))))
            if dice.random() < 0.3:
                line.shutdown(socket.SHUT_WR)
    board.put("facts", {"step": 1})
    assert call(server)[0].status == 200


def events(server, count, **headers):
    """The first events of the news."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", "/news", headers=headers)
    answer = connection.getresponse()
    found = []
    while len(found) < count:
        line = answer.readline().decode()
        if line.startswith("data: ["):
            found.append(json.loads(line[6:]))
    connection.close()
    return found


def test_news_are_what_there_is(server, board):
    board.put("facts", {"step": 1})
    board.put("facts", {"step": 2})
    board.put("words", ["ada</script>"])
    assert events(server, 2) == [["facts", {"step": 2}], ["words", ["ada</script>"]]]


def test_fifty_viewers_that_vanish_leave_nothing(server, board):
    lines = []
    for _ in range(50):
        line = socket.create_connection(("127.0.0.1", server.port), timeout=5)
        line.sendall(f"GET /news HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode())
        lines.append(line)
    for _ in range(100):
        if len(board._waiting) == 50:
            break
        time.sleep(0.05)
    assert len(board._waiting) == 50
    began = time.perf_counter()
    for step in range(2_000):  # none of them reads; nothing waits for them
        board.put("facts", {"step": step, "filler": "x" * 200})
    assert time.perf_counter() - began < 5
    for line in lines:
        line.close()
    for _ in range(200):
        board.put("facts", {"step": -1, "time": time.time()})
        if not board.watched:
            break
        time.sleep(0.05)
    assert not board.watched
    assert call(server)[0].status == 200


def test_a_taken_port_and_an_open_host_are_told(server, board):
    with pytest.raises(ConfigError, match=r"choose another with --port"):
        Server(board, title="x", port=server.port)
    other = Server(Board(), title="x", port=server.port, or_any=True)
    assert other.port != server.port
    other.close()
    with pytest.raises(ConfigError, match="--yes-expose"):
        Server(board, title="x", host=EVERYWHERE, port=0)


def test_an_exposed_page_asks_for_the_token_in_its_address():
    server = Server(Board(), title="x", host=EVERYWHERE, port=0, expose=True)
    try:
        assert call(server)[0].status == 403
        assert call(server, path="/" + server.address.partition("/?")[2].join(("?", "")), Host="somewhere")[0].status == 200
    finally:
        server.close()


def test_a_slow_viewer_gets_the_newest_and_no_queue(board):
    async def slow():
        following = board.follow()
        board.put("a", 0)
        first = await anext(following)
        for value in range(1_000):
            board.put("a", value)
        board.put("b", 1)
        second = await anext(following)
        board.close()
        rest = [each async for each in following]
        return first, second, rest

    assert asyncio.run(slow()) == ({"a": "0"}, {"a": "999", "b": "1"}, [])
