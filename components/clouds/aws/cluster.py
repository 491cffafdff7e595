"""The EKS cluster: control plane, encryption of secrets, logs, who administers it, and what gives access to it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import pulumi
from pulumi_aws import cloudwatch, eks, kms

from components.base import Component
from components.clouds.aws.identity import ServiceRole, ServiceRoleArgs
from components.clouds.aws.places import partition
from components.clouds.names import digest

LOGS: Final = ("api", "audit", "authenticator")
"""The control plane's logs that say who did what; scheduler and controller manager say nothing of that."""

KEY_DELETION_DAYS: Final = 7
"""Shortest that KMS allows; a destroyed cluster's key is of no use to anyone."""


@dataclass(frozen=True, kw_only=True)
class EksClusterArgs:
    """A control plane.

    Attributes:
        cluster_name: at AWS; known before the cluster is there, since names of others are made of it.
        region: where.
        version: of Kubernetes, minor.
        subnet_ids: private subnets of at least two zones.
        private_endpoint: the API server has no public address.
        authorized_networks: CIDRs that may reach the public address; empty: all.
        audit_logs: keep what the API server was asked, and by whom.
        log_retention_days: for how long.
        deletion_protection: EKS refuses to delete it.
        admins: ARNs of roles and users that administer it, besides its creator.
        tags: on everything.
    """

    cluster_name: str
    region: str
    version: str
    subnet_ids: Sequence[pulumi.Input[str]]
    private_endpoint: bool = False
    authorized_networks: Sequence[str] = ()
    audit_logs: bool = True
    log_retention_days: int = 90
    deletion_protection: bool = False
    admins: Sequence[str] = ()
    tags: Mapping[str, str] = field(default_factory=dict)


class EksCluster(Component):
    """A control plane.

    Attributes:
        cluster: at EKS.
        security_group_id: of control plane and nodes; EKS makes it with the cluster.
        kubeconfig: with the AWS command line as credential helper; a secret.
    """

    def __init__(
        self,
        name: str,
        args: EksClusterArgs,
        opts: pulumi.ResourceOptions | None = None,
        after: Sequence[pulumi.Resource] = (),
    ) -> None:
        super().__init__("aws", name, opts, after)
        role = ServiceRole(
            f"{name}-control-plane",
            ServiceRoleArgs(
                region=args.region,
                service="eks.amazonaws.com",
                managed_policies=("AmazonEKSClusterPolicy",),
                tags=args.tags,
            ),
            self.child(),
        )
        key = kms.Key(
            f"{name}-secrets",
            description=f"Kubernetes secrets of {args.cluster_name}",
            enable_key_rotation=True,
            deletion_window_in_days=KEY_DELETION_DAYS,
            tags=dict(args.tags),
            opts=self.child(),
        )
        kms.Alias(f"{name}-secrets", name=f"alias/{args.cluster_name}", target_key_id=key.key_id, opts=self.child())
        logs = self._logs(name, args)
        self.cluster = eks.Cluster(
            name,
            name=args.cluster_name,
            version=args.version,
            role_arn=role.role.arn,
            vpc_config=eks.ClusterVpcConfigArgs(
                subnet_ids=list(args.subnet_ids),
                endpoint_private_access=True,
                endpoint_public_access=not args.private_endpoint,
                public_access_cidrs=None if args.private_endpoint else list(args.authorized_networks) or None,
            ),
            access_config=eks.ClusterAccessConfigArgs(
                authentication_mode="API", bootstrap_cluster_creator_admin_permissions=True
            ),
            encryption_config=eks.ClusterEncryptionConfigArgs(
                provider=eks.ClusterEncryptionConfigProviderArgs(key_arn=key.arn), resources=["secrets"]
            ),
            enabled_cluster_log_types=list(LOGS) if args.audit_logs else [],
            # CNI, kube-proxy and CoreDNS come as add-ons, which have versions and an owner.
            bootstrap_self_managed_addons=False,
            upgrade_policy=eks.ClusterUpgradePolicyArgs(support_type="STANDARD"),
            deletion_protection=args.deletion_protection,
            tags=dict(args.tags),
            opts=self.child(*role.policies, *logs),
        )
        self.security_group_id = self.cluster.vpc_config.cluster_security_group_id
        self._admins(name, args)
        found = pulumi.Output.all(self.cluster.endpoint, self.cluster.certificate_authority.data)
        text = found.apply(lambda parts: kubeconfig(args.cluster_name, args.region, parts[0], parts[1]))
        self.kubeconfig: pulumi.Output[str] = pulumi.Output.secret(text)
        self.register_outputs({"name": args.cluster_name, "endpoint": self.cluster.endpoint})

    def _logs(self, name: str, args: EksClusterArgs) -> list[pulumi.Resource]:
        """EKS would make the group by itself, would keep it forever, and would leave it behind."""
        if not args.audit_logs:
            return []
        return [
            cloudwatch.LogGroup(
                f"{name}-logs",
                name=f"/aws/eks/{args.cluster_name}/cluster",
                retention_in_days=args.log_retention_days,
                tags=dict(args.tags),
                opts=self.child(),
            )
        ]

    def _admins(self, name: str, args: EksClusterArgs) -> None:
        policy = f"arn:{partition(args.region)}:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"
        for principal in args.admins:
            part = f"{name}-admin-{digest(principal)}"
            entry = eks.AccessEntry(
                part,
                cluster_name=self.cluster.name,
                principal_arn=principal,
                type="STANDARD",
                tags=dict(args.tags),
                opts=self.child(),
            )
            eks.AccessPolicyAssociation(
                part,
                cluster_name=self.cluster.name,
                principal_arn=principal,
                policy_arn=policy,
                access_scope=eks.AccessPolicyAssociationAccessScopeArgs(type="cluster"),
                opts=self.child(entry),
            )


def kubeconfig(cluster_name: str, region: str, endpoint: str, authority: str) -> str:
    """A kubeconfig whose credentials the AWS command line fetches anew for each use: there is no key in it.

    Args:
        cluster_name: at EKS.
        region: where.
        endpoint: URL of the API server.
        authority: its certificate authority, base64.
    """
    fetch = {
        "apiVersion": "client.authentication.k8s.io/v1beta1",
        "command": "aws",
        "args": ["eks", "get-token", "--cluster-name", cluster_name, "--region", region, "--output", "json"],
        "interactiveMode": "Never",
    }
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": cluster_name, "cluster": {"server": endpoint, "certificate-authority-data": authority}}
            ],
            "users": [{"name": cluster_name, "user": {"exec": fetch}}],
            "contexts": [{"name": cluster_name, "context": {"cluster": cluster_name, "user": cluster_name}}],
            "current-context": cluster_name,
        }
    )
