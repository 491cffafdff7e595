"""A cluster that is there: which one is meant, whether it answers, and how pods find its nodes.

Does not prove that an API server lets us in: a connection is all that is tried before the engine runs. The local tests
deploy an environment to a cluster in this way.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml

from components.clouds.existing.kubeconfig import ensure_reachable, find_context
from components.clouds.existing.settings import ExistingSettings, Provided
from components.cluster import Capability, ClusterUnreachableError
from stacks.config import load_environment
from stacks.environment import EnvironmentOutputs, build_environment
from tests.unit.conftest import Engine
from tests.unit.stacks.config_samples import errors, sample

pytestmark = pytest.mark.unit

EVERYTHING = [word.value for word in Capability]


def write(file: Path, server: str, context: str = "team", **cluster: str) -> Path:
    """A kubeconfig with one context, which is the current one."""
    document = {
        "current-context": context,
        "contexts": [{"name": context, "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "u", "user": {"token": "very-secret"}}],
    }
    file.write_text(yaml.safe_dump(document))
    return file


@pytest.fixture
def server() -> Iterator[str]:
    """Something that accepts connections."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"


def config(existing: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return sample(cloud="existing", serving_stack="manifests", existing=existing, **changes)


def build(engine: Engine, raw: dict[str, Any], environment: str = "one") -> EnvironmentOutputs:
    return engine.run(lambda: build_environment(load_environment(raw, environment), environment))


def test_the_environment_makes_a_namespace_and_nothing_else_of_the_clusters(
    engine: Engine, tmp_path: Path, server: str
) -> None:
    kubeconfig = write(tmp_path / "kubeconfig", server)
    outputs = build(engine, config({"kubeconfig": str(kubeconfig), "provides": EVERYTHING}))
    assert engine.components() == Counter(
        {
            ("inference-platform:existing:ExistingCluster", "one"): 1,
            ("inference-platform:observability:Monitoring", "monitoring"): 1,
            ("inference-platform:tenancy:Tenancy", "tenancy"): 1,
            ("inference-platform:gateway:Gateway", "gateway"): 1,
            ("inference-platform:serving:ModelDeployment", "chat"): 1,
        }
    )
    assert engine.one("providers:kubernetes", "one-provider") == {"kubeconfig": str(kubeconfig)}
    namespaces = {item.inputs["metadata"].get("namespace") for item in engine.seen if "metadata" in item.inputs}
    assert namespaces == {None, "inference-one"}
    cluster_wide = [item for item in engine.seen if item.inputs.get("metadata", {}).get("namespace", "") == ""]
    assert [(item.type, item.inputs["metadata"]["name"]) for item in cluster_wide if "metadata" in item.inputs] == [
        ("kubernetes:core/v1:Namespace", "inference-one")
    ]
    assert outputs.kubeconfig == str(kubeconfig)
    assert "very-secret" not in str(engine.seen)


def test_two_environments_share_a_cluster_without_a_name_in_common(engine: Engine, tmp_path: Path, server: str) -> None:
    raw = config({"kubeconfig": str(write(tmp_path / "kubeconfig", server)), "provides": EVERYTHING})
    names: list[set[tuple[str, str, str]]] = []
    for environment in ("one", "two"):
        engine.seen.clear()
        build(engine, raw, environment)
        found = [(item.type, item.inputs["metadata"]) for item in engine.seen if "metadata" in item.inputs]
        assert len(found) > 5
        names.append({(kind, meta.get("namespace", ""), meta["name"]) for kind, meta in found})
    assert names[0] & names[1] == set()


def test_pods_go_where_the_platforms_label_is(engine: Engine, tmp_path: Path, server: str) -> None:
    build(engine, config({"kubeconfig": str(write(tmp_path / "k", server)), "provides": EVERYTHING}))
    assert pod_of(engine, "chat-engine")["nodeSelector"] == {"inference.platform/node-pool": "l4"}
    assert pod_of(engine, "gateway")["nodeSelector"] == {"inference.platform/node-pool": "system"}


def test_pods_go_where_the_settings_say(engine: Engine, tmp_path: Path, server: str) -> None:
    pools = [
        {
            "name": "l4",
            "node_selector": {"cloud.google.com/gke-nodepool": "gpus"},
            "taints": [{"key": "team", "value": "ml"}],
            "gpu_resource": "nvidia.com/gpu.shared",
        },
        {"name": "system", "node_selector": {"role": "apps"}},
    ]
    kubeconfig = str(write(tmp_path / "k", server))
    build(engine, config({"kubeconfig": kubeconfig, "provides": EVERYTHING, "node_pools": pools}))
    pod = pod_of(engine, "chat-engine")
    assert pod["nodeSelector"] == {"cloud.google.com/gke-nodepool": "gpus"}
    assert pod["tolerations"] == [{"key": "team", "operator": "Equal", "value": "ml", "effect": "NoSchedule"}]
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu.shared"] == "1"
    assert pod_of(engine, "gateway")["nodeSelector"] == {"role": "apps"}
    assert pod_of(engine, "chat-router")["nodeSelector"] == {"role": "apps"}


def pod_of(engine: Engine, deployment: str) -> dict[str, Any]:
    pod: dict[str, Any] = engine.one(":Deployment", deployment)["spec"]["template"]["spec"]
    return pod


def test_the_gateways_service_is_as_the_settings_say(engine: Engine, tmp_path: Path, server: str) -> None:
    existing = {
        "kubeconfig": str(write(tmp_path / "k", server)),
        "provides": EVERYTHING,
        "gateway_service_type": "LoadBalancer",
        "gateway_annotations": {"example.com/internal": "true"},
        "gateway_url": "https://llm.example.com",
    }
    urls: list[str] = []

    def program() -> None:
        build_environment(load_environment(config(existing), "one"), "one").url.apply(urls.append)

    engine.run(program)
    service = engine.one(":Service", "gateway")
    assert service["spec"]["type"] == "LoadBalancer"
    assert service["metadata"]["annotations"] == {"example.com/internal": "true"}
    assert urls == ["https://llm.example.com"]


class StackOutputs(pulumi.runtime.Mocks):
    """The other stack's outputs, and nothing else."""

    def __init__(self) -> None:
        self.read: list[dict[str, Any]] = []
        self.providers: list[dict[str, Any]] = []

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        if args.typ == "pulumi:pulumi:StackReference":
            self.read.append(dict(args.inputs))
            return args.name, {**args.inputs, "outputs": {"admin": "contents"}, "secretOutputNames": []}
        if args.typ == "pulumi:providers:kubernetes":
            self.providers.append(dict(args.inputs))
        return f"{args.name}-id", dict(args.inputs)

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        raise AssertionError(args.token)


def test_a_stacks_output_is_a_secret_and_not_asked_whether_it_answers(engine: Engine) -> None:
    mocks = StackOutputs()
    pulumi.runtime.set_mocks(mocks, project="inference-platform", stack="test", preview=False)
    existing = {"stack": "acme/clusters/prod", "stack_output": "admin", "provides": EVERYTHING}
    values: list[str] = []
    secret: list[bool] = []

    def program() -> None:
        outputs = build_environment(load_environment(config(existing), "one"), "one")
        kubeconfig = pulumi.Output.from_input(outputs.kubeconfig)
        kubeconfig.apply(values.append)
        pulumi.Output.from_input(asyncio.ensure_future(kubeconfig.is_secret())).apply(secret.append)  # type: ignore[arg-type]

    engine.run(program)
    assert mocks.read == [{"name": "acme/clusters/prod"}]
    assert [item["kubeconfig"]["value"] for item in mocks.providers] == ["contents"]  # wrapped: a secret on its way
    assert (values, secret) == (["contents"], [True])


def test_a_context_of_the_users_own_kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = write(tmp_path / "a", "https://a.example.com", "first")
    second = write(tmp_path / "b", "https://b.example.com:6443", "second")
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join([str(tmp_path / "gone"), str(first), str(second)]))
    found = find_context(None, "second")
    assert (found.file, found.name, found.server) == (second, "second", "https://b.example.com:6443")
    with pytest.raises(ClusterUnreachableError, match="has no context 'third'; it has first, second"):
        find_context(None, "third")


