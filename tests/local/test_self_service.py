"""Environments that teams order themselves, on an embedded cluster that they share.

Every step is a process of its own: `python -m stacks ...`. Proves what the API server holds and counts; no network here
enforces a NetworkPolicy, and models stay at zero, so that no engine runs.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightkube import ApiError, Client, KubeConfig
from lightkube.models.core_v1 import (
    Capabilities,
    Container,
    PodSpec,
    ResourceRequirements,
    SeccompProfile,
    SecurityContext,
    Taint,
)
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import Namespace, Pod, Service
from lightkube.resources.networking_v1 import NetworkPolicy

from local import cluster
from local.layout import REPOSITORY, ClusterFiles, tool
from local.network_policy import Endpoint, may_connect
from tests.local.platform_team import DOLLARS, EACH, TEAMS, Platform, catalog, live, node, ordering, texts

pytestmark = pytest.mark.local


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    root = Path(tempfile.mkdtemp(prefix="ip-"))
    files = ClusterFiles(root / "shared")
    try:
        cluster.up(files, gateway_port=0)
        client = Client(config=KubeConfig.from_file(str(files.kubeconfig)))
        taints = [Taint(key="nvidia.com/gpu", value="present", effect="NoSchedule")]
        gpus = {"cpu": "48", "memory": "192Gi", "nvidia.com/gpu": "4", "pods": "110"}
        client.create(node("shared-gpu", "l4", gpus, taints))
        client.create(node("shared-cpu", "system", {"cpu": "64", "memory": "256Gi", "pods": "250"}, []))
        catalog(root / "catalog", files.kubeconfig)
        yield Platform(root, files.kubeconfig, client)
    finally:
        cluster.stop(files)
        shutil.rmtree(root)


@pytest.fixture(scope="module")
def thirty(platform: Platform) -> list[str]:
    """Three teams' environments, ordered and brought up at once; the first of each has a key."""
    names = [f"{team}-{index}" for team in TEAMS for index in range(EACH)]
    begun = time.monotonic()
    lives = {"red-0": ("--ttl", "1h")}
    platform.all_at_once({name: ordering(name, name.split("-")[0], *lives.get(name, ())) for name in names})
    platform.all_at_once({name: ("key", name, "--to", str(platform.folder / f"{name}.key")) for name in names[::EACH]})
    ordered = time.monotonic() - begun
    platform.all_at_once({name: ("up", name, "--json") for name in names})
    print(f"{len(names)} environments: ordered in {ordered:.0f} s, up in {time.monotonic() - begun - ordered:.0f} s")
    return names


def test_each_environment_has_a_namespace_a_quota_a_network_and_keys_of_its_own(
    platform: Platform, thirty: list[str]
) -> None:
    label = "inference.platform/environment"
    for name in thirty:
        found = platform.objects(name)
        quota = found["ResourceQuota", "environment"]["spec"]["hard"]
        assert quota == {"requests.nvidia.com/gpu": "1", "pods": "6"}
        closed = found["NetworkPolicy", "closed"]["spec"]
        assert closed == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
        assert found["InterceptorRoute", "chat"]["spec"]["rules"][0]["hosts"] == [f"gateway.inference-{name}.svc"]
        assert found["ScaledObject", "chat"]["spec"]["minReplicaCount"] == 0
        key = platform.folder / f"{name}.key"
        config = found["ConfigMap", "gateway"]["data"]["haproxy.cfg"]
        if key.exists():
            assert hashlib.sha256(key.read_bytes().strip()).hexdigest() in config
            assert key.read_text().strip() not in config
        # Nothing that bears its name is in a namespace of others.
        for kind in (Deployment, Service, NetworkPolicy):
            owned: list[Any] = list(platform.client.list(kind, namespace="*", labels={label: name}))
            assert owned
            assert {item.metadata.namespace for item in owned if item.metadata} == {f"inference-{name}"}
    hashes = [platform.folder / f"{team}-0.key" for team in TEAMS]
    assert len({file.read_text() for file in hashes}) == len(TEAMS)


