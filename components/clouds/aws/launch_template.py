"""Launch templates: what a managed node group's own fields cannot say of its machines."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pulumi_aws import ec2

from components.base import Component

ROOT_DEVICE: Final = "/dev/xvda"
"""Of Amazon Linux 2023."""

FAST_IOPS: Final = 16_000
FAST_MIB_PER_SECOND: Final = 1000
"""gp3 at its fastest for common machines. Unpacking layers in parallel is slower than one by one below 600 MiB/s (AWS
on the SOCI snapshotter's parallel mode)."""

BASE_IOPS: Final = 3000
BASE_MIB_PER_SECOND: Final = 125
"""gp3 without extra charge; 16 GiB of weights take 2 minutes to read at this rate."""


@dataclass(frozen=True, kw_only=True)
class LaunchTemplateArgs:
    """Machines of a node group.

    Attributes:
        node_name: value of the tag Name of the machines.
        disk_gib: root volume, GiB; always encrypted.
        fast_disk: 16,000 IOPS and 1,000 MiB/s instead of gp3's base; costs extra.
        node_config: fields of nodeadm's NodeConfig.spec; empty: no user data.
        reservation_id: capacity reservation (cr-...) or the ARN of a resource group of them; "" for none.
        capacity_block: the reservation is a Capacity Block.
        instance_type: only where the template must name it (Capacity Blocks).
        tags: on machines, volumes and network interfaces: tags of a node group do not reach them.
    """

    node_name: str
    disk_gib: int
    fast_disk: bool = False
    node_config: Mapping[str, Any] = field(default_factory=dict)
    reservation_id: str = ""
    capacity_block: bool = False
    instance_type: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


def create_launch_template(parent: Component, name: str, args: LaunchTemplateArgs) -> ec2.LaunchTemplate:
    """Make a launch template. It names no image: the node group's AMI type does, and EKS keeps it up to date.

    Args:
        parent: whose child it is.
        name: logical name.
        args: the machines.
    """
    tags = {**args.tags, "Name": args.node_name}
    return ec2.LaunchTemplate(
        name,
        instance_type=args.instance_type or None,
        update_default_version=True,
        block_device_mappings=[
            ec2.LaunchTemplateBlockDeviceMappingArgs(
                device_name=ROOT_DEVICE,
                ebs=ec2.LaunchTemplateBlockDeviceMappingEbsArgs(
                    volume_size=args.disk_gib,
                    volume_type="gp3",
                    iops=FAST_IOPS if args.fast_disk else BASE_IOPS,
                    throughput=FAST_MIB_PER_SECOND if args.fast_disk else BASE_MIB_PER_SECOND,
                    encrypted="true",
                    delete_on_termination="true",
                ),
            )
        ],
        # One hop: pods with a network of their own cannot take the node's role from the metadata service.
        metadata_options=ec2.LaunchTemplateMetadataOptionsArgs(
            http_endpoint="enabled", http_tokens="required", http_put_response_hop_limit=1
        ),
        monitoring=ec2.LaunchTemplateMonitoringArgs(enabled=False),
        capacity_reservation_specification=_reservation(args.reservation_id),
        instance_market_options=ec2.LaunchTemplateInstanceMarketOptionsArgs(market_type="capacity-block")
        if args.capacity_block
        else None,
        user_data=user_data(args.node_config) if args.node_config else None,
        tag_specifications=[
            ec2.LaunchTemplateTagSpecificationArgs(resource_type=kind, tags=tags)
            for kind in ("instance", "volume", "network-interface")
        ],
        tags=dict(args.tags),
        opts=parent.child(),
    )


def _reservation(
    reservation_id: str,
) -> ec2.LaunchTemplateCapacityReservationSpecificationArgs | None:
    if not reservation_id:
        return None
    group = reservation_id.startswith("arn:")
    return ec2.LaunchTemplateCapacityReservationSpecificationArgs(
        capacity_reservation_target=ec2.LaunchTemplateCapacityReservationSpecificationCapacityReservationTargetArgs(
            capacity_reservation_id=None if group else reservation_id,
            capacity_reservation_resource_group_arn=reservation_id if group else None,
        )
    )


def node_config(*, local_nvme: bool, image_streaming: bool) -> dict[str, Any]:
    """Fields of nodeadm's NodeConfig.spec (Amazon Linux 2023).

    Args:
        local_nvme: the machine's own disks, as one RAID 0, hold images, emptyDirs and logs.
        image_streaming: layers are fetched and unpacked in parallel (SOCI snapshotter). An image that is read while it
            is fetched needs an index in its registry, which those of engines lack.

    Source: awslabs/amazon-eks-ami nodeadm/doc/api.md (LocalStorageOptions, Feature).
    """
    spec: dict[str, Any] = {}
    if local_nvme:
        spec["instance"] = {"localStorage": {"strategy": "RAID0"}}
    if image_streaming:
        spec["featureGates"] = {"FastImagePull": True}
    return spec


def user_data(spec: Mapping[str, Any]) -> str:
    """User data of a launch template; base64."""
    return base64.b64encode(mime(spec).encode()).decode()


def mime(spec: Mapping[str, Any]) -> str:
    """User data with a NodeConfig that nodeadm merges with what EKS or Karpenter adds."""
    config = {"apiVersion": "node.eks.aws/v1alpha1", "kind": "NodeConfig", "spec": spec}
    return "\n".join(
        [
            "MIME-Version: 1.0",
            'Content-Type: multipart/mixed; boundary="//"',
            "",
            "--//",
            "Content-Type: application/node.eks.aws",
            "",
            # JSON is YAML.
            json.dumps(config, sort_keys=True),
            "",
            "--//--",
            "",
        ]
    )
