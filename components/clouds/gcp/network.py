"""The cluster's own VPC: one subnet with ranges for pods and Services, and a way out for nodes without an address."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pulumi
from pulumi_gcp import compute

from components.base import Component
from components.clouds.gcp.names import RESOURCE, environment_name
from components.clouds.gcp.settings import GcpSettings

PODS_RANGE: Final = "pods"
SERVICES_RANGE: Final = "services"

NAT_PORTS_PER_NODE: Final = 1024
"""Cloud NAT's default of 64 is used up by one image pull of many layers together with a few downloads of weights."""


@dataclass(frozen=True, kw_only=True)
class GkeNetworkArgs:
    """A network.

    Attributes:
        environment: whose.
        region: of the subnet.
        settings: address ranges (CIDR), and whether nodes have addresses of their own.
    """

    environment: str
    region: str
    settings: GcpSettings


class GkeNetwork(Component):
    """VPC, subnet and Cloud NAT.

    Attributes:
        network: the VPC.
        subnet: of nodes, with secondary ranges for pods and Services.
        egress: what nodes need to reach the Internet; None if they have public addresses.
    """

    def __init__(self, name: str, args: GkeNetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gcp", name, opts)
        settings, own_name = args.settings, environment_name(args.environment, "", RESOURCE)
        self.network = compute.Network(
            f"{name}-network",
            name=own_name,
            auto_create_subnetworks=False,
            description=f"inference-platform, environment {args.environment}",
            opts=self.child(),
        )
        self.subnet = compute.Subnetwork(
            f"{name}-subnet",
            name=own_name,
            region=args.region,
            network=self.network.id,
            ip_cidr_range=settings.nodes_cidr,
            secondary_ip_ranges=[
                compute.SubnetworkSecondaryIpRangeArgs(range_name=PODS_RANGE, ip_cidr_range=settings.pods_cidr),
                compute.SubnetworkSecondaryIpRangeArgs(range_name=SERVICES_RANGE, ip_cidr_range=settings.services_cidr),
            ],
            # Images and weights in Google's own stores are reached without Cloud NAT, which bills by the byte.
            private_ip_google_access=True,
            opts=self.child(),
        )
        self.egress = self._egress(name, args, own_name) if settings.private_nodes else None
        self.register_outputs({"network": self.network.id, "subnet": self.subnet.id})

    def _egress(self, name: str, args: GkeNetworkArgs, own_name: str) -> compute.RouterNat:
        router = compute.Router(
            f"{name}-router", name=own_name, region=args.region, network=self.network.id, opts=self.child()
        )
        return compute.RouterNat(
            f"{name}-nat",
            name=own_name,
            router=router.name,
            region=args.region,
            nat_ip_allocate_option="AUTO_ONLY",
            source_subnetwork_ip_ranges_to_nat="LIST_OF_SUBNETWORKS",
            subnetworks=[
                compute.RouterNatSubnetworkArgs(name=self.subnet.id, source_ip_ranges_to_nats=["ALL_IP_RANGES"])
            ],
            min_ports_per_vm=NAT_PORTS_PER_NODE,
            opts=self.child(),
        )
