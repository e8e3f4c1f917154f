"""A local HTTP server that plays a relay or a node, well or badly."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest


@dataclasses.dataclass(frozen=True)
class Asked:
    """A request that came in."""

    method: str
    path: str
    query: dict[str, list[str]]
    body: bytes
    headers: Mapping[str, str]
    at: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reply:
    """An answer; `cut` bytes of the body come and then the connection ends, `drip` is a pause before each byte."""

    body: Any = b""
    status: int = 200
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    delay: float = 0.0
    cut: int | None = None
    chunked: bool = False
    drip: float = 0.0

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


class Server:
    """Answers from a function of the request, or from a list whose last entry repeats."""

    Reply = Reply

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.answer: Callable[[Asked], Reply] = lambda _: Reply(status=500)
        self.released = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

            def do_GET(self) -> None:
                server.handle(self)

            do_POST = do_GET

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def replies(self, *replies: Reply) -> None:
        """Give these answers in turn, the last one for ever."""
        self.answer = lambda _: replies[min(len(self.asked), len(replies)) - 1]

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("Content-Length", 0))
        parts = urlsplit(handler.path)
        body = handler.rfile.read(length)
        headers = dict(handler.headers)
        self.asked.append(Asked(handler.command, parts.path, parse_qs(parts.query), body, headers, time.monotonic()))
        reply = self.answer(self.asked[-1])
        self.released.wait(reply.delay)
        try:
            self.send(handler, reply)
        except OSError:  # the client has left
            handler.close_connection = True

    def send(self, handler: BaseHTTPRequestHandler, reply: Reply) -> None:
        handler.send_response(reply.status)
        for name, value in reply.headers.items():
            handler.send_header(name, value)
        content = reply.content
        if reply.chunked:
            handler.send_header("Transfer-Encoding", "chunked")
        else:
            handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        sent = content[: reply.cut]
        if reply.chunked:
            sent = b"%x\r\n" % len(content) + sent + (b"\r\n0\r\n\r\n" if reply.cut is None else b"")
        for piece in [sent[at : at + 1] for at in range(len(sent))] if reply.drip else [sent]:
            self.released.wait(reply.drip)
            handler.wfile.write(piece)
            handler.wfile.flush()
        if reply.cut is not None:
            handler.close_connection = True

    def close(self) -> None:
        self.released.set()
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    """A server on the loopback interface, at a free port."""
    server = Server()
    yield server
    server.close()
