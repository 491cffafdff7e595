"""The one URL: what it answers itself, and what it refuses.

Through the forwarder and the real HAProxy of the environment; engines stay at zero.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import pytest

from tests.local.conftest import Environment

pytestmark = pytest.mark.local


def get(url: str, body: bytes | None = None) -> tuple[int, dict[str, object]]:
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            return reply.status, json.loads(reply.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_models_are_listed_while_all_are_at_zero(environment: Environment) -> None:
    environment.await_zero()
    status, answer = get(f"{environment.url}/v1/models")
    assert status == 200
    assert [model["id"] for model in answer["data"]] == ["chat", "code"]  # type: ignore[attr-defined]
    assert environment.replicas("chat") == (0, 0)


def test_an_unknown_model_is_refused_and_wakes_nothing(environment: Environment) -> None:
    environment.await_zero()
    status, answer = get(f"{environment.url}/v1/chat/completions", b'{"model": "chta", "messages": []}')
    assert status == 404
    assert "chat" in json.dumps(answer)
    assert environment.replicas("chat") == (0, 0)


def test_a_body_without_a_model_is_refused(environment: Environment) -> None:
    status, answer = get(f"{environment.url}/v1/chat/completions", b'{"messages": []}')
    assert status == 400
    assert "model" in json.dumps(answer)
