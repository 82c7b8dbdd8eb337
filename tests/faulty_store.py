"""A server in front of an S3 store that spoils what passes through it, for real: on the wire."""

import contextlib
import http.client
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# What a request may meet: "" passes it on.
BUSY, SLOW, CUT, EXPIRED, TAKEN = "busy", "slow", "cut", "expired", "taken"


@dataclass
class Request:
    """What a fault is chosen by."""

    method: str
    path: str
    key_id: str

    @property
    def is_object(self) -> bool:
        """Whether it is about one object, rather than a listing."""
        return self.path.split("?")[0].count("/") > 1


@dataclass
class FaultyStore:
    """Where it listens, what it does to whom, and what it has done so far."""

    port: int = 0
    choose: Callable[[Request], str] = lambda request: ""
    done: Counter[str] = field(default_factory=Counter)
    # Called with a request that the store has taken, before its answer goes back.
    on_taken: Callable[[Request], None] = lambda request: None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def in_front_of(port: int) -> Iterator[FaultyStore]:
    """A faulty store that passes everything on to a port of this machine until it is told otherwise."""
    faulty = FaultyStore()

    class Handler(_Handler):
        store, target = faulty, port

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    faulty.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield faulty
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: FaultyStore
    target: int

    def log_message(self, *told: Any) -> None:
        pass

    def _answer(self) -> None:
        credential = self.headers.get("Authorization", "").partition("Credential=")[2]
        request = Request(self.command, self.path, credential.partition("/")[0])
        fault = self.store.choose(request)
        if fault:
            self.store.done[fault] += 1
        body = self._body()
        if fault == CUT and self.command == "PUT":
            self.close_connection = True  # the store never sees it, and the sender is told nothing
            return
        if fault in (BUSY, EXPIRED):
            self._refuse(fault)
            return
        status, headers, answer = self._pass_on(body)
        if fault == TAKEN:
            self.store.on_taken(request)
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in ("connection", "transfer-encoding", "content-length", "date", "server"):
                self.send_header(name, value)
        length = next((value for name, value in headers if name.lower() == "content-length"), None)
        self.send_header("Content-Length", length if self.command == "HEAD" and length else str(len(answer)))
        self.end_headers()
        if fault == CUT:
            self.wfile.write(answer[: len(answer) // 2])
            self.close_connection = True
            return
        if fault == SLOW:
            time.sleep(0.2)
            for at in range(0, len(answer), max(1, len(answer) // 8)):
                self.wfile.write(answer[at : at + max(1, len(answer) // 8)])
                self.wfile.flush()
                time.sleep(0.05)
            return
        self.wfile.write(answer)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _answer  # noqa: N815

    def _body(self) -> bytes:
        # Clients ask leave before they send an object.
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _pass_on(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.target, timeout=60)
        try:
            left_out = ("connection", "expect", "transfer-encoding", "content-length")
            headers = {name: value for name, value in self.headers.items() if name.lower() not in left_out}
            connection.request(self.command, self.path, body, headers | {"Content-Length": str(len(body))})
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _refuse(self, fault: str) -> None:
        status, code, text = {
            BUSY: (503, "SlowDown", "Please reduce your request rate."),
            EXPIRED: (400, "ExpiredToken", "The provided token has expired."),
        }[fault]
        body = f"<Error><Code>{code}</Code><Message>{text}</Message></Error>".encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
