"""Properties over many configurations, valid and broken.

Shows: valid ones survive JSON, one broken field is named, nothing but ConfigError is ever raised.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.catalog import gpus, instances, models
from planner.sizing import computes, fits, tensor_parallel_choices
from stacks.config import ENVIRONMENT_KEY, CapacityType, RouterPolicy, load_environment
from stacks.config.load import load_stack_file
from stacks.config.warnings import warnings
from stacks.errors import ConfigError
from stacks.summary import summarize
from tests.unit.stacks.config_samples import Raw

pytestmark = pytest.mark.unit

FITTING = [
    (instance.key, model.key, size)
    for instance in instances().values()
    for model in models().values()
    if computes(gpus()[instance.gpu], model.dtype)
    for size in tensor_parallel_choices(model, instance.gpus)
    if fits(model, gpus()[instance.gpu].memory_gib, size, 0.85, min(4096, model.max_position_embeddings))
]
NAMES = st.from_regex(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", fullmatch=True).filter(lambda name: name != "system")


@st.composite
def scalings(draw: st.DrawFn) -> Raw:
    low = draw(st.integers(0, 20))
    budget = draw(st.integers(1, 7200))
    return {
        "min_replicas": low,
        "max_replicas": draw(st.integers(max(1, low), 1000)),
        "startup_budget_seconds": budget,
        "polling_interval_seconds": draw(st.integers(1, 300)),
        "cooldown_seconds": draw(st.integers(max(budget, 600), 86_400)),
        "drain_seconds": draw(st.integers(0, 3600)),
    }


@st.composite
def environments(draw: st.DrawFn) -> Raw:
    """A valid configuration of one to three pools and model deployments."""
    chosen = draw(st.lists(st.sampled_from(FITTING), min_size=1, max_size=3))
    pool_names = draw(st.lists(NAMES, min_size=len(chosen), max_size=len(chosen), unique=True))
    model_names = draw(st.lists(NAMES, min_size=len(chosen), max_size=len(chosen), unique=True))
    pools, deployments = [], []
    for (instance, model, size), pool, name in zip(chosen, pool_names, model_names, strict=True):
        spot = [item.value for item in CapacityType if instances()[instance].spot or "spot" not in item]
        most = draw(st.integers(1, 1000))
        pools.append(
            {
                "name": pool,
                "instance_type": instance,
                "capacity_type": draw(st.sampled_from(spot)),
                "min_nodes": draw(st.integers(0, most)),
                "max_nodes": most,
                "sharing": {"mode": "none"},
            }
        )
        deployments.append(
            {
                "name": name,
                "source": {"hugging_face": model},
                "engine": {"tensor_parallel": size, "extra_args": draw(st.sampled_from([{}, {"seed": 1}]))},
                "node_pool": pool,
                "router_policy": draw(st.sampled_from([item.value for item in RouterPolicy])),
                "scaling": draw(scalings()),
                "simulation": {"startup_seconds": 0.5, "speedup": draw(st.floats(0.1, 1000))},
            }
        )
    gateway = {"host_port": draw(st.integers(1, 65_535))}
    return {"cloud": "local", "node_pools": pools, "model_deployments": deployments, "gateway": gateway}


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if isinstance(value, dict):
        for key, child in value.items():
            yield from leaves(child, (*path, key))
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from leaves(child, (*path, index))
    else:
        yield path


def mappings(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if isinstance(value, dict):
        yield path
        for key, child in value.items():
            yield from mappings(child, (*path, key))
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from mappings(child, (*path, index))


def at(value: Any, path: tuple[str | int, ...]) -> Any:
    for part in path:
        value = value[part]
    return value


def show(path: tuple[str | int, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def error_paths(raw: object) -> list[str]:
    try:
        load_environment(raw, "dev")
    except ConfigError as error:
        return [item.path for item in error.errors]
    return []


@settings(max_examples=60, deadline=None)
@given(environments())
def test_valid_configurations_survive_json_and_can_be_summed_up(raw: Raw) -> None:
    config = load_environment(raw, "dev")
    again = load_environment(json.loads(json.dumps(config.model_dump(mode="json"))), "dev")
    assert again == config
    summary = summarize(config, "dev")
    assert len(summary.pools) == len(summary.models) == len(raw["node_pools"])
    assert list(summary.warnings) == [item.line() for item in warnings(config)]


@settings(max_examples=150, deadline=None)
@given(environments(), st.data())
def test_one_broken_field_is_named(raw: Raw, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(list(leaves(raw))))
    broken = copy.deepcopy(raw)
    at(broken, path[:-1])[path[-1]] = [["no field takes this"]]
    assert show(path) in error_paths(broken)


@settings(max_examples=100, deadline=None)
@given(environments(), st.data())
def test_one_unknown_key_is_named(raw: Raw, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from([path for path in mappings(raw) if path[-1:] != ("extra_args",)]))
    broken = copy.deepcopy(raw)
    at(broken, path)["surely_unknown"] = 1
    assert error_paths(broken) == [show((*path, "surely_unknown"))]


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
# 10**4000: hypothesis itself cannot print more digits than Python allows.
WORDS = st.sampled_from(["local", "mig", "vllm", 10**4000, -0.0])
KEYS = st.text(max_size=5) | st.sampled_from(["mode", "name", "secure", "kind", "engine"])
VALUES = st.recursive(
    SCALARS | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
YAML_TEXTS = st.text("-:{}[]&*!|>'\"#%@,? \n\tab1.", max_size=200)


@settings(max_examples=150, deadline=None)
@given(environments(), st.lists(st.tuples(st.randoms(), VALUES), min_size=1, max_size=4))
def test_nothing_but_config_error_for_any_values_anywhere(raw: Raw, changes: list[tuple[Any, object]]) -> None:
    broken = copy.deepcopy(raw)
    for random, value in changes:
        path = random.choice([path for path in (*leaves(broken), *mappings(broken)) if path] or [("cloud",)])
        at(broken, path[:-1])[path[-1]] = value
    for line in _lines(broken):
        assert "\n" not in line
        assert len(line) < 2000


@settings(max_examples=100, deadline=None)
@given(VALUES)
def test_nothing_but_config_error_for_anything_at_all(raw: object) -> None:
    assert _lines(raw)


def _lines(raw: object) -> list[str]:
    try:
        load_environment(raw, "dev")
    except ConfigError as error:
        json.dumps([item.to_json() for item in error.errors])
        return [item.line() for item in error.errors]
    return []


@settings(max_examples=150, deadline=None)
@given(
    text=st.binary(max_size=200)
    | st.text(max_size=200).map(str.encode)
    | st.text("-:{}[]&*!|>'\"#%@,? \n\tab1.").map(str.encode)
)
def test_nothing_but_config_error_for_any_file(tmp_path_factory: pytest.TempPathFactory, text: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "Pulumi.fuzz.yaml"
    for head in (b"", b"config:\n  ", b"config:\n  " + ENVIRONMENT_KEY.encode() + b":\n    "):
        path.write_bytes(head + text)
        with pytest.raises(ConfigError):
            load_stack_file(path)
