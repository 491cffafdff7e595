"""What the Prometheus operator does with rules, and nothing else of it: PrometheusRule objects become rule files.

The embedded cluster has a Prometheus and no operator. This process follows the PrometheusRule objects of all
namespaces, writes each as a rule file and tells Prometheus to read them again. An object that Prometheus refuses is
left out with a line in the log; the others stay. ServiceMonitors and all else that the operator knows have no effect.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
from pathlib import Path
from typing import Any

import aiohttp
import uvloop
import yaml

from local.api import ApiAccess, watch

RULES_PATH = "/apis/monitoring.coreos.com/v1/prometheusrules"
RELOAD_SECONDS = 5.0
RETRY_SECONDS = 0.2
HTTP_OK = 200
log = logging.getLogger("rule-loader")


def file_name(item: dict[str, Any]) -> str:
    """Of an object's rule file; a name in Kubernetes has no underscore, so that no two are equal."""
    return f"{item['metadata']['namespace']}_{item['metadata']['name']}.yaml"


def rule_file(item: dict[str, Any]) -> str:
    """The object's groups as Prometheus reads them."""
    return yaml.safe_dump({"groups": item["spec"].get("groups") or []}, sort_keys=False)


class RuleLoader:
    """Keeps a folder of rule files equal to the objects.

    Args:
        folder: of the rule files; Prometheus reads all in it.
        prometheus: URL of Prometheus.
    """

    def __init__(self, folder: Path, prometheus: str) -> None:
        self.folder = folder
        self.prometheus = prometheus
        self.folder.mkdir(exist_ok=True)

    async def run(self, kubeconfig: Path) -> None:
        """Follow the objects for ever."""
        access = ApiAccess.from_kubeconfig(kubeconfig)
        timeout = aiohttp.ClientTimeout(total=RELOAD_SECONDS)
        async with access.session() as session, aiohttp.ClientSession(timeout=timeout) as prometheus:
            async for kind, payload in watch(session, RULES_PATH):
                if kind == "SYNC":
                    await self.replace_all(prometheus, payload)
                elif kind == "DELETED":
                    await self.remove(prometheus, payload)
                else:
                    await self.write(prometheus, payload)

    async def replace_all(self, session: aiohttp.ClientSession, items: list[dict[str, Any]]) -> None:
        """Write these objects' files and remove all others."""
        names = {file_name(item) for item in items}
        gone = [path for path in self.folder.glob("*.yaml") if path.name not in names]
        for path in gone:
            path.unlink()
        for item in items:
            await self.write(session, item)
        if gone or not items:
            # Also where no other object has changed, and so nothing was written.
            await self.reload(session)

    async def write(self, session: aiohttp.ClientSession, item: dict[str, Any]) -> None:
        """Write one object's file, and go back to what was there before if Prometheus refuses it."""
        path, text = self.folder / file_name(item), rule_file(item)
        before = path.read_text() if path.exists() else None
        if before == text:
            return
        self.put(path, text)
        if refusal := await self.reload(session):
            log.warning("%s: %s", path.name, refusal)
            if before is None:
                path.unlink()
            else:
                self.put(path, before)

    async def remove(self, session: aiohttp.ClientSession, item: dict[str, Any]) -> None:
        """Remove one object's file."""
        (self.folder / file_name(item)).unlink(missing_ok=True)
        await self.reload(session)

    def put(self, path: Path, text: str) -> None:
        """Replace a file in one step: Prometheus never reads half of it."""
        fresh = path.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_text(text)
        os.replace(fresh, path)  # noqa: PTH105 - the one that says what it does

    async def reload(self, session: aiohttp.ClientSession) -> str:
        """Make Prometheus read its rule files; why it refuses, "" if it does not."""
        while True:
            try:
                async with session.post(f"{self.prometheus}/-/reload") as reply:
                    return "" if reply.status == HTTP_OK else (await reply.text()).strip()
            except (aiohttp.ClientError, TimeoutError):
                # It starts beside us; what it reads at its start is what we wrote.
                await asyncio.sleep(RETRY_SECONDS)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--prometheus", required=True)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    uvloop.run(RuleLoader(options.folder, options.prometheus).run(options.kubeconfig))


if __name__ == "__main__":
    main()
