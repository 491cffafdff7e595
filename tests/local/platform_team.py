"""What the tests of orders ask of a platform team: a catalogue, commands as processes, what an environment holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from lightkube import Client
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.core_v1 import NodeSpec, Taint
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap, Namespace, Node, ResourceQuota, Service, ServiceAccount
from lightkube.resources.networking_v1 import NetworkPolicy
from lightkube.resources.policy_v1 import PodDisruptionBudget
from lightkube.resources.rbac_authorization_v1 import Role, RoleBinding

from local.layout import REPOSITORY

TEAMS = ("red", "green", "blue")
EACH = int(os.environ.get("SELF_SERVICE_ENVIRONMENTS", "10"))
DOLLARS = 4.6016 / 4
"""One replica takes one of the four L4s of a g6.12xlarge: the catalogue's list price, per hour."""

ScaledObject = create_namespaced_resource("keda.sh", "v1alpha1", "ScaledObject", "scaledobjects")
InterceptorRoute = create_namespaced_resource("http.keda.sh", "v1beta1", "InterceptorRoute", "interceptorroutes")
WORKLOADS = (Deployment, Service, ConfigMap, PodDisruptionBudget, ScaledObject, InterceptorRoute)
KINDS = (*WORKLOADS, ResourceQuota, NetworkPolicy, ServiceAccount, Role, RoleBinding)
MADE_BY_THE_CLUSTER = {("ConfigMap", "kube-root-ca.crt"), ("ServiceAccount", "default")}


@dataclass(frozen=True)
class Platform:
    """A shared cluster, and the commands with a catalogue and a workspace of their own."""

    folder: Path
    kubeconfig: Path
    client: Client

    @property
    def variables(self) -> dict[str, str]:
        own = {"INFERENCE_PLATFORM_WORKSPACE": str(self.folder / "ws"), "INFERENCE_PLATFORM_PARALLEL": "4"}
        return {**os.environ, **own, "INFERENCE_PLATFORM_CATALOG": str(self.folder / "catalog")}

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command."""
        return subprocess.Popen(
            [sys.executable, "-m", "stacks", *words],
            cwd=REPOSITORY,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, status: int = 0) -> tuple[str, str]:
        """Run a command; what it printed."""
        process = self.start(*words)
        output, errors = process.communicate(timeout=600)
        assert process.returncode == status, f"{words}: {process.returncode}\n{output[-3000:]}\n{errors[-3000:]}"
        return output, errors

    def order(self, name: str, team: str, *more: str) -> None:
        self.run(*ordering(name, team, *more))

    def all_at_once(self, commands: dict[str, tuple[str, ...]]) -> None:
        """Start them all, and wait for all of them to succeed."""
        running = {name: self.start(*words) for name, words in commands.items()}
        results = {name: (*process.communicate(timeout=1500), process.returncode) for name, process in running.items()}
        assert {name: found for name, found in results.items() if found[2] != 0} == {}

    def objects(self, name: str) -> dict[tuple[str, str], dict[str, Any]]:
        """What an environment consists of, without what the cluster itself writes."""
        return objects(self.client, name)


def ordering(name: str, team: str, *more: str) -> tuple[str, ...]:
    model = "chat=meta-llama/Llama-3.1-8B-Instruct"
    return ("new", name, "--team", team, "--template", "shared", "--model", model, *more)


def objects(client: Client, name: str) -> dict[tuple[str, str], dict[str, Any]]:
    found = {}
    for kind in KINDS:
        for item in client.list(kind, namespace=f"inference-{name}"):
            plain = item.to_dict()  # type: ignore[attr-defined]
            key = (kind.__name__, str(plain["metadata"]["name"]))
            if key not in MADE_BY_THE_CLUSTER:
                found[key] = plain
    return found


def node(name: str, pool: str, capacity: dict[str, str], taints: list[Taint]) -> Node:
    """A node whose life KWOK simulates."""
    annotations = {"kwok.x-k8s.io/node": "fake", "inference.platform/capacity": json.dumps(capacity)}
    labels = {"kubernetes.io/os": "linux", "inference.platform/node-pool": pool}
    metadata = ObjectMeta(name=name, labels=labels, annotations=annotations)
    return Node(metadata=metadata, spec=NodeSpec(providerID=f"local:///{name}", taints=taints))


def catalog(folder: Path, kubeconfig: Path) -> None:
    """One template and three teams with a budget for their environments and not one more."""
    template = {
        "description": "a namespace",
        "environment": {
            "cloud": "existing",
            "serving_stack": "manifests",
            "existing": {
                "kubeconfig": str(kubeconfig),
                "provides": ["device-plugin", "dcgm-exporter", "prometheus", "grafana", "keda", "keda-http-add-on"],
            },
            "node_pools": [{"name": "l4", "instance_type": "g6.12xlarge", "max_nodes": 1}],
        },
        "node_pool": "l4",
        "scaling": {"startup_budget_seconds": 5, "cooldown_seconds": 60, "drain_seconds": 5},
        "choices": {"models": ["meta-llama/*"], "max_models": 1, "max_replicas": 1},
        "quota": {"gpus": 1, "pods": 6},
        "dollars_per_hour": 2,
        "ttl_hours": 240,
        "grace_hours": 24,
        "policies": "none",
    }
    (folder / "templates").mkdir(parents=True)
    (folder / "templates" / "shared.yaml").write_text(yaml.safe_dump(template))
    team = {"dollars_per_hour": round(DOLLARS * EACH + 0.5, 2), "max_environments": 50}
    (folder / "teams.yaml").write_text(yaml.safe_dump(dict.fromkeys((*TEAMS, "spare"), team)))


def texts(folder: Path) -> list[str]:
    return [path.read_text() for path in sorted(folder.glob("[0-9]*.yaml"))]


def live(client: Client) -> dict[tuple[str, str], dict[str, Any]]:
    """The exported environment as a cluster has it."""
    namespace = client.get(Namespace, "inference-export").to_dict()
    namespace.pop("spec", None)
    return comparable({**objects(client, "export"), ("Namespace", "inference-export"): namespace})


def comparable(objects: dict[tuple[str, str], dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """What an object is, without who made it, when, and what the cluster has drawn for it."""
    result = {}
    for key, item in objects.items():
        metadata = item["metadata"]
        notes = {
            name: value
            for name, value in (metadata.get("annotations") or {}).items()
            if not name.startswith(("pulumi.com/", "kubectl.kubernetes.io/", "deployment.kubernetes.io/"))
        }
        spec = {name: value for name, value in (item.get("spec") or {}).items() if not name.startswith("clusterIP")}
        body = {name: value for name, value in item.items() if name not in {"metadata", "spec", "status"}}
        kept = {"name": metadata["name"], "labels": metadata.get("labels"), "finalizers": metadata.get("finalizers")}
        result[key] = {**body, "spec": spec, "metadata": {**kept, "annotations": notes}}
    return result
