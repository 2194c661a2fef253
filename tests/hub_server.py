"""A stand-in of the hub: repositories with files, and what was asked of them, on the loopback."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson

from tests.loopback import LoopbackHandler, LoopbackServer, serving


@dataclass
class Repository:
    """A repository: its files by path, with the bytes that were sent."""

    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    commits: int = 0


class HubServer(LoopbackServer):
    """Takes `token` alone. A path with `failing` in it is answered with `status` and `said`.

    Files are refused while `lost` is true; cards are, for the reasons in `invalid`.
    """

    def __init__(self) -> None:
        super().__init__(Handler)
        self.token = "hf_" + "a" * 30
        self.repositories: dict[str, Repository] = {}
        self.objects: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.failing, self.status, self.said = "no path has this", 403, "You have no right."
        self.invalid: list[str] = []
        self.lost = False


class Handler(LoopbackHandler):
    server: HubServer

    def do_GET(self) -> None:
        if self._is_let_in():
            name = self.path.removeprefix("/api/").split("?")[0].split("/revision/")[0]
            if (found := self.server.repositories.get(name)) is None:
                self._answer({"error": "Repository not found"}, 404, code="RepoNotFound")
            else:
                shown = {"id": name.split("/", 1)[1], "private": found.private, "sha": "0" * 40}
                self._answer({**shown, "siblings": [], "tags": []})

    def do_PUT(self) -> None:
        body = self.read_body()
        self.server.asked.append(f"PUT {self.path}")
        if not self.server.lost:
            self.server.objects[hashlib.sha256(body).hexdigest()] = body
        self._answer({}, 400 if self.server.lost else 200)

    def do_POST(self) -> None:
        body = self.read_body()
        if not self._is_let_in():
            return
        part = self.path.split("?")[0]
        if part == "/api/repos/create":
            self._create(orjson.loads(body))
        elif part == "/api/validate-yaml":
            errors = [{"message": one} for one in self.server.invalid]
            self._answer({"errors": errors, "warnings": []}, 400 if errors else 200)
        elif "/preupload/" in part:
            name = part.removeprefix("/api/").split("/preupload/")[0]
            self._modes(self.server.repositories[name], orjson.loads(body))
        elif part.endswith("/objects/batch"):
            self._batch(orjson.loads(body))
        else:
            self._commit(part.removeprefix("/api/").split("/commit/")[0], body)

    def _create(self, asked: dict[str, Any]) -> None:
        owner = asked["organization"] or "anna"
        name = f"{asked.get('type', 'model')}s/{owner}/{asked['name']}"
        self.server.repositories[name] = Repository(asked["visibility"] == "private")
        self._answer({"url": f"{self.server.url}/{name}"})

    def _modes(self, repository: Repository, asked: dict[str, Any]) -> None:
        """Parquet and weights are large files; a file that is there is told with its hash."""
        files = []
        for one in asked["files"]:
            path = one["path"]
            large = path.endswith((".parquet", ".safetensors"))
            there = repository.files.get(path)
            oid = None if there is None else _oid(there, large)
            mode = "lfs" if large else "regular"
            files.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self._answer({"files": files})

    def _batch(self, asked: dict[str, Any]) -> None:
        """Where to put what is not there yet; as LFS has it, no action is told for what is."""
        objects = []
        for one in asked["objects"]:
            upload = {"href": f"{self.server.url}/objects/{one['oid']}"}
            is_there = one["oid"] in self.server.objects
            objects.append(one if is_there else {**one, "actions": {"upload": upload}})
        self._answer({"transfer": "basic", "objects": objects})

    def _commit(self, name: str, body: bytes) -> None:
        repository = self.server.repositories[name]
        for line in map(orjson.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                repository.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                repository.files[value["path"]] = self.server.objects[value["oid"]]
        repository.commits += 1
        url = f"{self.server.url}/{name.removeprefix('models/')}/commit/{repository.commits}"
        self._answer({"commitUrl": url, "commitOid": "1" * 40, "success": True})

    def _is_let_in(self) -> bool:
        self.server.asked.append(f"{self.command} {self.path}")
        if self.headers.get("Authorization") != f"Bearer {self.server.token}":
            said = "Invalid credentials in Authorization header"
            self._answer({"error": said}, 401, said=said)
        elif self.server.failing in self.path:
            self._answer({"error": self.server.said}, self.server.status, said=self.server.said)
        else:
            return True
        return False

    def _answer(self, answer: Any, status: int = 200, *, code: str = "", said: str = "") -> None:
        headers = {"X-Error-Code": code, "X-Error-Message": said}
        self.answer_json(answer, status, {name: one for name, one in headers.items() if one})


@contextmanager
def hub_server() -> Generator[HubServer, None, None]:
    with serving(HubServer()) as server:
        yield server


def _oid(content: bytes, large: bool) -> str:
    """As git and LFS name what a file holds."""
    if large:
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