def test_no_pod_reaches_engines_or_routers_of_another_environment(platform: Platform, thirty: list[str]) -> None:
    """By what the API server's NetworkPolicies mean; no network here enforces them."""
    policies = [item.to_dict() for item in platform.client.list(NetworkPolicy, namespace="*")]
    namespaces = [item.to_dict() for item in platform.client.list(Namespace)]
    pods = {name: endpoints(platform, name, namespaces) for name in thirty}
    assert all(set(found) == {"gateway", "chat-router", "chat-engine"} for found in pods.values())
    for name, other in zip(thirty, [*thirty[1:], thirty[0]], strict=True):
        router, router_port = pods[name]["chat-router"]
        engine, engine_port = pods[name]["chat-engine"]
        assert may_connect(policies, router, engine, engine_port), name
        for workload, (foreign, _) in pods[other].items():
            assert not may_connect(policies, foreign, engine, engine_port), (other, workload, name)
            assert not may_connect(policies, foreign, router, router_port), (other, workload, name)


def endpoints(platform: Platform, name: str, namespaces: list[dict[str, Any]]) -> dict[str, tuple[Endpoint, int]]:
    """What the pods of an environment would be on the network, and the first port of each."""
    found = {}
    for item in platform.client.list(Deployment, namespace=f"inference-{name}"):
        workload = item.to_dict()
        template = workload["spec"]["template"]
        metadata = {**template["metadata"], "namespace": f"inference-{name}", "name": workload["metadata"]["name"]}
        pod = {"metadata": metadata, "spec": template["spec"], "status": {"podIP": "10.0.0.1"}}
        port = template["spec"]["containers"][0]["ports"][0]["containerPort"]
        found[metadata["name"]] = (Endpoint.of_pod(pod, namespaces), port)
    return found


def test_the_api_server_holds_an_environment_to_its_quota(platform: Platform, thirty: list[str]) -> None:
    greedy = Container(
        name="greedy",
        image="example.com/greedy:1",
        resources=ResourceRequirements(limits={"nvidia.com/gpu": "2"}, requests={"nvidia.com/gpu": "2"}),
        # Pod Security looks at a pod before the quota does.
        securityContext=SecurityContext(
            allowPrivilegeEscalation=False,
            capabilities=Capabilities(drop=["ALL"]),
            runAsNonRoot=True,
            seccompProfile=SeccompProfile(type="RuntimeDefault"),
        ),
    )
    pod = Pod(metadata=ObjectMeta(name="greedy", namespace=f"inference-{thirty[1]}"), spec=PodSpec(containers=[greedy]))
    with pytest.raises(ApiError, match="exceeded quota"):
        platform.client.create(pod)


def test_one_over_the_budget_is_refused_with_the_reason(platform: Platform, thirty: list[str]) -> None:
    model = "chat=meta-llama/Llama-3.1-8B-Instruct"
    _, errors = platform.run("new", "blue-more", "--team", "blue", "-t", "shared", "-m", model, status=2)
    assert f"blue-more is refused: it may cost ${DOLLARS:.2f} per hour, and team blue has $" in errors
    assert f"left of ${round(DOLLARS * EACH + 0.5, 2):.2f}" in errors
    listed = json.loads(platform.run("list", "--json")[0])
    assert sorted(row["environment"] for row in listed) == sorted(thirty)


def test_reap_pauses_then_destroys_the_expired_and_touches_nothing_else(platform: Platform, thirty: list[str]) -> None:
    others = [name for name in thirty if name != "red-0"]
    before = {name: platform.objects(name) for name in others}
    created = json.loads((platform.folder / "ws" / "red-0" / "record.json").read_text())["created"]
    day = created[:10]
    assert platform.run("reap", "--json")[0].strip() == "[]", "nothing has expired yet"

    (paused,) = json.loads(platform.run("reap", "--json", "--at", later(created, hours=2))[0])
    assert (paused["environment"], paused["action"]) == ("red-0", "paused"), day
    scaling = platform.objects("red-0")["ScaledObject", "chat"]
    assert scaling["metadata"]["annotations"]["autoscaling.keda.sh/paused-replicas"] == "0"
    assert json.loads(platform.run("reap", "--json", "--at", later(created, hours=20))[0]) == [], "within its grace"

    (destroyed,) = json.loads(platform.run("reap", "--json", "--at", later(created, hours=27))[0])
    assert (destroyed["environment"], destroyed["action"]) == ("red-0", "destroyed")
    with pytest.raises(ApiError, match="not found"):
        platform.client.get(Namespace, "inference-red-0")
    after = {name: platform.objects(name) for name in others}
    for name in others:
        assert settled(after[name]) == settled(before[name]), name


def later(moment: str, hours: float) -> str:
    from datetime import datetime, timedelta

    return (datetime.fromisoformat(moment) + timedelta(hours=hours)).isoformat()


