"""Our own components keep to every policy, on each serving stack: what they register is judged by the rules.

Registered with mocks, so inputs are what the program gives and no provider has seen them.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from policy.reference import ENVIRONMENTS, levels
from policy.rule import read_settings
from policy.rules import RULES
from policy.unknown import UnknownValueError
from policy.view import Resource
from stacks.config import load_environment
from stacks.environment import build_environment
from tests.unit.conftest import Engine

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cluster that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        file = tmp_path / "kubeconfig"
        address = f"https://127.0.0.1:{server.getsockname()[1]}"
        file.write_text(yaml.safe_dump({"clusters": [{"name": "local", "cluster": {"server": address}}]}))
        monkeypatch.setenv("INFERENCE_PLATFORM_KUBECONFIG", str(file))
        yield


def environment(serving_stack: str) -> dict[str, Any]:
    return {
        "cloud": "local",
        "serving_stack": serving_stack,
        "node_pools": [{"name": "l4", "instance_type": "g6.12xlarge", "max_nodes": 2}],
        "model_deployments": [
            {
                "name": name,
                "source": {"hugging_face": "meta-llama/Llama-3.1-8B-Instruct"},
                "engine": {"max_model_len": 8192},
                "node_pool": "l4",
                "scaling": {"min_replicas": least},
            }
            for name, least in (("chat", 1), ("batch", 0))
        ],
        "tenancy": {"quota": {"gpus": 4}, "api_key_hashes": ["0" * 64]},
    }


def topologies(serving_stack: str) -> dict[str, Any]:
    """Adapters, and prefill and decode apart."""
    with_adapters, apart = environment(serving_stack)["model_deployments"]
    adapters = [{"name": "sql", "source": {"hugging_face": "somebody/sql"}}]
    with_adapters = {**with_adapters, "engine": {"max_model_len": 8192, "lora_adapters": adapters}}
    apart = {**apart, "scaling": {}, "topology": {"kind": "disaggregated"}}
    return {**environment(serving_stack), "model_deployments": [with_adapters, apart]}


def one_router(serving_stack: str) -> dict[str, Any]:
    """One router before all models."""
    models = environment(serving_stack)["model_deployments"]
    always_on = [{**model, "scaling": {"min_replicas": 2}} for model in models]
    return {**environment(serving_stack), "router": "shared", "model_deployments": always_on}


def findings(resources: list[Resource], level: str) -> list[str]:
    """All that the policies of a level object to; settings as the level gives them."""
    found = []
    for rule in RULES:
        given = levels(level).get(rule.name, {})
        given = {key: value for key, value in given.items() if key != "enforcementLevel"} if given else {}
        settings = read_settings(rule, given if isinstance(given, dict) else {})
        try:
            if rule.stack is not None:
                found += [f"{rule.name}: {item.message}" for item in rule.stack(resources, settings)]
            elif rule.resource is not None:
                for resource in resources:
                    found += [f"{rule.name}: {item.message}" for item in rule.resource(resource, settings)]
        except UnknownValueError as error:
            found.append(f"{rule.name}: {error}")
    return found


@pytest.mark.parametrize("level", ENVIRONMENTS)
@pytest.mark.parametrize("serving_stack", ["manifests", "production-stack"])
@pytest.mark.parametrize("made", [environment, topologies, one_router])
def test_what_we_deploy_keeps_to_every_policy(
    engine: Engine, made: Callable[[str], dict[str, Any]], serving_stack: str, level: str
) -> None:
    config = load_environment(made(serving_stack), "prod")
    engine.run(lambda: build_environment(config, "prod"))
    seen = [
        Resource(type=item.type, name=item.name, inputs=json.loads(json.dumps(item.inputs, default=str)), urn=item.name)
        for item in engine.seen
    ]
    assert len([item for item in seen if item.in_kubernetes]) > 20
    assert findings(seen, level) == []
