"""A double of Hugging Face's hub on the loopback: one model, the endpoints that huggingface_hub asks for one.

Sources: huggingface_hub 2.4 (`hf_api.model_info`, `hf_api.list_repo_tree`, `file_download.get_hf_file_metadata`), the
hub's own OpenAPI. No authentication, no Xet, no CDN: a file comes from where it is asked for.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0e9e39f249a16976918f6564b8830bc894c89659"
LARGE = (".safetensors", ".bin")
"""Files that lie in LFS."""


@dataclass
class HubDouble:
    """What it has, what was asked for, and what goes wrong on the way.

    Attributes:
        model: id of its one model.
        files: by their path in the repository.
        revisions: names of the one commit.
        sent: what is sent instead of a file's content, with the right size and name.
        asked: paths of all requests.
    """

    model: str
    files: dict[str, bytes]
    revisions: tuple[str, ...] = ("main", "v1", COMMIT)
    sent: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def fetched(self) -> list[str]:
        """Files whose content was asked for, sorted."""
        return sorted(
            path.split("/resolve/")[1].partition("/")[2] for path in self.asked if path.startswith("GET /acme")
        )

    def info(self) -> dict[str, Any]:
        """Answer of the model's endpoint."""
        siblings = [{"rfilename": name, **self._sizes(name)} for name in sorted(self.files)]
        return {"id": self.model, "modelId": self.model, "sha": COMMIT, "siblings": siblings}

    def tree(self) -> list[dict[str, Any]]:
        """Answer of the endpoint of all files."""
        found = ((name, self._sizes(name)) for name in sorted(self.files))
        return [
            {
                "type": "file",
                "path": name,
                "oid": sizes["blobId"],
                "size": sizes["size"],
                **(
                    {"lfs": {"oid": sizes["lfs"]["sha256"], "size": sizes["size"], "pointerSize": 130}}
                    if "lfs" in sizes
                    else {}
                ),
            }
            for name, sizes in found
        ]

    def _sizes(self, name: str) -> dict[str, Any]:
        content = self.files[name]
        if not name.endswith(LARGE):
            return {"size": len(content), "blobId": git_sum(content)}
        sha256 = hashlib.sha256(content).hexdigest()
        lfs = {"sha256": sha256, "size": len(content), "pointerSize": 130}
        # Git has a pointer in its place.
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {len(content)}\n"
        return {"size": len(content), "blobId": git_sum(pointer.encode()), "lfs": lfs}

    def headers(self, name: str) -> dict[str, str]:
        """Of a file."""
        sizes = self._sizes(name)
        linked = (
            {"X-Linked-Etag": f'"{sizes["lfs"]["sha256"]}"', "X-Linked-Size": str(sizes["size"])}
            if "lfs" in sizes
            else {}
        )
        return {"ETag": f'"{sizes["blobId"]}"', "X-Repo-Commit": COMMIT, **linked}

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body."""
        api = f"/api/models/{self.model}"
        for revision in self.revisions:
            if path == f"{api}/revision/{revision}":
                return 200, {"Content-Type": "application/json"}, json.dumps(self.info()).encode()
            if path == f"{api}/tree/{revision}":
                return 200, {"Content-Type": "application/json"}, json.dumps(self.tree()).encode()
            name = path.removeprefix(f"/{self.model}/resolve/{revision}/")
            if name in self.files:
                return 200, self.headers(name), self.sent.get(name, self.files[name])
        code = "RevisionNotFound" if self.model in path else "RepoNotFound"
        return 404, {"X-Error-Code": code, "X-Error-Message": f"no {path} here"}, b""


def git_sum(content: bytes) -> str:
    """Git's name of a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


@contextmanager
def serving(hub: HubDouble) -> Iterator[HubDouble]:
    """The hub on a port of the loopback while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.asked.append(f"{self.command} {path}")
            status, headers, content = hub.answer(path)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
