"""The virtual network of an AKS cluster: one subnet for all nodes; pods have addresses of their own (overlay)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi
from pulumi_azure_native.network import AddressSpaceArgs as Addresses
from pulumi_azure_native.network import (
    NatGateway,
    NatGatewaySkuArgs,
    PublicIPAddress,
    PublicIPAddressSkuArgs,
    ServiceEndpointPropertiesFormatArgs,
    Subnet,
    SubResourceArgs,
    VirtualNetwork,
)

from components.base import Component


@dataclass(frozen=True, kw_only=True)
class NetworkArgs:
    """A virtual network.

    Attributes:
        resource_group: its name.
        location: Azure region.
        cidr: addresses of the network and of its one subnet.
        nat_gateway: nodes leave by a NAT gateway with one fixed address instead of the cluster's load balancer.
        tags: on everything that is billed.
    """

    resource_group: pulumi.Input[str]
    location: str
    cidr: str
    nat_gateway: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)


class Network(Component):
    """A virtual network with one subnet.

    Attributes:
        subnet: of the nodes and the internal load balancers.
        network_id: of the virtual network.
        outbound_address: public address by which nodes leave; None without a NAT gateway.
    """

    def __init__(self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("azure", name, opts)
        network = VirtualNetwork(
            f"{name}-vnet",
            virtual_network_name="vnet",
            resource_group_name=args.resource_group,
            location=args.location,
            address_space=Addresses(address_prefixes=[args.cidr]),
            tags=args.tags,
            # The subnet is a resource of its own; as part of this one each change would take it away.
            opts=self.child(ignore_changes=("subnets",)),
        )
        self.outbound_address: pulumi.Output[str | None] | None = None
        gateway = None
        if args.nat_gateway:
            gateway, self.outbound_address = self._nat_gateway(name, args)
        self.subnet = Subnet(
            f"{name}-nodes",
            subnet_name="nodes",
            resource_group_name=args.resource_group,
            virtual_network_name=network.name,
            address_prefix=args.cidr,
            # By it the storage account of the weights lets only these nodes in.
            service_endpoints=[ServiceEndpointPropertiesFormatArgs(service="Microsoft.Storage")],
            nat_gateway=SubResourceArgs(id=gateway.id) if gateway else None,
            opts=self.child(),
        )
        self.network_id = network.id
        self.register_outputs({"subnetId": self.subnet.id})

    def _nat_gateway(self, name: str, args: NetworkArgs) -> tuple[NatGateway, pulumi.Output[str | None]]:
        address = PublicIPAddress(
            f"{name}-outbound",
            public_ip_address_name="outbound",
            resource_group_name=args.resource_group,
            location=args.location,
            public_ip_allocation_method="Static",
            sku=PublicIPAddressSkuArgs(name="Standard"),
            tags=args.tags,
            opts=self.child(),
        )
        gateway = NatGateway(
            f"{name}-gateway",
            nat_gateway_name="outbound",
            resource_group_name=args.resource_group,
            location=args.location,
            public_ip_addresses=[SubResourceArgs(id=address.id)],
            sku=NatGatewaySkuArgs(name="Standard"),
            tags=args.tags,
            opts=self.child(),
        )
        return gateway, address.ip_address