def settled(objects: dict[tuple[str, str], dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """Identity, generation and contents, without what controllers report."""
    ours = {}
    for key, item in objects.items():
        metadata = {name: value for name, value in item["metadata"].items() if name in {"uid", "generation", "labels"}}
        body = {name: value for name, value in item.items() if name not in {"metadata", "status"}}
        ours[key] = {**body, "metadata": metadata}
    return ours


@pytest.mark.parametrize("killed", ["the command", "the command and its engine"])
def test_a_crash_in_the_middle_of_up_is_recovered_by_the_next_command(platform: Platform, killed: str) -> None:
    name = f"crash-{len(killed)}"
    platform.order(name, "spare")
    process = platform.start("up", name)
    namespace = f"inference-{name}"
    deadline = time.monotonic() + 120
    while not list(platform.client.list(Service, namespace=namespace)):
        assert time.monotonic() < deadline, process.poll()
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    folder = platform.folder / "ws" / name
    if "engine" in killed:
        for pid in marked(folder):
            os.kill(pid, signal.SIGKILL)
    platform.run("up", name)
    # Nothing is left of the first run: no lock, no process, nothing to do.
    assert list((platform.folder / "ws" / ".state" / ".pulumi" / "locks").glob(f"**/{name}/*.json")) == []
    assert (folder / "lock").read_text() == ""
    assert marked(folder) == []
    changes = json.loads(platform.run("preview", name, "--json")[0])["changes"]
    assert set(changes) == {"same"}
    assert ("ScaledObject", "chat") in platform.objects(name)
    assert json.loads(platform.run("history", name, "--json")[0])[0]["result"] == "succeeded"
    platform.run("destroy", name, "--yes")


def marked(folder: Path) -> list[int]:
    """Processes that a run of this environment has started."""
    mark = f"INFERENCE_PLATFORM_RUN={folder}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            continue
    return found


@pytest.mark.skipif(not (REPOSITORY / "build" / "policy-venv").exists(), reason="make policy-venv")
def test_a_policy_that_refuses_does_so_before_anything_is_touched(platform: Platform) -> None:
    platform.order("refused", "spare")
    _, errors = platform.run("up", "refused", "--policies", "prod", status=3)
    assert "mandatory scale-to-zero ScaledObject chat-scaling" in errors
    assert "set scaling.min_replicas" in errors
    with pytest.raises(ApiError, match="not found"):
        platform.client.get(Namespace, "inference-refused")
    assert "has not been deployed" in platform.run("outputs", "refused", status=1)[1]
    platform.run("destroy", "refused", "--yes")


def test_two_operations_on_one_environment_queue(platform: Platform) -> None:
    platform.order("queue", "spare")
    first = platform.start("up", "queue")
    lock = platform.folder / "ws" / "queue" / "lock"
    deadline = time.monotonic() + 60
    while not (lock.exists() and lock.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    _, refused = platform.run("up", "queue", "--no-wait", status=5)
    assert "queue is busy with `up` of process" in refused
    _, waited = platform.run("up", "queue")
    assert "waiting" in waited
    assert first.wait(timeout=10) == 0, "the second began when the first had ended"
    first.communicate()
    platform.run("destroy", "queue", "--yes")


@pytest.fixture
def empty(platform: Platform) -> Iterator[ClusterFiles]:
    """A cluster that nobody has used, with what a platform team installs."""
    files = ClusterFiles(platform.folder / "empty")
    try:
        cluster.up(files, gateway_port=0)
        yield files
    finally:
        cluster.stop(files)


def test_exported_manifests_make_the_same_live_objects(platform: Platform, empty: ClusterFiles) -> None:
    platform.order("export", "spare")
    folder = platform.folder / "manifests"
    platform.run("export", "export", "--to", str(folder))
    platform.run("up", "export")
    kubectl = [tool("kubectl"), "--kubeconfig", str(empty.kubeconfig), "apply", "--server-side", "-k", str(folder)]
    applied = subprocess.run(kubectl, capture_output=True, text=True, check=False)
    assert applied.returncode == 0, applied.stderr
    client = Client(config=KubeConfig.from_file(str(empty.kubeconfig)))
    # Nothing is missing from the comparison: each manifest is an object that is compared, or the namespace.
    written = {(body["kind"], body["metadata"]["name"]) for body in map(yaml.safe_load, texts(folder))}
    assert written == {*platform.objects("export"), ("Namespace", "inference-export")}
    deadline = time.monotonic() + 60
    while live(client) != live(platform.client) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert live(client) == live(platform.client)
    platform.run("destroy", "export", "--yes")
