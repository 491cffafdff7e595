"""A container's variables: sources, order, errors.

Not proven here: the kubelet's own code; the cases follow its makeEnvironmentVariables.
"""

from __future__ import annotations

from typing import Any

import pytest

from local.node_agent.container_env import container_environment
from local.node_agent.fields import ContainerConfigError, PodFields, spec
from tests.unit.node_agent.node_doubles import HOST_IP, FakeApi, make_pod

pytestmark = pytest.mark.unit


def from_field(path: str) -> dict[str, Any]:
    return {"fieldRef": {"fieldPath": path}}


async def environment(api: FakeApi, env: list[dict[str, Any]] | None = None, **container: Any) -> dict[str, str]:
    metadata = {
        "labels": {"app": "web", "b": 'say "hi"'},
        "annotations": {"note": "x", "simulation.inference.platform/startup-seconds": "3"},
    }
    pod = make_pod(container={"env": env or [], **container}, metadata=metadata)
    fields = PodFields(pod, "127.77.0.1", HOST_IP, {"cpu": "8", "memory": "16Gi"})
    return await container_environment(spec(pod).containers[0], fields, api)


async def test_literals_see_the_variables_before_them(api: FakeApi) -> None:
    env = [
        {"name": "A", "value": "1"},
        {"name": "B", "value": "$(A)-$(C)-$$(A)"},
        {"name": "C", "value": "3"},
        {"name": "A", "value": "again $(A)"},
        {"name": "EMPTY"},
    ]
    assert await environment(api, env) == {"A": "again 1", "B": "1-$(C)-$(A)", "C": "3", "EMPTY": ""}


async def test_fields_of_the_pod(api: FakeApi) -> None:
    paths = {
        "metadata.name": "web",
        "metadata.namespace": "shop",
        "metadata.uid": "uid-web",
        "metadata.labels['app']": "web",
        "metadata.annotations['note']": "x",
        "metadata.annotations['none']": "",
        "spec.nodeName": "gpu-0",
        "spec.serviceAccountName": "default",
        "status.podIP": "127.77.0.1",
        "status.podIPs": "127.77.0.1",
        "status.hostIP": HOST_IP,
    }
    env = [{"name": f"V{i}", "valueFrom": from_field(path)} for i, path in enumerate(paths)]
    assert list((await environment(api, env)).values()) == list(paths.values())


async def test_a_field_that_does_not_exist_is_named(api: FakeApi) -> None:
    with pytest.raises(ContainerConfigError, match=r"^unsupported fieldPath: status\.phase$"):
        await environment(api, [{"name": "A", "valueFrom": from_field("status.phase")}])


@pytest.mark.parametrize(
    ("resource", "divisor", "value"),
    [
        ("limits.cpu", None, "2"),  # 1500m, rounded up
        ("limits.cpu", "1m", "1500"),
        ("requests.cpu", None, "1"),  # 500m
        ("limits.memory", None, "2147483648"),
        ("limits.memory", "1Mi", "2048"),
        ("requests.memory", "1Mi", "0"),  # not set
        ("limits.ephemeral-storage", "1Gi", "0"),  # not set, and the node does not say
    ],
)
async def test_resources_in_units_of_the_divisor(api: FakeApi, resource: str, divisor: str | None, value: str) -> None:
    reference = {"resource": resource, **({"divisor": divisor} if divisor else {})}
    resources = {"limits": {"cpu": "1500m", "memory": "2Gi"}, "requests": {"cpu": "500m"}}
    env = [{"name": "A", "valueFrom": {"resourceFieldRef": reference}}]
    assert await environment(api, env, resources=resources) == {"A": value}


async def test_a_limit_that_is_not_set_is_what_the_node_has(api: FakeApi) -> None:
    env = [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}]
    assert await environment(api, env) == {"A": "8"}


@pytest.mark.parametrize("kind", ["configMap", "secret"])
async def test_keys_of_configmaps_and_secrets(api: FakeApi, kind: str) -> None:
    api.config_maps["shop/settings"] = {"colour": "$(A)"}
    api.secrets["shop/settings"] = {"colour": b"$(A)"}

    def reference(name: str, key: str, **more: Any) -> dict[str, Any]:
        return {"name": "V", "valueFrom": {f"{kind}KeyRef": {"name": name, "key": key, **more}}}

    assert await environment(api, [reference("settings", "colour")]) == {"V": "$(A)"}
    assert await environment(api, [reference("settings", "size", optional=True)]) == {}
    assert await environment(api, [reference("none", "size", optional=True)]) == {}
    place = "ConfigMap" if kind == "configMap" else "Secret"
    with pytest.raises(ContainerConfigError, match=rf"^couldn't find key size in {place} shop/settings$"):
        await environment(api, [reference("settings", "size")])
    with pytest.raises(ContainerConfigError, match=rf'^{kind.lower()} "none" not found$'):
        await environment(api, [reference("none", "size")])


async def test_whole_objects_with_prefix_are_overridden_by_env(api: FakeApi) -> None:
    api.config_maps["shop/settings"] = {"A": "1", "B": "2", "bad=name": "x"}
    api.secrets["shop/keys"] = {"B": b"secret"}
    sources = [
        {"configMapRef": {"name": "settings"}},
        {"prefix": "S_", "secretRef": {"name": "keys"}},
        {"secretRef": {"name": "keys"}},
        {"configMapRef": {"name": "none", "optional": True}},
    ]
    env = [{"name": "A", "value": "own $(B)"}]
    assert await environment(api, env, envFrom=sources) == {"A": "own secret", "B": "secret", "S_B": "secret"}
    with pytest.raises(ContainerConfigError, match=r'^secret "none" not found$'):
        await environment(api, envFrom=[{"secretRef": {"name": "none"}}])


async def test_a_secret_that_is_not_text_is_named_without_its_content(api: FakeApi) -> None:
    api.secrets["shop/keys"] = {"bin": b"\xff\x00"}
    env = [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "bin"}}}]
    with pytest.raises(ContainerConfigError, match=r"^key bin in Secret keys is not text, mount it as a file$"):
        await environment(api, env)


def test_annotations_of_the_simulation_become_variables() -> None:
    prefix = "simulation.inference.platform/"
    annotations = {f"{prefix}startup-seconds": "3", f"{prefix}gpu": "L4", "other/gpu": "no"}
    fields = PodFields(make_pod(metadata={"annotations": annotations}), "127.77.0.1", HOST_IP, {})
    assert fields.simulation_environment() == {"SIMULATION_STARTUP_SECONDS": "3", "SIMULATION_GPU": "L4"}


def test_labels_as_a_file_of_the_downward_api() -> None:
    pod = make_pod(metadata={"labels": {"b": 'say "hi"', "a": "1"}})
    assert PodFields(pod, "", "", {}).field("metadata.labels") == 'a="1"\nb="say \\"hi\\""'
