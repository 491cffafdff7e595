"""What Karpenter may do at AWS: make and end machines that carry its own cluster's tags, and read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from components.clouds.aws.identity import Statement
from components.clouds.aws.places import partition

MADE: Final = ("fleet", "instance", "volume", "network-interface", "launch-template", "spot-instances-request")
USED: Final = ("security-group", "subnet", "capacity-reservation", "placement-group")
READ: Final = (
    "ec2:DescribeCapacityReservations",
    "ec2:DescribeImages",
    "ec2:DescribeInstanceStatus",
    "ec2:DescribeInstanceTypeOfferings",
    "ec2:DescribeInstanceTypes",
    "ec2:DescribeInstances",
    "ec2:DescribeLaunchTemplates",
    "ec2:DescribePlacementGroups",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSpotPriceHistory",
    "ec2:DescribeSubnets",
)


def statements(cluster_name: str, region: str, *, queue_arn: str, node_role_arn: str) -> Sequence[Statement]:
    """The controller's policy.

    Narrower than Karpenter's own by the instance profiles: they are made beforehand, so that it may make none.

    Args:
        cluster_name: of the EKS cluster; everything that it makes carries a tag with it.
        region: where it may work.
        queue_arn: where it reads notices.
        node_role_arn: the only role that it may give to machines.

    Source: aws/karpenter-provider-aws@1d92708 website/content/en/docs/reference/cloudformation.md.
    """
    ec2 = f"arn:{partition(region)}:ec2:{region}"
    owned = f"kubernetes.io/cluster/{cluster_name}"
    by_request = {
        "StringEquals": {
            f"aws:RequestTag/{owned}": "owned",
            "aws:RequestTag/eks:eks-cluster-name": cluster_name,
        },
        "StringLike": {"aws:RequestTag/karpenter.sh/nodepool": "*"},
    }
    by_resource = {
        "StringEquals": {f"aws:ResourceTag/{owned}": "owned"},
        "StringLike": {"aws:ResourceTag/karpenter.sh/nodepool": "*"},
    }
    made = [f"{ec2}:*:{kind}/*" for kind in MADE]
    return [
        _allow(
            "UseWhatIsThere",
            ["ec2:RunInstances", "ec2:CreateFleet"],
            [f"{ec2}::image/*", f"{ec2}::snapshot/*", *(f"{ec2}:*:{kind}/*" for kind in USED)],
        ),
        _allow("UseOwnTemplates", ["ec2:RunInstances", "ec2:CreateFleet"], [f"{ec2}:*:launch-template/*"], by_resource),
        _allow(
            "MakeTaggedMachines", ["ec2:RunInstances", "ec2:CreateFleet", "ec2:CreateLaunchTemplate"], made, by_request
        ),
        _allow(
            "TagWhatItMakes",
            ["ec2:CreateTags"],
            made,
            {
                **by_request,
                "StringEquals": {
                    **by_request["StringEquals"],
                    "ec2:CreateAction": ["RunInstances", "CreateFleet", "CreateLaunchTemplate"],
                },
            },
        ),
        _allow(
            "NameOwnMachines",
            ["ec2:CreateTags"],
            [f"{ec2}:*:instance/*"],
            {
                **by_resource,
                "StringEqualsIfExists": {"aws:RequestTag/eks:eks-cluster-name": cluster_name},
                "ForAllValues:StringEquals": {
                    "aws:TagKeys": ["eks:eks-cluster-name", "karpenter.sh/nodeclaim", "Name"]
                },
            },
        ),
        _allow(
            "EndOwnMachines",
            ["ec2:TerminateInstances", "ec2:DeleteLaunchTemplate"],
            [f"{ec2}:*:instance/*", f"{ec2}:*:launch-template/*"],
            by_resource,
        ),
        _allow("Look", READ, "*", {"StringEquals": {"aws:RequestedRegion": region}}),
        _allow("LookUpImages", ["ssm:GetParameter"], f"arn:{partition(region)}:ssm:{region}::parameter/aws/service/*"),
        _allow("LookUpPrices", ["pricing:GetProducts"], "*"),
        _allow("LookUpProfiles", ["iam:GetInstanceProfile", "iam:ListInstanceProfiles"], "*"),
        _allow(
            "GiveNodesTheirRole",
            ["iam:PassRole"],
            node_role_arn,
            {"StringEquals": {"iam:PassedToService": ["ec2.amazonaws.com", "ec2.amazonaws.com.cn"]}},
        ),
        _allow(
            "FindTheCluster",
            ["eks:DescribeCluster"],
            f"arn:{partition(region)}:eks:{region}:*:cluster/{cluster_name}",
        ),
        _allow("ReadNotices", ["sqs:DeleteMessage", "sqs:GetQueueUrl", "sqs:ReceiveMessage"], queue_arn),
    ]


def _allow(
    sid: str, actions: Sequence[str], resources: str | Sequence[str], condition: Statement | None = None
) -> Statement:
    found = {
        "Sid": sid,
        "Effect": "Allow",
        "Action": list(actions),
        "Resource": resources if isinstance(resources, str) else list(resources),
    }
    return found if condition is None else {**found, "Condition": condition}