def test_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".kube").mkdir()
    file = write(tmp_path / ".kube" / "config", "https://a.example.com", "first")
    assert find_context(None, "first").file == file
    assert find_context("~/.kube/config", None).file == file


def test_a_cluster_that_does_not_answer_is_one_message(tmp_path: Path, server: str) -> None:
    ensure_reachable(find_context(str(write(tmp_path / "k", server)), None))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    gone = find_context(str(write(tmp_path / "k", f"https://{address}")), "team")
    with pytest.raises(ClusterUnreachableError, match=rf"the cluster in .* does not answer on {address} .*refused"):
        ensure_reachable(gone)


def test_the_way_through_a_proxy(tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = "https://192.0.2.1"  # TEST-NET-1: nobody answers
    ensure_reachable(find_context(str(write(tmp_path / "k", nowhere, **{"proxy-url": server})), None))
    monkeypatch.setenv("HTTPS_PROXY", server)
    ensure_reachable(find_context(str(write(tmp_path / "k", nowhere)), None))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "it is no mapping"),
        ("[]", "it is no mapping"),
        ("\x00", "is not a kubeconfig"),
        ("{", "is not a kubeconfig"),
        ("a: b", "no current context: set existing.context to one of its contexts"),
        ("contexts: [{name: x, context: {}}]", "set existing.context to one of x"),
        ("{current-context: x, contexts: 7}", "contexts cannot be read"),
        ("{current-context: x, contexts: [{name: x, context: {cluster: y}}]}", "names no cluster with a server"),
        ("{current-context: x, contexts: [{name: x, context: 3}]}", "names no cluster with a server"),
    ],
)
def test_a_broken_kubeconfig_is_one_message(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(content)
    with pytest.raises(ClusterUnreachableError, match=message):
        find_context(str(file), None)


@pytest.mark.parametrize(
    "content",
    [
        "users:\n- user:\n    token: swordfish\n   client-key-data: [swordfish\n",
        "token: 'swordfish",
        "\ttoken: swordfish",
        "{current-context: x, contexts: [{name: x, context: {cluster: swordfish}}], clusters: [{token: swordfish}]}",
        "{current-context: x, contexts: [{name: x, context: {cluster: y}}], "
        "clusters: [{name: y, cluster: {server: 'https://me:swordfish@[::1'}}]}",
    ],
)
def test_no_message_repeats_a_line_of_a_kubeconfig(tmp_path: Path, content: str) -> None:
    """Any line of it may be a key; YAML's own messages quote the line that is wrong."""
    file = tmp_path / "kubeconfig"
    file.write_text(content)
    with pytest.raises(ClusterUnreachableError) as caught:
        ensure_reachable(find_context(str(file), None))
    assert "swordfish" not in str(caught.value)


@pytest.mark.parametrize("server", ["nonsense", "https://x:99999", "ftp://host", "https://[::1"])
def test_a_server_that_is_no_address_is_one_message(tmp_path: Path, server: str) -> None:
    with pytest.raises(ClusterUnreachableError, match="names a server that is no address"):
        ensure_reachable(find_context(str(write(tmp_path / "k", server)), None))


def test_no_kubeconfig_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(ClusterUnreachableError, match=re.escape(f"no kubeconfig at {tmp_path / 'k'}")):
        find_context(str(tmp_path / "k"), None)


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        (
            {},
            [
                "existing: required, but not given: it says which cluster. "
                "Add the section existing with kubeconfig, context or stack."
            ],
        ),
        ({"existing": {}}, ["existing: names no cluster: give `kubeconfig`, `context` or `stack` (got {})."]),
        (
            {"existing": {"stack": "a", "context": "b"}},
            [
                "existing: names two clusters: give `stack`, or `kubeconfig` and `context` "
                "(got {'context': 'b', 'stack': 'a'})."
            ],
        ),
        # One mistake does not become two.
        ({"existing": {"kubeconfig": 5}}, ["existing.kubeconfig: must be a text (got 5)."]),
        (
            {"existing": {"context": "a", "provides": ["kedaa"]}, "node_pools__0__provisioner": "auto"},
            [
                "node_pools[0].provisioner: the nodes of an existing cluster are not made by this environment "
                "(got 'auto'); choose from node-group. Remove it; whoever makes the nodes decides.",
                "existing.provides[0]: not one of the words that can stand here (got 'kedaa'); choose from keda, "
                "device-plugin, dcgm-exporter, prometheus, grafana, keda-http-add-on, cert-manager, "
                "prometheus-operator. Did you mean keda?",
            ],
        ),
        (
            {
                "existing": {
                    "context": "a",
                    "node_pools": [
                        {"name": "l5", "node_selector": {"a": "b"}},
                        {"name": "system", "node_selector": {"a": "b"}, "taints": [{"key": "a"}]},
                        {"name": "system"},
                    ],
                }
            },
            [
                "existing.node_pools[0].name: no node pool has this name (got 'l5'); choose from l4, system.",
                "existing.node_pools[1].node_selector: the same labels as existing.node_pools[0]: pods of both would "
                "land on either's nodes (got {'a': 'b'}). Choose labels that only one pool's nodes carry.",
                "existing.node_pools[1].taints: gateway and routers tolerate no taints (got ['a']). Remove it.",
                "existing.node_pools[2].name: said twice (got 'system'). Remove one of the two.",
            ],
        ),
        (
            {"existing": {"context": "a"}, "weights__store": "shared-files"},
            [
                "weights.store: no place in the cluster is named for shared files (got 'shared-files'). "
                "Set existing.storage_class (ReadWriteMany) or existing.weights_volume."
            ],
        ),
        (
            {"existing": {"context": "a", "storage_class": "rwx"}, "weights__store": "object-store"},
            [
                "weights.store: how a bucket is mounted is the cluster's affair, and no volume of it is named "
                "(got 'object-store'). Set existing.weights_volume."
            ],
        ),
        (
            {"existing": {"context": "a"}, "node_pools__0__zones": ["x"], "node_pools__0__local_nvme": True},
            [
                f"node_pools[0].{field}: the nodes of an existing cluster are not made by this environment "
                f"(got {value}). Remove it; whoever makes the nodes decides."
                for field, value in (("zones", "['x']"), ("local_nvme", "True"))
            ],
        ),
    ],
)
def test_what_cannot_be(changes: dict[str, Any], lines: list[str]) -> None:
    assert errors(sample(cloud="existing", serving_stack="manifests", **changes)) == lines


def test_the_words_are_those_of_the_layers() -> None:
    assert [word.value for word in Provided] == EVERYTHING
    assert ExistingSettings(context="a").provides == ()
