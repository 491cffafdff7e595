"""EKS add-ons: what every cluster needs to run pods, volumes and identities."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import pulumi
from pulumi_aws import eks

from components.base import Component
from components.clouds.aws.identity import PodRole, PodRoleArgs

BEFORE_NODES: Final = ("vpc-cni", "kube-proxy", "eks-pod-identity-agent")
"""DaemonSets without which no node becomes ready, or pods on it get no credentials."""

CONFIGURATION: Final[Mapping[str, Mapping[str, str]]] = {"vpc-cni": {"enableNetworkPolicy": "true"}}
"""Values of add-ons, as `aws eks describe-addon-configuration` has them. The VPC CNI enforces NetworkPolicies only when
told to: without it a namespace that is closed is open. Source: EKS user guide, "Restrict Pod network traffic with
Kubernetes network policies"."""


@dataclass(frozen=True)
class Driver:
    """An add-on whose pods call AWS.

    Attributes:
        addon: its name at EKS.
        service_account: of the pods that call.
        policy: that AWS keeps for it; "" if it has one of its own.
    """

    addon: str
    service_account: str
    policy: str = ""


EBS: Final = Driver("aws-ebs-csi-driver", "ebs-csi-controller-sa", "service-role/AmazonEBSCSIDriverPolicy")
EFS: Final = Driver("aws-efs-csi-driver", "efs-csi-controller-sa", "service-role/AmazonEFSCSIDriverPolicy")
FSX: Final = Driver("aws-fsx-csi-driver", "fsx-csi-controller-sa", "AmazonFSxFullAccess")
S3: Final = Driver("aws-mountpoint-s3-csi-driver", "s3-csi-driver-sa")


@dataclass(frozen=True, kw_only=True)
class AddonsArgs:
    """Add-ons of a cluster.

    Attributes:
        cluster_name: of the EKS cluster.
        region: where.
        versions: by name; EKS' default where there is none.
        node_monitoring: find broken GPUs and kubelets.
        tags: on everything.
    """

    cluster_name: pulumi.Input[str]
    region: str
    versions: Mapping[str, str] = field(default_factory=dict)
    node_monitoring: bool = True
    tags: Mapping[str, str] = field(default_factory=dict)


class NodeAddons(Component):
    """Add-ons that are there before the first node.

    Attributes:
        addons: node groups are created after them.
    """

    def __init__(self, name: str, args: AddonsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("aws", name, opts)
        self.addons: tuple[pulumi.Resource, ...] = tuple(
            create_addon(self, f"{name}-{addon}", addon, args) for addon in BEFORE_NODES
        )
        self.register_outputs({"addons": list(BEFORE_NODES)})


class PodAddons(Component):
    """Add-ons that need a node to run on.

    Attributes:
        addons: what runs in the cluster is created after them.
    """

    def __init__(
        self,
        name: str,
        args: AddonsArgs,
        opts: pulumi.ResourceOptions | None = None,
        after: Sequence[pulumi.Resource] = (),
    ) -> None:
        super().__init__("aws", name, opts, after)
        plain = ("coredns", *(("eks-node-monitoring-agent",) if args.node_monitoring else ()))
        ebs = create_driver(self, f"{name}-ebs", EBS, args)
        self.addons: tuple[pulumi.Resource, ...] = (
            *(create_addon(self, f"{name}-{addon}", addon, args) for addon in plain),
            ebs,
        )
        self.register_outputs({"addons": [*plain, EBS.addon]})


def create_driver(
    parent: Component, name: str, driver: Driver, args: AddonsArgs, role: PodRole | None = None
) -> eks.Addon:
    """An add-on with a role for its pods.

    Args:
        parent: whose child it is.
        name: prefix of the logical names.
        driver: which.
        args: of the cluster.
        role: of its pods; None: made here, with the policy that AWS keeps.
    """
    role = role or PodRole(
        f"{name}-driver",
        PodRoleArgs(
            region=args.region,
            cluster_name=args.cluster_name,
            namespace="kube-system",
            service_account=driver.service_account,
            managed_policies=(driver.policy,),
            associate=False,
            tags=args.tags,
        ),
        parent.child(),
    )
    association = eks.AddonPodIdentityAssociationArgs(role_arn=role.role.arn, service_account=driver.service_account)
    return create_addon(
        parent, f"{name}-{driver.addon}", driver.addon, args, associations=[association], after=role.ready
    )


def create_addon(
    parent: Component,
    name: str,
    addon: str,
    args: AddonsArgs,
    *,
    associations: Sequence[eks.AddonPodIdentityAssociationArgs] = (),
    after: Sequence[pulumi.Resource] = (),
) -> eks.Addon:
    """One add-on, in EKS' default version unless one is named."""
    return eks.Addon(
        name,
        cluster_name=args.cluster_name,
        addon_name=addon,
        addon_version=args.versions.get(addon),
        configuration_values=json.dumps(CONFIGURATION[addon]) if addon in CONFIGURATION else None,
        pod_identity_associations=list(associations) or None,
        resolve_conflicts_on_create="OVERWRITE",
        # What an operator of the cluster has set by hand stays.
        resolve_conflicts_on_update="PRESERVE",
        tags=dict(args.tags),
        opts=parent.child(*after),
    )
