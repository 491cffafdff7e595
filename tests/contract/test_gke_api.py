"""Every pool and cluster that can be configured is one that GKE's own API can be told.

Proves names, types and words of what is sent, against google-cloud-container's messages and the ComputeClass's schema,
and the limits that the API documents for names and labels. Does not prove that a combination is accepted: that is said
by GKE alone, and by the rules as far as Google documents it.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from google.cloud import container_v1
from google.protobuf import json_format
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.clouds.gcp.machines import LOCAL_SSDS, accelerator_type
from components.clouds.gcp.rules import RULES
from components.clouds.gcp.settings import (
    AutoscalingProfile,
    DriverVersion,
    GcpSettings,
    ReleaseChannel,
)
from components.clouds.rules import EnvironmentWish
from components.cluster import NodePoolArgs
from planner.catalog import instances
from stacks.config.checks_cloud import wish_of
from stacks.config.models_pool import NodePool
from stacks.node_pools import gpu_pool, node_pool_args
from tests.contract.custom_resources import crd_schema
from tests.contract.gke_messages import cluster, node_pool
from tests.unit.components.gcp.google import SETTINGS, build
from tests.unit.conftest import Engine

pytestmark = pytest.mark.unit

MACHINES = sorted(row.key for row in instances().values() if row.cloud == "gcp")
NAME = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")
TAGS = {"team": "ml", "cost-centre": "7"}

sharings = st.one_of(
    st.just({"mode": "none"}),
    st.sampled_from(["1g.10gb", "2g.20gb", "3g.40gb", "7g.80gb"]).map(lambda name: {"mode": "mig", "profile": name}),
    st.tuples(st.sampled_from(["time-slicing", "mps"]), st.integers(2, 48)).map(
        lambda pair: {"mode": pair[0], "replicas": pair[1]}
    ),
)
purchases = st.one_of(
    st.sampled_from(["on-demand", "spot", "spot-with-fallback"]).map(lambda word: {"capacity_type": word}),
    st.sampled_from(
        [
            {"kind": "reservation", "id": "mine"},
            {"kind": "reservation", "id": "projects/other/reservations/theirs"},
            {"kind": "flex-start"},
            {"kind": "queued"},
        ]
    ).map(lambda held: {"capacity_type": "reserved", "reservation": held}),
)


@st.composite
def pools(draw: st.DrawFn) -> dict[str, Any]:
    """A pool as it may be written."""
    most = draw(st.integers(1, 1000))
    return {
        "name": draw(st.from_regex(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", fullmatch=True)),
        "instance_type": draw(st.sampled_from(MACHINES)),
        "sharing": draw(sharings),
        **draw(purchases),
        "provisioner": draw(st.sampled_from(["node-group", "auto"])),
        "min_nodes": draw(st.sampled_from([0, 0, most])),
        "max_nodes": most,
        "zones": draw(st.sampled_from([[], ["us-central1-a"], ["us-central1-a", "us-central1-c"]])),
        "disk_gib": draw(st.integers(50, 16_000)),
        "local_nvme": draw(st.booleans()),
        "image_streaming": draw(st.booleans()),
    }


gcp_settings = st.builds(
    lambda **changes: SETTINGS.model_copy(update={"provisioning_requests": True, **changes}),
    release_channel=st.sampled_from(ReleaseChannel),
    autoscaling_profile=st.sampled_from(AutoscalingProfile),
    driver=st.sampled_from(DriverVersion),
    zone=st.sampled_from([None, "us-central1-b"]),
    private_nodes=st.booleans(),
    dns_endpoint=st.booleans(),
    managed_dcgm=st.booleans(),
    flex_start_seconds=st.integers(600, 604_800),
    image_cache_disk=st.sampled_from([None, "global/images/vllm"]),
    kms_key=st.sampled_from([None, "projects/p/locations/l/keyRings/r/cryptoKeys/k"]),
)
clusters = st.fixed_dictionaries(
    {
        "private_endpoint": st.booleans(),
        "authorized_networks": st.sampled_from([(), ("198.51.100.0/24", "203.0.113.7/32")]),
        "audit_logs": st.booleans(),
        "deletion_protection": st.booleans(),
        "weights_store": st.sampled_from(["node-disk", "shared-files", "object-store"]),
        "kubernetes_version": st.sampled_from(["", "1.36"]),
        "tags": st.sampled_from([{}, TAGS]),
    }
)


def arguments(raw: dict[str, Any], chosen: GcpSettings) -> NodePoolArgs | None:
    """The pool as the cloud gets it; None where its rules refuse it."""
    pool = NodePool.model_validate(raw)
    wish = wish_of(pool)
    assert wish is not None
    environment = EnvironmentWish(name="prod", region="us-central1", weights_store="node-disk", settings=chosen)
    if list(RULES.check_pool(wish, environment)):
        return None
    return node_pool_args(pool, gpu_pool(pool, RULES), TAGS)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raws=st.lists(pools(), min_size=8, max_size=8, unique_by=lambda raw: raw["name"]), chosen=gcp_settings)
def test_every_pool(engine: Engine, raws: list[dict[str, Any]], chosen: GcpSettings) -> None:
    wanted = [args for raw in raws if (args := arguments(raw, chosen)) is not None]
    build(engine, *wanted, settings=chosen)
    made = {item.inputs["name"]: item.inputs for item in engine.seen if item.type.endswith("nodePool:NodePool")}
    twice = sum(args.capacity_type == "spot-with-fallback" for args in wanted if args.provisioner == "node-group")
    assert len(made) == 1 + twice + sum(args.provisioner == "node-group" for args in wanted)
    for name, inputs in made.items():
        assert NAME.fullmatch(name)
        check_node_pool(node_pool(inputs))
    schema = crd_schema("computeclass.yaml", "v1", "gcp")
    classes = [item.inputs for item in engine.seen if item.type.endswith(":ComputeClass")]
    assert len(classes) == sum(args.provisioner == "auto" for args in wanted)
    for inputs in classes:
        assert list(schema.violations(inputs)) == []
        check_labels(inputs["spec"]["nodePoolConfig"]["nodeLabels"])


def check_node_pool(message: container_v1.NodePool) -> None:
    """What the API documents of its fields beyond their types."""
    config, scaling = message.config, message.autoscaling
    assert scaling.enabled
    assert 0 <= scaling.total_min_node_count <= scaling.total_max_node_count
    assert scaling.total_max_node_count > 0
    # One of the two, never both; and per-zone numbers not beside total ones.
    assert not (config.spot and config.flex_start)
    assert (scaling.min_node_count, scaling.max_node_count) == (0, 0)
    assert bool(message.queued_provisioning.enabled) <= bool(config.flex_start)
    assert config.flex_start == bool(config.max_run_duration)
    check_labels(config.labels)
    for accelerator in config.accelerators:
        sharing = accelerator.gpu_sharing_config
        if sharing.max_shared_clients_per_gpu:
            assert 2 <= sharing.max_shared_clients_per_gpu <= 48
            assert not accelerator.gpu_partition_size
    affinity = config.reservation_affinity
    specific = affinity.consume_reservation_type is container_v1.ReservationAffinity.Type.SPECIFIC_RESERVATION
    assert specific == bool(affinity.values)


def check_labels(labels: Any) -> None:
    """Labels that GKE lets a pool set."""
    for key, value in labels.items():
        assert "kubernetes.io" not in key
        assert not key.startswith("cloud.google.com/")
        assert re.fullmatch(r"([A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?)?", value), (key, value)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=clusters, chosen=gcp_settings)
def test_every_cluster(engine: Engine, changes: dict[str, Any], chosen: GcpSettings) -> None:
    build(engine, settings=chosen, **changes)
    inputs = engine.one("cluster:Cluster", "prod-cluster")
    message = cluster(inputs)
    assert NAME.fullmatch(message.name)
    encrypted = container_v1.DatabaseEncryption.State.ENCRYPTED
    assert (message.database_encryption.state is encrypted) == (chosen.kms_key is not None)
    if message.private_cluster_config.enable_private_endpoint:
        assert message.master_authorized_networks_config.enabled
    assert message.release_channel.channel is not container_v1.ReleaseChannel.Channel.UNSPECIFIED


def test_the_parser_does_refuse(engine: Engine) -> None:
    """Else the tests above would prove nothing."""
    build(engine)
    inputs = engine.one("nodePool:NodePool", "prod-system-pool")
    for broken in (
        {**inputs, "autoscaling": {"totalMinNodes": 1}},
        {**inputs, "nodeConfig": {**inputs["nodeConfig"], "machinetype": "e2"}},
        {**inputs, "nodeConfig": {**inputs["nodeConfig"], "workloadMetadataConfig": {"mode": "GKE"}}},
        {**inputs, "nodeConfig": {**inputs["nodeConfig"], "diskSizeGb": "many"}},
    ):
        with pytest.raises(json_format.ParseError):
            node_pool(broken)
    schema = crd_schema("computeclass.yaml", "v1", "gcp")
    spec = {"whenUnsatisfiable": "DoNotScaleUp", "priorities": [{"gpus": 1, "spot": "yes"}]}
    assert list(schema.violations({"spec": spec})) == [
        ".spec.priorities[0].gpus: no such field",
        ".spec.priorities[0].spot: 'yes' is no boolean",
    ]


def test_every_machine(engine: Engine) -> None:
    """All accelerators of the catalogue, under Google's names."""
    wanted = []
    for number, machine in enumerate(MACHINES):
        raw = {"name": f"p{number}", "instance_type": machine, "capacity_type": "spot", "max_nodes": 1}
        args = arguments({**raw, "local_nvme": True}, SETTINGS)
        assert args is not None
        wanted.append(args)
    build(engine, *wanted)
    for number, machine in enumerate(MACHINES):
        row = instances()[machine]
        message = node_pool(engine.one("nodePool:NodePool", f"prod-p{number}"))
        (found,) = message.config.accelerators
        assert (found.accelerator_type, found.accelerator_count) == (accelerator_type(row.gpu, machine), row.gpus)
        assert message.config.ephemeral_storage_local_ssd_config.local_ssd_count == LOCAL_SSDS[machine]
