"""Kubeconfig files: which server a context means, and whether anything listens there."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import yaml

from components.clouds.unreadable import reason
from components.cluster import ClusterUnreachableError

CONNECT_SECONDS: Final = 5.0
"""A handshake around the world takes a third of a second; what takes longer than this has been dropped on the way."""

PORTS: Final = {"https": 443, "http": 80}
BROKEN: Final = (OSError, UnicodeDecodeError, yaml.YAMLError, LookupError, TypeError, ValueError, AttributeError)


@dataclass(frozen=True)
class Context:
    """A context of a kubeconfig.

    Attributes:
        file: where it stands.
        name: "" for the file's current one.
        server: URL of the API server.
        proxy: URL of the proxy that leads there; "" if none is named.
    """

    file: Path
    name: str
    server: str
    proxy: str


def find_context(kubeconfig: str | None, context: str | None) -> Context:
    """The context that is meant.

    Args:
        kubeconfig: path; None for the user's own: the files of $KUBECONFIG, or else ~/.kube/config.
        context: its name; None for the file's current one.

    Raises:
        ClusterUnreachableError: no such file, not a kubeconfig, or no such context in it.
    """
    files = [Path(kubeconfig).expanduser().absolute()] if kubeconfig is not None else own_files()
    known: list[str] = []
    for file in files:
        document = _read(file)
        names = [str(item) for item in _named(document, "contexts", file)]
        known += names
        wanted = context or str(document.get("current-context") or "")
        if wanted in names:
            return _context(document, file, wanted, context or "")
    where = ", ".join(str(file) for file in files)
    if context is None:
        raise ClusterUnreachableError(
            f"{where} has no current context: set existing.context to one of {', '.join(known) or 'its contexts'}"
        )
    raise ClusterUnreachableError(
        f"{where} has no context {context!r}; it has {', '.join(known) or 'none'}: correct existing.context"
    )


def own_files() -> list[Path]:
    """The user's kubeconfig files, those of $KUBECONFIG that exist, or ~/.kube/config."""
    listed = [Path(item).expanduser() for item in os.environ.get("KUBECONFIG", "").split(os.pathsep) if item]
    return [item.absolute() for item in listed if item.exists()] or listed[:1] or [Path.home() / ".kube" / "config"]


def ensure_reachable(found: Context) -> None:
    """Find out in seconds what the provider would find out after minutes of retries.

    With a proxy in the environment (HTTPS_PROXY) nothing is asked: the way there is the proxy's to know.

    Raises:
        ClusterUnreachableError: nothing listens at the server's address, or at its proxy's.
    """
    if not found.proxy and any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy")):
        return
    host, port = _address(found.proxy or found.server, found.file)
    try:
        socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        what = "the proxy of the cluster" if found.proxy else "the cluster"
        raise ClusterUnreachableError(
            f"{what} in {found.file} does not answer on {host}:{port} ({error.strerror or error}): "
            "is it running, is this network allowed to reach it, and is it the right context?"
        ) from error


def _read(file: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ClusterUnreachableError(f"there is no kubeconfig at {file}: set existing.kubeconfig to one") from None
    except BROKEN as error:
        raise ClusterUnreachableError(f"{file} is not a kubeconfig ({reason(error)})") from error
    if not isinstance(document, dict):
        raise ClusterUnreachableError(f"{file} is not a kubeconfig: it is no mapping")
    return document


def _named(document: dict[str, Any], section: str, file: Path) -> dict[str, Any]:
    """Items of a section by name."""
    try:
        return {item["name"]: item[section.removesuffix("s")] for item in document.get(section) or ()}
    except BROKEN as error:
        raise ClusterUnreachableError(
            f"{file} is not a kubeconfig: {section} cannot be read ({reason(error)})"
        ) from error


def _context(document: dict[str, Any], file: Path, name: str, asked: str) -> Context:
    try:
        cluster = _named(document, "clusters", file)[_named(document, "contexts", file)[name]["cluster"]]
        return Context(file, asked, str(cluster["server"]), str(cluster.get("proxy-url") or ""))
    except BROKEN as error:
        raise ClusterUnreachableError(
            f"{file} names no cluster with a server for context {name!r} ({reason(error)})"
        ) from error


def _address(url: str, file: Path) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or PORTS.get(parts.scheme)
    except ValueError as error:
        raise ClusterUnreachableError(f"{file} names a server that is no address") from error
    if not host or not port:
        raise ClusterUnreachableError(f"{file} names a server that is no address")
    return host, port
