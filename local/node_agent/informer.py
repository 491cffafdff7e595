"""Keeps up with all objects of a kind, over restarts and outages of the API server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from local.node_agent.kubernetes import API_ERRORS

log = logging.getLogger(__name__)

FIRST_RETRY_SECONDS = 0.05
LONGEST_RETRY_SECONDS = 1.0
DELETED = "DELETED"

T = TypeVar("T")


@dataclass(frozen=True)
class Listed(Generic[T]):
    """All that there are: what is not among them does not exist any more."""

    objects: list[T]


@dataclass(frozen=True)
class Changed(Generic[T]):
    """One object was ADDED, MODIFIED or DELETED."""

    kind: str
    item: T


async def follow(
    what: str,
    list_all: Callable[[], Awaitable[tuple[list[T], str]]],
    watch: Callable[[str], AsyncIterator[tuple[str, T]]],
) -> AsyncIterator[Listed[T] | Changed[T]]:
    """List, watch, and start again whenever the watch breaks off or its version is too old (410).

    Nothing is concluded from an API server that does not answer: only a list says what is gone.

    Args:
        what: for the log, such as ``pods``.
        list_all: gives all objects and the version of the list.
        watch: gives the changes after a version.
    """
    retry = FIRST_RETRY_SECONDS
    away = False
    while True:
        try:
            objects, version = await list_all()
            if away:
                log.info("the API server is back: %d %s", len(objects), what)
            retry, away = FIRST_RETRY_SECONDS, False
            yield Listed(objects)
            async for kind, item in watch(version):
                yield Changed(kind, item)
        except API_ERRORS as error:
            if not away:
                log.warning("cannot follow %s, trying again: %s", what, str(error) or repr(error))
            away = True
        await asyncio.sleep(retry)
        retry = min(2 * retry, LONGEST_RETRY_SECONDS)
