"""The local server: one page, its parts, news as server-sent events, and requests of the page.

By default only this machine can reach it. Another page in the same browser cannot use it: the Host and Origin of each request
are checked, and a request that changes something needs a token that only our own page contains.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import threading
from collections.abc import AsyncIterator, Callable, Mapping, MutableMapping
from importlib.resources import files
from typing import Any, Final

from lettrine.errors import ConfigError, LettrineError, MissingExtraError
from lettrine.live import LOCAL, PORT
from lettrine.live.board import Board
from lettrine.live.charts import charts_script
from lettrine.report.html import icon, palette_css
from lettrine.report.theme import DEPTHS_LIGHT, LIGHT, variables

try:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import JSONResponse, Response, StreamingResponse
    from starlette.routing import Route
except ImportError:
    raise MissingExtraError("a live page", "live") from None

NAMES: Final = ("127.0.0.1", "localhost", "[::1]")
LARGEST: Final = 8_000_000  # bytes that a page may send: a long list of words
ALIVE_SECONDS: Final = 15.0  # seconds between two signs of life, by which a viewer that went away is noticed

Answer = Callable[[str, Mapping[str, Any]], Any]
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'self' http://127.0.0.1:* http://localhost:*"
)
"""Notebooks of this machine may frame the page."""
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Server:
    """A board on a page, from the moment it is made until `close`.

    title: of the page. answer: called with the request of the page and its values, in the server's thread; None makes a page
    that only shows. port: 0 for any free one; with `or_any` also if the port is taken. host: an address other than this
    machine's own needs `expose`; every request then needs the token.

    Raises ConfigError if the port is taken or the host needs `expose`, MissingExtraError without the extra `live`.
    """

    def __init__(
        self,
        board: Board,
        *,
        title: str,
        answer: Answer | None = None,
        host: str = LOCAL,
        port: int = PORT,
        expose: bool = False,
        or_any: bool = False,
    ) -> None:
        if host not in (LOCAL, "localhost", "::1") and not expose:
            raise ConfigError(f"host got {host}, which other machines can reach; expected {LOCAL}, or --yes-expose as well")
        self.board, self._answer, self._title = board, answer, title
        self._token, self._exposed = secrets.token_urlsafe(24), expose
        try:
            self._socket = _listening(host, port)
        except ConfigError:
            if not or_any:
                raise
            self._socket = _listening(host, 0)
        self.port = int(self._socket.getsockname()[1])
        shown = host if host != "0.0.0.0" else socket.gethostname()  # noqa: S104  # asked for by --yes-expose
        self.address = f"http://{shown}:{self.port}/" + (f"?token={self._token}" if expose else "")
        config = uvicorn.Config(
            self._app(),
            log_level="critical",
            access_log=False,
            lifespan="off",
            limit_concurrency=256,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="lettrine-server", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Tell viewers that this was the end, and stop listening."""
        self.board.close()
        self._server.should_exit = True
        self._thread.join(timeout=5)
        self._socket.close()

    def _app(self) -> Any:
        routes = [
            Route("/", self._page),
            Route("/lesson/{name}", self._page),
            Route("/live.css", self._file("text/css", _style)),
            Route("/live.js", self._file("text/javascript", lambda: _read("live.js"))),
            Route("/pictures.js", self._file("text/javascript", lambda: _read("pictures.js"))),
            Route("/replay.js", self._file("text/javascript", lambda: _read("replay.js", "lettrine.report"))),
            Route("/charts.js", self._file("text/javascript", charts_script, keep=True)),
            Route("/news", self._news),
            Route("/do/{what}", self._do, methods=["POST"]),
        ]
        return _Guard(Starlette(routes=routes), self._refused)

    def _refused(self, scope: Mapping[str, Any]) -> str:
        """Why a request is not answered; "" if it is."""
        request = Request(scope)  # type: ignore[arg-type]
        host = request.headers.get("host", "").rpartition(":")[0] or request.headers.get("host", "")
        if not self._exposed and host not in NAMES:
            return "this page is for this machine alone"
        origin = request.headers.get("origin")
        if origin is not None and origin.partition("://")[2] != request.headers.get("host"):
            return "asked for by another page"
        given = request.headers.get("x-lettrine-token") or request.query_params.get("token", "")
        needs = request.method not in ("GET", "HEAD") or (self._exposed and request.url.path in ("/", "/news"))
        return "" if not needs or secrets.compare_digest(given.encode(), self._token.encode()) else "the token is missing"

    async def _page(self, _: Request) -> Response:
        page = _read("page.html")
        about = {"token": self._token, "plays": self._answer is not None, "colours": variables(dict(LIGHT), DEPTHS_LIGHT)}
        data = json.dumps(about).replace("<", "\\u003c")
        for name, value in {"title": _escaped(self._title), "about": _escaped(data), "icon": icon()}.items():
            page = page.replace(f"{{{{{name}}}}}", value)
        return Response(page, media_type="text/html")

    def _file(self, kind: str, read: Callable[[], str], *, keep: bool = False) -> Any:
        async def answer(_: Request) -> Response:
            text = await asyncio.to_thread(read)
            return Response(text, media_type=kind, headers={"Cache-Control": "private, max-age=86400"} if keep else None)

        return answer

    async def _news(self, _: Request) -> Response:
        return StreamingResponse(self._events(), media_type="text/event-stream")

    async def _events(self) -> AsyncIterator[str]:
        following = self.board.follow()
        yield "retry: 1000\n\n"
        waiting: asyncio.Task[dict[str, str]] | None = None
        try:
            while True:
                waiting = waiting or asyncio.ensure_future(anext(following))
                done, _ = await asyncio.wait({waiting}, timeout=ALIVE_SECONDS)
                if not done:
                    yield ": alive\n\n"
                    continue
                fresh, waiting = waiting.result(), None
                yield "".join(f"event: put\ndata: [{json.dumps(name)},{text}]\n\n" for name, text in fresh.items())
        except StopAsyncIteration:
            yield "event: end\ndata: 0\n\n"
        finally:
            if waiting is not None:
                waiting.cancel()
            await following.aclose()  # type: ignore[attr-defined]

    async def _do(self, request: Request) -> Response:
        if self._answer is None:
            return JSONResponse({"error": "this page only shows"}, 403)
        body = bytearray()
        try:
            async for part in request.stream():
                body += part
                if len(body) > LARGEST:
                    return JSONResponse({"error": f"got more than {LARGEST:,} bytes"}, 413)
            values = json.loads(body or b"{}")
        except (ValueError, RecursionError, ClientDisconnect):
            return JSONResponse({"error": "got no JSON"}, 400)
        if not isinstance(values, dict):
            return JSONResponse({"error": "got no JSON object"}, 400)
        try:
            said = await asyncio.to_thread(self._answer, request.path_params["what"], values)
        except LettrineError as error:
            return JSONResponse({"error": str(error)}, 422)
        return JSONResponse({"said": said})


class _Guard:
    """Refuses requests that must not be answered, and adds security headers to the answers."""

    def __init__(self, inner: Any, refused: Callable[[Mapping[str, Any]], str]) -> None:
        self._inner, self._refused = inner, refused

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return

        async def with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                known = {name.lower() for name, _ in message["headers"]}
                added = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message["headers"], *(pair for pair in added if pair[0] not in known)]
            await send(message)

        why = self._refused(scope)
        app = JSONResponse({"error": why}, 403) if why else self._inner
        await app(scope, receive, with_headers)


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(128)
    except (OSError, OverflowError) as error:
        listening.close()
        raise ConfigError(
            f"cannot listen on {host}, port {port}: {getattr(error, 'strerror', None) or error}; choose another with --port"
        ) from error
    return listening


def _read(name: str, room: str = "lettrine.live") -> str:
    return (files(room) / name).read_text(encoding="utf-8")


def _style() -> str:
    return palette_css() + _read("style.css", "lettrine.report") + _read("live.css")


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
