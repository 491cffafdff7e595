"""The embedded cluster's Prometheus, over its HTTP API."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any, Final

TIMEOUT_SECONDS: Final = 60.0


class PrometheusError(Exception):
    """Prometheus refuses a query or does not answer; the message says which query and why."""


@dataclass(frozen=True)
class Prometheus:
    """A Prometheus on this machine.

    Attributes:
        port: on 127.0.0.1.
    """

    port: int

    def get(self, path: str, **parameters: str) -> Any:  # noqa: ANN401 - JSON
        """The data of an answer.

        Raises:
            PrometheusError: an error, or no answer.
        """
        query = urllib.parse.urlencode(parameters).encode()
        request = f"http://127.0.0.1:{self.port}/api/v1/{path}"
        try:
            # A query may be longer than a URL may be: parameters go into the body where Prometheus takes one.
            sent = urllib.request.urlopen(request, query or None, timeout=TIMEOUT_SECONDS)
            with sent as reply:
                return json.load(reply)["data"]
        except urllib.error.HTTPError as error:
            raise PrometheusError(f"{parameters}: {error.read().decode(errors='replace')[:500]}") from error
        except OSError as error:
            raise PrometheusError(f"Prometheus on port {self.port} does not answer: {error}") from error

    def range(self, query: str, start: float, end: float, step: int) -> list[dict[str, Any]]:
        """Series that answer a query, each with `metric` and `values`, one per step, both ends included."""
        answer = self.get("query_range", query=query, start=str(start), end=str(end), step=str(step))
        found: list[dict[str, Any]] = answer["result"]
        return found

    def ask(self, query: str) -> list[dict[str, Any]]:
        """Series that answer a query now, each with `metric` and `value`."""
        found: list[dict[str, Any]] = self.get("query", query=query)["result"]
        return found

    def rules(self) -> list[dict[str, Any]]:
        """Every rule that is loaded, with its health."""
        return [rule for group in self.get("rules")["groups"] for rule in group["rules"]]
