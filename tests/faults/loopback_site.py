"""A real HTTP server on loopback that cuts, lies, loops and fails as a test tells it to."""

import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

CONTENT = np.random.default_rng(0).bytes(300_000)
HASH = hashlib.sha256(CONTENT).hexdigest()
ETAG = f'"{HASH[:8]}"'


class Site(ThreadingHTTPServer):
    """Answers each path by a function of its own and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, Callable[[Handler], None]] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.tokens: list[str | None] = []
        self.scheme = "http"

    def url(self, path: str) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}{path}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are part of the game."""


class Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Range")))
        self.server.tokens.append(self.headers.get("Authorization"))
        self.server.answers.get(self.path, status(404))(self)

    def log_message(self, *args: object) -> None:
        """Keep quiet."""


def status(code: int, **headers: str) -> Callable[[Handler], None]:
    def answer(handler: Handler) -> None:
        handler.send_response(code)
        for name, value in {"Content_Length": "0", **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()

    return answer


def serve(
    content: bytes = CONTENT,
    *,
    etag: str | None = ETAG,
    cuts: list[int] | None = None,
    has_ranges: bool = True,
    has_length: bool = True,
) -> Callable[[Handler], None]:
    """Serve bytes; each number in `cuts` ends one answer after so many bytes, whatever its length said."""
    left = list(cuts or [])

    def answer(handler: Handler) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        start = 0
        if asked and has_ranges and handler.headers.get("If-Range") in (None, etag):
            start = int(asked[1])
            if start >= len(content):
                return status(416, Content_Range=f"bytes */{len(content)}")(handler)
        body = content[start:]
        handler.send_response(206 if start else 200)
        if has_length:
            handler.send_header("Content-Length", str(len(body)))
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if etag:
            handler.send_header("ETag", etag)
        handler.end_headers()
        handler.wfile.write(body[: left.pop(0)] if left else body)
        return None

    return answer


def in_turn(*answers: Callable[[Handler], None]) -> Callable[[Handler], None]:
    left = list(answers)
    return lambda handler: (left.pop(0) if len(left) > 1 else left[0])(handler)


@contextmanager
def running(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A server in a thread, past any proxy; waits between attempts take no time."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("lib.download.sleep", lambda _: None)
    with Site() as site:
        thread = threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield site
        site.shutdown()
        thread.join()
