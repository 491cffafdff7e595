"""Karpenter: makes machines for pods that wait, and takes them away when they are empty."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pulumi
from pulumi_aws import cloudwatch, eks, iam, sqs
from pulumi_kubernetes.helm.v3 import Release

from components.base import Component
from components.clouds.aws.identity import PodRole, PodRoleArgs, ServiceRole, ServiceRoleArgs, policy_document
from components.clouds.aws.karpenter_policy import statements
from components.clouds.aws.names import QUEUE_PREFIX, ROLE_PREFIX, prefix
from components.labels import NODE_POOL
from components.scheduling import SYSTEM_POOL
from components.versions import KARPENTER_CHART_VERSION

NAMESPACE: Final = "kube-system"
NAME: Final = "karpenter"
CHARTS: Final = "oci://public.ecr.aws/karpenter"
TIMEOUT_SECONDS: Final = 600
MESSAGE_SECONDS: Final = 300
"""How long a notice is worth reading; a spot machine is gone after 120."""

NOTICES: Final[Mapping[str, tuple[str, str]]] = {
    "spot": ("aws.ec2", "EC2 Spot Instance Interruption Warning"),
    "rebalance": ("aws.ec2", "EC2 Instance Rebalance Recommendation"),
    "state": ("aws.ec2", "EC2 Instance State-change Notification"),
    "reservation": ("aws.ec2", "EC2 Capacity Reservation Instance Interruption Warning"),
    "health": ("aws.health", "AWS Health Event"),
}
"""What Karpenter wants to be told by EventBridge: source and kind of event, by a name for the rule.

Source: aws/karpenter-provider-aws@1d92708 website/content/en/docs/reference/cloudformation.md.
"""


@dataclass(frozen=True, kw_only=True)
class KarpenterArgs:
    """Karpenter on a cluster.

    Attributes:
        cluster_name: of the EKS cluster.
        region: where.
        node_policies: names of policies that AWS keeps, for the nodes' role.
        replicas: of the controller; each on a node of its own.
        tags: on everything.
    """

    cluster_name: str
    region: str
    node_policies: Sequence[str]
    replicas: int = 2
    tags: Mapping[str, str] = field(default_factory=dict)


class Karpenter(Component):
    """Controller, its role, its nodes' role, and the queue that tells it of interruptions.

    Attributes:
        release: the controller; node pools are made after it and go before it.
        instance_profile: of its nodes.
    """

    def __init__(
        self,
        name: str,
        args: KarpenterArgs,
        opts: pulumi.ResourceOptions | None = None,
        after: Sequence[pulumi.Resource] = (),
    ) -> None:
        super().__init__("aws", name, opts, after)
        queue, notices = self._queue(name, args)
        nodes = ServiceRole(
            f"{name}-node",
            ServiceRoleArgs(
                region=args.region,
                service="ec2.amazonaws.com",
                managed_policies=args.node_policies,
                tags=args.tags,
            ),
            self.child(),
        )
        profile = iam.InstanceProfile(
            f"{name}-node",
            name_prefix=prefix(f"{name}-node", ROLE_PREFIX),
            role=nodes.role.name,
            tags=dict(args.tags),
            opts=self.child(),
        )
        self.instance_profile = profile.name
        # EKS lets nodes of its own groups in by itself, these not.
        entry = eks.AccessEntry(
            f"{name}-node",
            cluster_name=args.cluster_name,
            principal_arn=nodes.role.arn,
            type="EC2_LINUX",
            tags=dict(args.tags),
            opts=self.child(),
        )
        allowed = pulumi.Output.all(queue.arn, nodes.role.arn).apply(
            lambda arns: statements(args.cluster_name, args.region, queue_arn=arns[0], node_role_arn=arns[1])
        )
        role = PodRole(
            name,
            PodRoleArgs(
                region=args.region,
                cluster_name=args.cluster_name,
                namespace=NAMESPACE,
                service_account=NAME,
                statements=allowed,
                tags=args.tags,
            ),
            self.child(),
            after,
        )
        definitions = self._release(name, "karpenter-crd", {})
        self.release = self._release(
            name, "karpenter", values(args, queue.name), definitions, entry, *nodes.policies, *role.ready, *notices
        )
        self.register_outputs({"release": self.release.name})

    def _release(self, name: str, chart: str, chart_values: Mapping[str, Any], *after: pulumi.Resource) -> Release:
        return Release(
            f"{name}-release" if chart == NAME else f"{name}-definitions",
            name=chart,
            namespace=NAMESPACE,
            chart=f"{CHARTS}/{chart}",
            version=KARPENTER_CHART_VERSION,
            values=dict(chart_values),
            # The chart of the controller brings the definitions too, and would never bring them up to date.
            skip_crds=chart == NAME,
            timeout=TIMEOUT_SECONDS,
            cleanup_on_fail=True,
            opts=self.child(*after),
        )

    def _queue(self, name: str, args: KarpenterArgs) -> tuple[sqs.Queue, list[pulumi.Resource]]:
        queue = sqs.Queue(
            f"{name}-notices",
            name_prefix=prefix(args.cluster_name, QUEUE_PREFIX),
            message_retention_seconds=MESSAGE_SECONDS,
            sqs_managed_sse_enabled=True,
            tags=dict(args.tags),
            opts=self.child(),
        )
        made: list[pulumi.Resource] = [
            sqs.QueuePolicy(
                f"{name}-notices",
                queue_url=queue.url,
                policy=queue.arn.apply(_queue_policy),
                opts=self.child(),
            )
        ]
        for kind, (source, detail) in NOTICES.items():
            rule = cloudwatch.EventRule(
                f"{name}-{kind}",
                name_prefix=prefix(f"{args.cluster_name}-{kind}", ROLE_PREFIX),
                event_pattern=json.dumps({"source": [source], "detail-type": [detail]}),
                tags=dict(args.tags),
                opts=self.child(),
            )
            made.append(cloudwatch.EventTarget(f"{name}-{kind}", rule=rule.name, arn=queue.arn, opts=self.child()))
        return queue, made


def values(args: KarpenterArgs, queue: pulumi.Input[str]) -> dict[str, Any]:
    """Values of the chart karpenter."""
    return {
        "replicas": args.replicas,
        "serviceAccount": {"create": True, "name": NAME},
        "nodeSelector": {NODE_POOL: SYSTEM_POOL},
        "settings": {"clusterName": args.cluster_name, "interruptionQueue": queue},
        "controller": {
            # The metadata service, where it would look its region up, is out of pods' reach.
            "env": [{"name": "AWS_REGION", "value": args.region}],
            "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"memory": "1Gi"}},
        },
    }


def _queue_policy(arn: str) -> str:
    return policy_document(
        [
            {
                "Effect": "Allow",
                "Principal": {"Service": ["events.amazonaws.com", "sqs.amazonaws.com"]},
                "Action": "sqs:SendMessage",
                "Resource": arn,
            },
            {
                "Effect": "Deny",
                "Principal": "*",
                "Action": "sqs:*",
                "Resource": arn,
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            },
        ]
    )
