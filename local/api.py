"""Plain access to the Kubernetes API for the cluster's own small processes.

They need little (list, watch, apply) and start many at a time on few cores, so
they speak HTTP through aiohttp, which they use anyway, instead of loading a
full client.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml

# An object with its whole history of managed fields stays far below this.
LINE_LIMIT_BYTES = 16 * 1024 * 1024
RETRY_SECONDS = 0.2
GONE = 410


@dataclass(frozen=True)
class ApiAccess:
    """Where the API server is and how to prove who we are."""

    server: str
    tls: ssl.SSLContext

    @classmethod
    def from_kubeconfig(cls, path: Path) -> ApiAccess:
        """Read a kubeconfig with embedded certificates, as this package writes them."""
        document = yaml.safe_load(path.read_text())
        cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        tls = ssl.create_default_context(cadata=authority)
        # The ssl module loads a client key from a file only; the folder is private and goes at once.
        with tempfile.TemporaryDirectory() as folder:
            pair = Path(folder) / "pair.pem"
            pair.touch(mode=0o600)
            pair.write_bytes(
                base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"])
            )
            tls.load_cert_chain(pair)
        return cls(cluster["server"], tls)

    def session(self) -> aiohttp.ClientSession:
        """A session whose paths are relative to the API server."""
        return aiohttp.ClientSession(
            self.server,
            connector=aiohttp.TCPConnector(ssl=self.tls, limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
            read_bufsize=1024 * 1024,
        )


async def watch(session: aiohttp.ClientSession, path: str, **parameters: str) -> AsyncIterator[tuple[str, Any]]:
    """List a collection, then follow it for ever, over any outage of the API server.

    Yields:
        ``("SYNC", [objects])`` after each list: the whole truth, which replaces what was known;
        then ``("ADDED" | "MODIFIED" | "DELETED", object)``.
    """
    while True:
        try:
            async with session.get(path, params=parameters) as response:
                response.raise_for_status()
                body = await response.json()
            yield "SYNC", body["items"]
            async for event in follow(session, path, body["metadata"]["resourceVersion"], parameters):
                yield event
        except (aiohttp.ClientError, TimeoutError, ConnectionError, json.JSONDecodeError):
            await asyncio.sleep(RETRY_SECONDS)


async def follow(
    session: aiohttp.ClientSession, path: str, version: str, parameters: dict[str, str]
) -> AsyncIterator[tuple[str, Any]]:
    """Watch from a resource version until the server ends it or says the version is too old."""
    while True:
        query = {**parameters, "watch": "true", "resourceVersion": version, "allowWatchBookmarks": "true"}
        async with session.get(path, params=query) as response:
            if response.status == GONE:
                return
            response.raise_for_status()
            buffer = b""
            async for chunk in response.content.iter_any():
                buffer += chunk
                *lines, buffer = buffer.split(b"\n")
                for line in lines:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        return
                    version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] != "BOOKMARK":
                        yield event["type"], event["object"]
                if len(buffer) > LINE_LIMIT_BYTES:
                    raise ConnectionError("an event of the watch has no end")
