"""Mocks that answer as Google Cloud would where the program asks, and arguments to change one thing of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pulumi

from components.clouds import load_cloud
from components.clouds.gcp.settings import GcpSettings
from components.cluster import ClusterArgs, NodePoolArgs
from components.scheduling import GpuPool, Sharing, SharingMode
from tests.unit.conftest import Engine, RecordingMocks

SETTINGS = GcpSettings(project="acme-inference", project_number=123456789)

CLUSTER = ClusterArgs(
    environment="prod", gateway_host_port=8080, region="us-central1", tags={"team": "ml"}, settings=SETTINGS
)

H100 = GpuPool(
    name="h100",
    product="NVIDIA-H100-80GB-SXM",
    gpus_per_node=8,
    vcpu=208,
    memory_gib=1872,
    resource="nvidia.com/gpu",
)

POOL = NodePoolArgs(
    gpus=H100,
    instance_type="a3-highgpu-8g",
    accelerator="h100",
    capacity_type="on-demand",
    min_nodes=0,
    max_nodes=4,
    tags={"team": "ml"},
)

MIG = Sharing(SharingMode.MIG, 7, "1g.10gb")


class GoogleMocks(RecordingMocks):
    """What is known of a resource only once it is there."""

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        made, state = super().new_resource(args)
        match args.typ:
            case "gcp:container/cluster:Cluster":
                state |= {"endpoint": "203.0.113.7", "masterAuth": {"clusterCaCertificate": "Q0E="}}
                dns = state["controlPlaneEndpointsConfig"]["dnsEndpointConfig"]
                state["controlPlaneEndpointsConfig"] = {
                    "dnsEndpointConfig": {**dns, "endpoint": "gke-1.us-central1.gke.goog"}
                }
            case "gcp:serviceaccount/account:Account":
                email = f"{state['accountId']}@acme-inference.iam.gserviceaccount.com"
                state |= {"email": email, "member": f"serviceAccount:{email}"}
            case "gcp:filestore/instance:Instance":
                state["networks"] = [{**state["networks"][0], "ipAddresses": ["10.9.0.2"]}]
            case _:
                pass
        return made, state


def use_google(engine: Engine) -> None:
    """Answer as Google Cloud from here on."""
    engine.mocks = GoogleMocks()
    pulumi.runtime.set_mocks(engine.mocks, project="inference-platform", stack="test", preview=False)


def build(engine: Engine, *pools: NodePoolArgs, **changes: Any) -> None:
    """A cluster with these pools and its weights' store."""
    use_google(engine)
    args = replace(CLUSTER, **changes)
    cloud = load_cloud("gcp")

    def program() -> None:
        cluster = cloud.create_cluster("prod", args)
        cloud.create_node_pools("prod", pools, cluster)
        cloud.create_weights("prod", args, cluster)

    engine.run(program)
