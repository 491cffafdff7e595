"""Steps in the life of an environment that are the same on every cloud, each with all that it has to show."""

from __future__ import annotations

import copy
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

from local.layout import REPOSITORY
from tests.engine.cloud_stack import CloudStack, Preview

OWN = ("inference-platform:", "pulumi:")
"""Types that no provider makes."""

TOLD_OF_MODELS = frozenset(
    {"gateway", "gateway-config", *(f"monitoring-{of}-rules" for of in ("cost", "faults", "slo"))}
)
"""What lists the models: the gateway's table of them, and the rules about each."""

OUTPUTS = {"url": str, "models": list, "namespace": str, "kubeconfig": str, "plan": dict}
"""The stack's outputs, the same on every cloud."""


def example(name: str) -> dict[str, Any]:
    """The environment of an example at the root."""
    document = yaml.safe_load(Path(REPOSITORY / f"Pulumi.{name}.yaml").read_text())
    environment: dict[str, Any] = document["config"]["inference-platform:environment"]
    return environment


def pool_named(environment: dict[str, Any], name: str) -> dict[str, Any]:
    """A node pool of an environment."""
    found: dict[str, Any] = next(pool for pool in environment["node_pools"] if pool["name"] == name)
    return found


def inputs_by_name(stack: CloudStack) -> dict[str, Any]:
    """Inputs of everything in the state by its logical name."""
    return {state["urn"].rsplit("::", 1)[1]: state["inputs"] for state in stack.resources() if "inputs" in state}


def come_up(stack: CloudStack, *, own_process: bool = False, read: Collection[str] = ()) -> Preview:
    """Preview, up, refresh, preview: exactly what was planned is made, and then there is nothing to do.

    Args:
        stack: that is not there yet.
        own_process: preview as a user does, with the program in a process of its own.
        read: what is looked up among what exists; by default nothing, and a preview is the same for every account.

    Returns:
        The first preview.
    """
    planned = stack.preview(own_process=own_process)
    assert planned.operations.keys() == {"create"}
    assert [step["urn"].rsplit("::", 1)[1] for step in planned.steps if step["op"] == "read"] == list(read)
    assert stack.world.made() == []
    wanted = {step["urn"] for step in planned.steps if not step["newState"]["type"].startswith(OWN)}
    made = stack.up()
    assert {(call.operation, call.urn) for call in made} == {("create", urn) for urn in wanted}
    assert len(made) == len(wanted)
    stack.refresh("--expect-no-changes")
    stack.preview_no_changes()
    return planned


def say_where_it_is(stack: CloudStack, environment: dict[str, Any]) -> None:
    """The outputs have one shape on every cloud; what gives access is a secret."""
    outputs = stack.outputs()
    assert {name: type(value) for name, value in outputs.items()} == OUTPUTS
    assert outputs["url"].startswith("http")
    assert outputs["models"] == [model["name"] for model in environment["model_deployments"]]
    assert outputs["namespace"] == f"inference-{stack.name}"
    kubeconfig = yaml.safe_load(outputs["kubeconfig"])
    assert kubeconfig["clusters"][0]["cluster"]["server"].startswith("https://")
    # In the state and in what the engine prints.
    shown = json.loads(stack.run("stack", "output", "--json").stdout)
    assert shown["kubeconfig"] == "[secret]"


def change_one_field(stack: CloudStack, environment: dict[str, Any], resource: str, path: str) -> None:
    """One number in the configuration, which has been changed, is one property of one resource."""
    stack.configure(environment)
    preview = stack.preview()
    assert preview.operations == {"update": [resource]}
    assert preview.diff(resource) == {path}
    assert [(call.operation, call.name) for call in stack.up()] == [("update", resource)]


def add_a_pool_and_a_model(
    stack: CloudStack, environment: dict[str, Any], also_told: Collection[str] = (), made: str = "double-more"
) -> None:
    """To an environment that runs: nothing is replaced or deleted, and only what lists models or pools is updated.

    A pool `more` like the first one, and a model `added` on it like the first one's. What the autoscaler has changed
    before (`world.drift`) would show here if it were put back.

    Args:
        stack: of the environment.
        environment: gets both.
        also_told: what else has to learn of a pool.
        made: resource of the pool.
    """
    pool, model = environment["node_pools"][0], environment["model_deployments"][0]
    assert model["node_pool"] == pool["name"]
    environment["node_pools"].append({**copy.deepcopy(pool), "name": "more"})
    environment["model_deployments"].append({**copy.deepcopy(model), "name": "added", "node_pool": "more"})
    stack.configure(environment)
    operations = stack.preview().operations
    assert operations.keys() <= {"create", "update"}, operations
    assert made in operations["create"]
    assert [name for name in operations["create"] if "more" not in name and "added" not in name] == []
    assert set(operations.get("update", ())) <= TOLD_OF_MODELS | set(also_told)
    calls = stack.up()
    assert {call.operation for call in calls} == {"create", "update"}
    assert {call.name for call in calls if call.operation == "update"} == set(operations["update"])
    stack.preview_no_changes()


def autoscale(stack: CloudStack, type_: str, name: str, counts: Mapping[str, object]) -> None:
    """What an autoscaler counts changes behind Pulumi's back, and Pulumi hears of it."""
    stack.world.drift(type_, name, counts)
    stack.refresh()


def swap_the_machine(stack: CloudStack, environment: dict[str, Any], type_: str, name: str) -> None:
    """A pool's machines, which have been changed in the configuration, cannot be changed: a new pool comes first."""
    stack.configure(environment)
    assert name in stack.preview().operations["replace"]
    calls = [call for call in stack.up() if call.name == name and call.type.endswith(f":{type_}")]
    assert [call.operation for call in calls] == ["create", "delete"]
