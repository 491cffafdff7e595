"""Who may do what: roles of the control plane, of nodes and of pods (EKS Pod Identity)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
from pulumi_aws import eks, iam

from components.base import Component
from components.clouds.aws.names import ROLE_PREFIX, prefix
from components.clouds.aws.places import managed_policy

Statement = Mapping[str, Any]


def policy_document(statements: Sequence[Statement]) -> str:
    """An IAM policy as JSON."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def trust(service: str, *actions: str) -> str:
    """The policy by which a service takes a role.

    Args:
        service: its principal, e.g. ec2.amazonaws.com.
        actions: of STS; default sts:AssumeRole.
    """
    return policy_document(
        [{"Effect": "Allow", "Principal": {"Service": service}, "Action": list(actions) or ["sts:AssumeRole"]}]
    )


@dataclass(frozen=True, kw_only=True)
class ServiceRoleArgs:
    """A role that a service of AWS takes.

    Attributes:
        region: decides on the partition of ARNs.
        service: principal that takes it.
        managed_policies: names of policies that AWS keeps, e.g. AmazonEKSClusterPolicy.
        tags: on the role.
    """

    region: str
    service: str
    managed_policies: Sequence[str]
    tags: Mapping[str, str] = field(default_factory=dict)


class ServiceRole(Component):
    """A role of the control plane or of nodes.

    Attributes:
        role: for what takes it.
        policies: what must be attached before it is used.
    """

    def __init__(self, name: str, args: ServiceRoleArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("aws", name, opts)
        self.role = iam.Role(
            name,
            name_prefix=prefix(name, ROLE_PREFIX),
            assume_role_policy=trust(args.service),
            tags=dict(args.tags),
            opts=self.child(),
        )
        self.policies: tuple[pulumi.Resource, ...] = tuple(
            iam.RolePolicyAttachment(
                f"{name}-{policy}",
                role=self.role.name,
                policy_arn=managed_policy(args.region, policy),
                opts=self.child(),
            )
            for policy in args.managed_policies
        )
        self.register_outputs({"arn": self.role.arn})


@dataclass(frozen=True, kw_only=True)
class PodRoleArgs:
    """A role that pods of one service account take, through EKS Pod Identity.

    Attributes:
        region: decides on the partition of ARNs.
        cluster_name: whose pods.
        namespace: of the service account.
        service_account: its name.
        managed_policies: names of policies that AWS keeps.
        statements: of a policy of its own; an output, since they name resources; None for no such policy.
        associate: False where an EKS add-on associates the role with its service account by itself.
        tags: on the role.
    """

    region: str
    cluster_name: pulumi.Input[str]
    namespace: str
    service_account: str
    managed_policies: Sequence[str] = ()
    statements: pulumi.Input[Sequence[Statement]] | None = None
    associate: bool = True
    tags: Mapping[str, str] = field(default_factory=dict)


class PodRole(Component):
    """What pods of one service account may do at AWS.

    Attributes:
        role: theirs.
        ready: what must be there before the pods start: they get credentials only if it is.
    """

    def __init__(
        self,
        name: str,
        args: PodRoleArgs,
        opts: pulumi.ResourceOptions | None = None,
        after: Sequence[pulumi.Resource] = (),
    ) -> None:
        super().__init__("aws", name, opts, after)
        self.role = iam.Role(
            name,
            name_prefix=prefix(name, ROLE_PREFIX),
            assume_role_policy=trust("pods.eks.amazonaws.com", "sts:AssumeRole", "sts:TagSession"),
            tags=dict(args.tags),
            opts=self.child(),
        )
        ready: list[pulumi.Resource] = [
            iam.RolePolicyAttachment(
                f"{name}-{policy.rpartition('/')[2]}",
                role=self.role.name,
                policy_arn=managed_policy(args.region, policy),
                opts=self.child(),
            )
            for policy in args.managed_policies
        ]
        if args.statements is not None:
            ready.append(
                iam.RolePolicy(
                    f"{name}-policy",
                    name=args.service_account,
                    role=self.role.name,
                    policy=pulumi.Output.from_input(args.statements).apply(policy_document),
                    opts=self.child(),
                )
            )
        if args.associate:
            ready.append(
                eks.PodIdentityAssociation(
                    f"{name}-association",
                    cluster_name=args.cluster_name,
                    namespace=args.namespace,
                    service_account=args.service_account,
                    role_arn=self.role.arn,
                    tags=dict(args.tags),
                    opts=self.child(),
                )
            )
        self.ready: tuple[pulumi.Resource, ...] = tuple(ready)
        self.register_outputs({"arn": self.role.arn})
