"""What stand-ins of servers share: a place on the loopback, their start and end, their answers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

import orjson

Server = TypeVar("Server", bound="LoopbackServer")


class LoopbackServer(ThreadingHTTPServer):
    """On a free port of this machine; `url` is where, with the path that clients are given."""

    daemon_threads = True
    request_queue_size = 512  # connections of a whole run at once; the default is 5

    def __init__(self, handler: type[LoopbackHandler], path: str = "") -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server_port}{path}"


class LoopbackHandler(BaseHTTPRequestHandler):
    """Says nothing of what it does."""

    protocol_version = "HTTP/1.1"

    def read_body(self) -> bytes:
        """All that was sent, in chunks too."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def begin(self, status: int, length: int, headers: Mapping[str, str]) -> None:
        """Everything before the body; JSON, unless the headers say another thing."""
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def answer(self, body: bytes, status: int = 200, headers: Mapping[str, str] = {}) -> None:
        """Answer with bytes."""
        self.begin(status, len(body), headers)
        self.wfile.write(body)

    def answer_json(self, found: Any, status: int = 200, headers: Mapping[str, str] = {}) -> None:
        """Answer with JSON."""
        self.answer(orjson.dumps(found), status, headers)

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""


def reserved_port() -> socket.socket:
    """A free port, kept from all others while the socket is open; a server may still listen there.

    On Linux two sockets can have one port if both set SO_REUSEADDR and one of them does not listen,
    and no other is given that port for want of a wish. Servers set it, uvicorn and torch's too.
    """
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    return held


@contextmanager
def serving(server: Server) -> Generator[Server, None, None]:
    """Serve until the block ends."""
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    with server:
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
