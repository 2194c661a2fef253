"""A stand-in of an Argilla server: keeps what its client makes, and gives it back."""

from __future__ import annotations

import uuid
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import orjson

from tests.loopback import LoopbackHandler, LoopbackServer, serving

NOW = "2026-01-01T00:00:00"
MINE = {"id": str(uuid.UUID(int=1)), "name": "mine", "inserted_at": NOW, "updated_at": NOW}


class ArgillaServer(LoopbackServer):
    """`made` holds what was posted, by the last part of the path, in order."""

    def __init__(self) -> None:
        super().__init__(Handler)
        self.made: dict[str, list[dict[str, Any]]] = {}


class Handler(LoopbackHandler):
    server: ArgillaServer

    def do_GET(self) -> None:
        kind = self.path.split("?")[0].rsplit("/", 1)[-1]
        datasets = {one["id"]: one for one in self.server.made.get("datasets", [])}
        if kind == "me":
            person = {"id": str(uuid.uuid4()), "username": "anna", "role": "owner"}
            self.answer_json(
                {**person, "first_name": "Anna", "inserted_at": NOW, "updated_at": NOW}
            )
        elif kind == "workspaces":
            self.answer_json({"items": [MINE]})
        elif kind == MINE["id"]:
            self.answer_json(MINE)
        elif kind in datasets:
            self.answer_json(datasets[kind])
        else:
            items = [] if self.path.endswith("me/datasets") else self.server.made.get(kind, [])
            self.answer_json({"items": items, "total": len(items)})

    def do_POST(self) -> None:
        body, kind = self._body(), self.path.rsplit("/", 1)[-1]
        made = {**body, "id": str(uuid.uuid4())}
        self.server.made.setdefault(kind, []).append(made)
        self.answer_json(made)

    def do_PUT(self) -> None:
        body = self._body()
        if self.path.endswith("/publish"):
            self.answer_json(self.server.made["datasets"][-1])
            return
        items = [{**one, "id": str(uuid.uuid4())} for one in body["items"]]
        self.server.made.setdefault("records", []).extend(items)
        self.answer_json({"items": items, "updated_item_ids": []})

    def do_PATCH(self) -> None:
        dataset = self.server.made["datasets"][-1]
        dataset.update(self._body())
        self.answer_json(dataset)

    def _body(self) -> dict[str, Any]:
        return orjson.loads(self.read_body() or b"{}")


@contextmanager
def argilla_server() -> Generator[ArgillaServer, None, None]:
    with serving(ArgillaServer()) as server:
        yield server
