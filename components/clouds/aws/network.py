"""The network of an environment: one VPC, a private and a public subnet per zone, and the way to the internet."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
from pulumi_aws import ec2

from components.base import Component
from components.clouds.aws.settings import NatGateways

EVERYWHERE = "0.0.0.0/0"


@dataclass(frozen=True, kw_only=True)
class NetworkArgs:
    """A network.

    Attributes:
        region: where.
        zones: two or three of the region.
        cidr: addresses of the whole, /16 to /20.
        cluster_name: of the EKS cluster; load balancers find their subnets by it.
        nat_gateways: one for all zones, or one in each.
        tags: on everything.
    """

    region: str
    zones: Sequence[str]
    cidr: str
    cluster_name: str
    nat_gateways: NatGateways = NatGateways.ONE
    tags: Mapping[str, str] = field(default_factory=dict)


class Network(Component):
    """VPC, subnets, routes, NAT and an endpoint that keeps traffic with S3 (and ECR's layers) off the NAT's bill.

    Attributes:
        vpc: the network.
        private: subnet of each zone, for control plane, nodes and pods.
        public: subnet of each zone, for public load balancers and NAT.
        routes: what nodes need before they can reach anything.
    """

    def __init__(self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("aws", name, opts)
        self._name, self._args = name, args
        self.vpc = ec2.Vpc(
            f"{name}-vpc",
            cidr_block=args.cidr,
            enable_dns_hostnames=True,
            enable_dns_support=True,
            tags=self._tags(f"{name}-vpc"),
            opts=self.child(),
        )
        # AWS gives each network a group that lets everything through; without rules nobody uses it by accident.
        ec2.DefaultSecurityGroup(
            f"{name}-default-group", vpc_id=self.vpc.id, tags=self._tags(f"{name}-default"), opts=self.child()
        )
        private_blocks, public_blocks = subnet_blocks(args.cidr, len(args.zones))
        self.private = {
            zone: self._subnet("private", zone, block, "kubernetes.io/role/internal-elb")
            for zone, block in zip(args.zones, private_blocks, strict=True)
        }
        self.public = {
            zone: self._subnet("public", zone, block, "kubernetes.io/role/elb")
            for zone, block in zip(args.zones, public_blocks, strict=True)
        }
        internet = self._internet()
        self.routes: tuple[pulumi.Resource, ...] = self._private_routes(internet)
        self.register_outputs({"vpc": self.vpc.id, "zones": list(args.zones)})

    def _tags(self, name: str) -> dict[str, str]:
        return {**self._args.tags, "Name": name}

    def _subnet(self, kind: str, zone: str, block: str, role: str) -> ec2.Subnet:
        name = f"{self._name}-{kind}-{zone[-1]}"
        return ec2.Subnet(
            name,
            vpc_id=self.vpc.id,
            availability_zone=zone,
            cidr_block=block,
            tags={**self._tags(name), role: "1", f"kubernetes.io/cluster/{self._args.cluster_name}": "shared"},
            opts=self.child(),
        )

    def _internet(self) -> pulumi.Resource:
        """Gateway and routes of the public subnets."""
        name = self._name
        gateway = ec2.InternetGateway(f"{name}-igw", vpc_id=self.vpc.id, tags=self._tags(name), opts=self.child())
        table = ec2.RouteTable(
            f"{name}-public", vpc_id=self.vpc.id, tags=self._tags(f"{name}-public"), opts=self.child()
        )
        route = ec2.Route(
            f"{name}-public-internet",
            route_table_id=table.id,
            destination_cidr_block=EVERYWHERE,
            gateway_id=gateway.id,
            opts=self.child(),
        )
        for zone, subnet in self.public.items():
            ec2.RouteTableAssociation(
                f"{name}-public-{zone[-1]}-routes", route_table_id=table.id, subnet_id=subnet.id, opts=self.child()
            )
        return route

    def _private_routes(self, internet: pulumi.Resource) -> tuple[pulumi.Resource, ...]:
        """NAT and routes of the private subnets."""
        name, args = self._name, self._args
        per_zone = args.nat_gateways is NatGateways.PER_ZONE
        gateways = {zone: self._nat(zone, internet) for zone in (args.zones if per_zone else args.zones[:1])}
        ways: list[pulumi.Resource] = []
        tables = []
        for zone, subnet in self.private.items():
            part = f"{name}-private-{zone[-1]}"
            table = ec2.RouteTable(part, vpc_id=self.vpc.id, tags=self._tags(part), opts=self.child())
            tables.append(table.id)
            ways.append(
                ec2.Route(
                    f"{part}-internet",
                    route_table_id=table.id,
                    destination_cidr_block=EVERYWHERE,
                    nat_gateway_id=gateways.get(zone, gateways[args.zones[0]]).id,
                    opts=self.child(),
                )
            )
            ways.append(
                ec2.RouteTableAssociation(
                    f"{part}-routes", route_table_id=table.id, subnet_id=subnet.id, opts=self.child()
                )
            )
        ways.append(
            ec2.VpcEndpoint(
                f"{name}-s3",
                vpc_id=self.vpc.id,
                service_name=f"com.amazonaws.{args.region}.s3",
                vpc_endpoint_type="Gateway",
                route_table_ids=tables,
                tags=self._tags(f"{name}-s3"),
                opts=self.child(),
            )
        )
        return tuple(ways)

    def _nat(self, zone: str, internet: pulumi.Resource) -> ec2.NatGateway:
        part = f"{self._name}-nat-{zone[-1]}"
        # An address can be had before there is a way to the internet, and cannot be given back before that way goes.
        address = ec2.Eip(part, domain="vpc", tags=self._tags(part), opts=self.child(internet))
        return ec2.NatGateway(
            part,
            allocation_id=address.allocation_id,
            subnet_id=self.public[zone].id,
            tags=self._tags(part),
            opts=self.child(internet),
        )


def subnet_blocks(cidr: str, zones: int) -> tuple[list[str], list[str]]:
    """Private and public blocks of a network: a quarter of it per private subnet, since pods take addresses there.

    The last quarter is for the public ones, a sixteenth of the whole each.

    Args:
        cidr: addresses of the network.
        zones: one to three.
    """
    *quarters, last = ipaddress.ip_network(cidr).subnets(prefixlen_diff=2)
    public = list(last.subnets(prefixlen_diff=2))
    return [str(block) for block in quarters[:zones]], [str(block) for block in public[:zones]]
