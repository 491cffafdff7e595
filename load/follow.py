"""Follows the objects of one kind in a namespace: a list, then a watch, again after every trouble."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import httpx2  # lightkube's HTTP client: its errors are the ones that reach us
from lightkube import AsyncClient, KubeConfig
from lightkube.core.client import LabelSelector
from lightkube.core.exceptions import ConfigError
from lightkube.models.meta_v1 import ObjectMeta

MODEL_LABEL: Final = "inference.platform/model"
_RETRY_SECONDS: Final = 0.5

Kind = TypeVar("Kind", bound=Any)


class ClusterError(Exception):
    """The cluster cannot be watched; the message says why and what to do."""


@dataclass(slots=True)
class Follower(Generic[Kind]):
    """Objects of one kind as they come, change and go.

    Attributes:
        client: access to the API.
        kind: lightkube's class of the objects.
        namespace: where they are.
        saw: called with each object that exists or changed.
        lost: called with the name of each object that is gone.
        labels: only objects with these; ``None`` for all.
        trouble: last error of the API, ``None`` while all is well.
    """

    client: AsyncClient
    kind: type[Kind]
    namespace: str
    saw: Callable[[Kind], None]
    lost: Callable[[str], None]
    labels: LabelSelector | None = None
    trouble: str | None = None
    _names: set[str] = field(default_factory=set)
    _version: str | None = None
    _seen: int = 0
    _moved: asyncio.Event = field(default_factory=asyncio.Event)

    async def first_look(self, *, optional: bool = False) -> bool:
        """Read the objects once, so that :meth:`run` goes on from there.

        Args:
            optional: the kind may not be installed.

        Returns:
            Whether the kind is installed.

        Raises:
            ClusterError: the API cannot be reached or refuses.
        """
        try:
            self._version = await self._list()
        except httpx2.HTTPStatusError as error:
            if optional and error.response.status_code == HTTPStatus.NOT_FOUND:
                return False
            raise self._no_answer(error) from None
        except (httpx2.HTTPError, OSError) as error:
            raise self._no_answer(error) from None
        return True

    async def run(self) -> None:
        """Follow until cancelled; outlives restarts of the API server."""
        while True:
            try:
                version = self._version or await self._list()
                self._version, self.trouble = None, None
                watch = self.client.watch(
                    self.kind, namespace=self.namespace, labels=self.labels, resource_version=version
                )
                async for event, item in watch:
                    if event == "DELETED":
                        self._gone(_name_of(item))
                    elif event != "BOOKMARK":
                        self._here(item)
                    self._reached(_version_of(item))
            except (httpx2.HTTPError, OSError) as error:
                # The API server restarts, or the version is too old: what changed meanwhile is in a new list.
                self.trouble = reason_of(error)
                await asyncio.sleep(_RETRY_SECONDS)

    async def catch_up(self) -> None:
        """Wait until the watch has told what the API knows at this moment.

        Answers to requests overtake the events of a watch: what is followed may be a state from before them.
        Resource versions of one kind are decimal numbers that grow (Kubernetes 1.35 and later say so), and
        a watch tells them in order.

        Raises:
            ClusterError: the API cannot be reached or refuses.
        """
        listing = self.client.list(self.kind, namespace=self.namespace, labels=self.labels)
        try:
            newest = max([_version_of(item) async for item in listing], default=0)
        except (httpx2.HTTPError, OSError) as error:
            raise self._no_answer(error) from None
        while self._seen < newest:
            self._moved.clear()
            await self._moved.wait()

    async def _list(self) -> str:
        listing = self.client.list(self.kind, namespace=self.namespace, labels=self.labels)
        items = [item async for item in listing]
        for item in items:
            self._here(item)
        for name in self._names - {_name_of(item) for item in items}:
            self._gone(name)
        self._reached(int(listing.resourceVersion))
        return listing.resourceVersion

    def _reached(self, version: int) -> None:
        self._seen = max(self._seen, version)
        self._moved.set()

    def _here(self, item: Kind) -> None:
        self._names.add(_name_of(item))
        self.saw(item)

    def _gone(self, name: str) -> None:
        self._names.discard(name)
        self.lost(name)

    def _no_answer(self, error: Exception) -> ClusterError:
        return ClusterError(
            f"the Kubernetes API at {self.client.config.cluster.server} does not answer as it should "
            f"({reason_of(error)}): run `make up`, or check --kubeconfig and --namespace"
        )


@asynccontextmanager
async def connect(kubeconfig: Path) -> AsyncIterator[AsyncClient]:
    """A client of the cluster that a kubeconfig names.

    Raises:
        ClusterError: no such file, or not a kubeconfig.
    """
    try:
        client = AsyncClient(config=KubeConfig.from_file(kubeconfig).get(), trust_env=False)
    except Exception as error:
        # lightkube checks a kubeconfig by what then fails: a lookup, an assertion, a certificate's decoding.
        reason = str(error) if isinstance(error, ConfigError) else f"{type(error).__name__}: {error}"
        raise ClusterError(
            f"{kubeconfig}: not a usable kubeconfig ({reason}): run `make up`, or check --kubeconfig"
        ) from None
    try:
        yield client
    finally:
        await client.close()


def reason_of(error: Exception) -> str:
    """The first line of what an exception says, or at least its name."""
    return str(error).partition("\n")[0] or type(error).__name__


def model_of(metadata: ObjectMeta) -> str | None:
    """The model that an object belongs to, by its label."""
    return (metadata.labels or {}).get(MODEL_LABEL)


def _name_of(item: Kind) -> str:
    return str(item.metadata.name)


def _version_of(item: Kind) -> int:
    return int(item.metadata.resourceVersion)
