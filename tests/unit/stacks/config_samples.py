"""A valid configuration to change, and the errors of a changed one."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from stacks.config import EnvironmentConfig, load_environment
from stacks.errors import ConfigError

Raw = dict[str, Any]

MINIMAL: Mapping[str, Any] = {
    "cloud": "local",
    "node_pools": [{"name": "l4", "instance_type": "g6.12xlarge", "max_nodes": 3}],
    "model_deployments": [
        {"name": "chat", "source": {"hugging_face": "meta-llama/Llama-3.1-8B-Instruct"}, "node_pool": "l4"}
    ],
}


def sample(**changes: object) -> Raw:
    """The smallest valid configuration, changed: `node_pools__0__max_nodes=1` sets node_pools[0].max_nodes."""
    raw: Raw = copy.deepcopy(dict(MINIMAL))
    for path, value in changes.items():
        put(raw, path.split("__"), value)
    return raw


def put(raw: Any, path: list[str], value: object) -> None:
    """Set a value deep inside, making mappings on the way."""
    *way, last = path
    for part in way:
        raw = raw[int(part)] if part.isdigit() else raw.setdefault(part, {})
    raw[last] = value


def errors(raw: object, stack: str = "dev") -> list[str]:
    """The lines of the errors of a configuration; empty if it is valid."""
    try:
        load_environment(raw, stack)
    except ConfigError as error:
        return [item.line() for item in error.errors]
    return []


def loaded(**changes: object) -> EnvironmentConfig:
    """A valid configuration, changed and loaded."""
    return load_environment(sample(**changes), "dev")
