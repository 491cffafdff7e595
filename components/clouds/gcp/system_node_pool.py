"""The CPU nodes: gateway, routers, operators and GKE's own pods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import pulumi
from pulumi_gcp import container

from components.base import Component
from components.clouds.gcp.node_config import AUTOSCALER_OWNS, OAUTH_SCOPES, gke_metadata, shielded
from components.clouds.gcp.settings import GcpSettings
from components.clouds.names import digest
from components.labels import NODE_POOL
from components.scheduling import SYSTEM_POOL

DISK_GIB: Final = 100


@dataclass(frozen=True, kw_only=True)
class SystemNodePoolArgs:
    """The CPU nodes.

    Attributes:
        cluster: its name.
        location: of the control plane.
        service_account: e-mail address.
        settings: machine type, fewest and most nodes.
        tags: on everything that is billed.
    """

    cluster: pulumi.Input[str]
    location: str
    service_account: pulumi.Input[str]
    settings: GcpSettings
    tags: Mapping[str, str] = field(default_factory=dict)


class SystemNodePool(Component):
    """A pool without taint.

    Attributes:
        pool: at Google Cloud.
    """

    def __init__(self, name: str, args: SystemNodePoolArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gcp", name, opts)
        settings = args.settings
        self.pool = container.NodePool(
            f"{name}-pool",
            # Another name for other machines: the new nodes come before the old ones go.
            name=f"{SYSTEM_POOL}-{digest(settings.system_machine_type)}",
            cluster=args.cluster,
            location=args.location,
            autoscaling=container.NodePoolAutoscalingArgs(
                total_min_node_count=settings.system_min_nodes,
                total_max_node_count=settings.system_max_nodes,
                location_policy="BALANCED",
            ),
            management=container.NodePoolManagementArgs(auto_repair=True, auto_upgrade=True),
            upgrade_settings=container.NodePoolUpgradeSettingsArgs(max_surge=1, max_unavailable=0),
            node_config=container.NodePoolNodeConfigArgs(
                machine_type=settings.system_machine_type,
                disk_size_gb=DISK_GIB,
                disk_type="pd-balanced",
                image_type="COS_CONTAINERD",
                service_account=args.service_account,
                oauth_scopes=OAUTH_SCOPES,
                labels={NODE_POOL: SYSTEM_POOL},
                resource_labels=dict(args.tags) or None,
                shielded_instance_config=shielded(),
                workload_metadata_config=gke_metadata(),
            ),
            opts=self.child(ignore_changes=AUTOSCALER_OWNS),
        )
        self.register_outputs({"name": self.pool.name})
