"""Every custom resource that we create, held against its definition by a real API server, rules in CEL included.

What the embedded cluster can run is created there; what only a cloud has is created in a dry run, with the definitions
of tests/contract/crds and with unknown fields as errors. Does not prove that a cloud's own API server has the same
definition: each file names its source and version. GKE publishes none: ours is made from its reference.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from lightkube.generic_resource import create_namespaced_resource

from components.clouds.azure.cloud import AzureCloud
from components.clouds.azure.handle import azure_handle
from components.clouds.azure.settings import AzureSettings
from components.observability.delivery import rule_groups
from components.secrets import EXTERNAL_SECRETS_API, ExternalArgs, SecretArgs, external_secret
from local.api import ApiAccess
from local.objects import apply, established, path_of
from planner.catalog import instances
from tests.contract.cloud_definitions import definitions
from tests.contract.test_aws_api_models import configs, registered, whole
from tests.contract.test_azure_api_models import made, pool, pool_name, section
from tests.contract.test_gke_api import arguments
from tests.local.conftest import NAME, NAMESPACE, Environment
from tests.local.test_observability import facts
from tests.unit.components.azure_samples import azure_engine, cluster_args
from tests.unit.components.gcp.google import SETTINGS, build
from tests.unit.conftest import Engine, engine

pytestmark = pytest.mark.local

__all__ = ["engine"]  # the fixture

OURS = {
    "ScaledObject": ("keda.sh", "v1alpha1", "scaledobjects"),
    "InterceptorRoute": ("http.keda.sh", "v1beta1", "interceptorroutes"),
    "PrometheusRule": ("monitoring.coreos.com", "v1", "prometheusrules"),
}
"""Kinds that the embedded cluster runs: group, version, plural."""


def from_aws() -> Iterator[dict[str, Any]]:
    for config in configs():
        for item in registered(config, NAME):
            if item.type.startswith("kubernetes:karpenter"):
                yield item.inputs


def from_azure() -> Iterator[dict[str, Any]]:
    dice = Random(2)

    def program() -> None:
        cloud = AzureCloud()
        handle = azure_handle(cloud.create_cluster("prod", cluster_args(audit_logs=False)))
        chosen = replace(handle, settings=AzureSettings(**section(dice)), node_auto_provisioning=True)
        cloud.create_node_pools("prod", [pool(dice, pool_name(dice, index)) for index in range(60)], chosen)

    with azure_engine() as running:
        running.run(program)
        for kind in ("NodePool", "AKSNodeClass"):
            yield from (whole(item) for item in made(running, kind))


def from_google(engine: Engine) -> Iterator[dict[str, Any]]:
    machines = sorted(row.key for row in instances().values() if row.cloud == "gcp")
    raws = [
        {
            "name": f"pool-{index}",
            "instance_type": machine,
            "provisioner": "auto",
            "capacity_type": ("on-demand", "spot", "spot-with-fallback")[index % 3],
            "min_nodes": 0,
            "max_nodes": 4,
        }
        for index, machine in enumerate(machines)
    ]
    wanted = [args for raw in raws if (args := arguments(raw, SETTINGS)) is not None]
    build(engine, *wanted, settings=SETTINGS)
    yield from (whole(item.inputs) for item in engine.seen if item.type.endswith(":ComputeClass"))


def external() -> dict[str, Any]:
    secret = SecretArgs(name="hugging-face", keys=("token",), values={})
    source = ExternalArgs(store="vault", store_kind="ClusterSecretStore", entry="ml/hugging-face")
    return {
        "apiVersion": EXTERNAL_SECRETS_API,
        "kind": "ExternalSecret",
        "metadata": {"name": secret.name, "namespace": NAMESPACE},
        "spec": external_secret(secret, source),
    }


async def refusals(environment: Environment, objects: list[dict[str, Any]]) -> list[str]:
    """What the API server says against creating each of these; the definitions come first and go last."""
    access = ApiAccess.from_kubeconfig(environment.files.kubeconfig)
    said = []
    plurals = {item["spec"]["names"]["kind"]: item["spec"]["names"]["plural"] for item in definitions()}
    async with access.session() as session:
        for definition in definitions():
            await apply(session, definition)
        try:
            async with asyncio.timeout(30):
                await asyncio.gather(*(established(session, definition) for definition in definitions()))
            for item in objects:
                scope = f"/namespaces/{NAMESPACE}" if "namespace" in item["metadata"] else ""
                path = f"/apis/{item['apiVersion']}{scope}/{plurals[item['kind']]}"
                body = {key: item[key] for key in ("apiVersion", "kind", "metadata", "spec")}
                query = {"dryRun": "All", "fieldValidation": "Strict"}
                async with session.post(path, params=query, data=json.dumps(body), headers=JSON) as reply:
                    if reply.status >= 400:
                        said.append(f"{item['kind']} {item['metadata']['name']}: {(await reply.json())['message']}")
        finally:
            for definition in definitions():
                async with session.delete(path_of(definition)) as reply:
                    assert reply.status < 400
    return said


JSON = {"Content-Type": "application/json"}


def test_an_api_server_takes_what_only_a_cloud_has(environment: Environment, engine: Engine) -> None:
    """And refuses, of the same, an unknown field, a wrong word, and what only a rule in CEL forbids."""
    objects = [*from_google(engine), external()]
    # Each cloud has an engine of its own.
    objects += [*from_aws(), *from_azure()]
    counted = Counter(item["kind"] for item in objects)
    assert set(counted) == {"NodePool", "EC2NodeClass", "AKSNodeClass", "ComputeClass", "ExternalSecret"}
    assert min(counted[kind] for kind in counted if kind != "ExternalSecret") > 4, counted
    assert asyncio.run(refusals(environment, objects)) == []

    nodes = next(item for item in objects if item["kind"] == "NodePool")
    template = nodes["spec"]["template"]
    forbidden = {"metadata": {"labels": {"kubernetes.io/hostname": "mine"}}, "spec": template["spec"]}
    wrong = [
        {**nodes, "spec": {**nodes["spec"], "templates": {}}},
        {**nodes, "spec": {**nodes["spec"], "disruption": {"consolidationPolicy": "Never", "consolidateAfter": "1m"}}},
        {**nodes, "spec": {**nodes["spec"], "template": forbidden}},
    ]
    said = asyncio.run(refusals(environment, wrong))
    assert len(said) == len(wrong), said
    assert 'unknown field "spec.templates"' in said[0]
    assert "consolidationPolicy" in said[1]
    assert "kubernetes.io" in said[2]


@pytest.mark.parametrize("kind", OURS)
def test_what_the_cluster_runs_is_there(environment: Environment, kind: str) -> None:
    """Created by `pulumi up`, so that the API server has checked each."""
    group, version, plural = OURS[kind]
    resource = create_namespaced_resource(group, version, kind, plural)
    found = list(environment.client.list(resource, namespace=NAMESPACE))
    expected = {"ScaledObject": 2, "InterceptorRoute": 2, "PrometheusRule": len(rule_groups(facts()))}
    assert len(found) == expected[kind]
