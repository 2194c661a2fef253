"""A stand-in of an Argilla server: keeps what its client makes, and gives it back."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson

NOW = "2026-01-01T00:00:00"
MINE = {"id": str(uuid.UUID(int=1)), "name": "mine", "inserted_at": NOW, "updated_at": NOW}


class ArgillaServer(ThreadingHTTPServer):
    """`made` holds what was posted, by the last part of the path, in order."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.made: dict[str, list[dict[str, Any]]] = {}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ArgillaServer

    def do_GET(self) -> None:
        kind = self.path.split("?")[0].rsplit("/", 1)[-1]
        datasets = {one["id"]: one for one in self.server.made.get("datasets", [])}
        if kind == "me":
            person = {"id": str(uuid.uuid4()), "username": "anna", "role": "owner"}
            self._answer({**person, "first_name": "Anna", "inserted_at": NOW, "updated_at": NOW})
        elif kind == "workspaces":
            self._answer({"items": [MINE]})
        elif kind == MINE["id"]:
            self._answer(MINE)
        elif kind in datasets:
            self._answer(datasets[kind])
        else:
            items = [] if self.path.endswith("me/datasets") else self.server.made.get(kind, [])
            self._answer({"items": items, "total": len(items)})

    def do_POST(self) -> None:
        body, kind = self._body(), self.path.rsplit("/", 1)[-1]
        made = {**body, "id": str(uuid.uuid4())}
        self.server.made.setdefault(kind, []).append(made)
        self._answer(made)

    def do_PUT(self) -> None:
        body = self._body()
        if self.path.endswith("/publish"):
            self._answer(self.server.made["datasets"][-1])
            return
        items = [{**one, "id": str(uuid.uuid4())} for one in body["items"]]
        self.server.made.setdefault("records", []).extend(items)
        self._answer({"items": items, "updated_item_ids": []})

    def do_PATCH(self) -> None:
        dataset = self.server.made["datasets"][-1]
        dataset.update(self._body())
        self._answer(dataset)

    def _body(self) -> dict[str, Any]:
        return orjson.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")

    def _answer(self, answer: dict[str, Any]) -> None:
        body = orjson.dumps(answer)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def argilla_server() -> Generator[ArgillaServer]:
    server = ArgillaServer()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
