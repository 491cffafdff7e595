"""A cluster on EKS: exactly which resources with which inputs.

Does not prove that AWS accepts them (tests/contract asks AWS' own API model), nor order and parents (tests/engine).
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from ipaddress import ip_network

import pytest

from components.accelerators.node_images import NodeImage
from components.clouds.aws.cloud import CLOUD, EksHandle
from components.clouds.aws.network import subnet_blocks
from components.clouds.aws.settings import AwsSettings, NatGateways
from components.cluster import ClusterArgs
from tests.unit.components.aws.aws_samples import CLUSTER, TAGS
from tests.unit.conftest import Engine

pytestmark = pytest.mark.unit

ZONES = "abc"


def create(engine: Engine, args: ClusterArgs = CLUSTER) -> EksHandle:
    handle = engine.run(lambda: CLOUD.create_cluster("prod", args))
    assert isinstance(handle, EksHandle)
    return handle


def types(engine: Engine) -> Counter[str]:
    return Counter(item.type for item in engine.seen if not item.is_component)


def test_everything_of_a_cluster(engine: Engine) -> None:
    create(engine)
    assert types(engine) == Counter(
        {
            "pulumi:providers:aws": 1,
            "aws:ec2/vpc:Vpc": 1,
            "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": 1,
            "aws:ec2/subnet:Subnet": 6,
            "aws:ec2/internetGateway:InternetGateway": 1,
            "aws:ec2/routeTable:RouteTable": 4,
            "aws:ec2/route:Route": 4,
            "aws:ec2/routeTableAssociation:RouteTableAssociation": 6,
            "aws:ec2/eip:Eip": 1,
            "aws:ec2/natGateway:NatGateway": 1,
            "aws:ec2/vpcEndpoint:VpcEndpoint": 1,
            "aws:kms/key:Key": 1,
            "aws:kms/alias:Alias": 1,
            "aws:cloudwatch/logGroup:LogGroup": 1,
            "aws:iam/role:Role": 3,  # control plane, nodes, EBS driver
            "aws:iam/rolePolicyAttachment:RolePolicyAttachment": 5,
            "aws:eks/cluster:Cluster": 1,
            "aws:ec2/launchTemplate:LaunchTemplate": 1,
            "aws:eks/nodeGroup:NodeGroup": 1,
            "aws:eks/addon:Addon": 6,
            "pulumi:providers:kubernetes": 1,
            "kubernetes:storage.k8s.io/v1:StorageClass": 1,
        }
    )
    assert engine.components() == Counter(
        {
            ("inference-platform:aws:Network", "prod-network"): 1,
            ("inference-platform:aws:EksCluster", "prod"): 1,
            ("inference-platform:aws:ServiceRole", "prod-control-plane"): 1,
            ("inference-platform:aws:ServiceRole", "prod-node"): 1,
            ("inference-platform:aws:NodeAddons", "prod-node-addons"): 1,
            ("inference-platform:aws:SystemNodePool", "prod-system"): 1,
            ("inference-platform:aws:PodAddons", "prod-addons"): 1,
            ("inference-platform:aws:PodRole", "prod-addons-ebs-driver"): 1,
            ("inference-platform:aws:ClusterAccess", "prod"): 1,
        }
    )


def test_the_control_plane(engine: Engine) -> None:
    create(engine)
    assert engine.one(":Cluster", "prod") == {
        "name": "inference-prod",
        "version": "1.35",
        "roleArn": "arn:aws:iam:us-east-1:123456789012:prod-control-plane",
        "vpcConfig": {
            "subnetIds": [f"prod-network-private-{zone}-id" for zone in ZONES],
            "endpointPrivateAccess": True,
            "endpointPublicAccess": True,
        },
        "accessConfig": {"authenticationMode": "API", "bootstrapClusterCreatorAdminPermissions": True},
        "encryptionConfig": {
            "provider": {"keyArn": "arn:aws:kms:us-east-1:123456789012:prod-secrets"},
            "resources": ["secrets"],
        },
        "enabledClusterLogTypes": ["api", "audit", "authenticator"],
        "bootstrapSelfManagedAddons": False,
        "upgradePolicy": {"supportType": "STANDARD"},
        "deletionProtection": False,
        "tags": TAGS,
    }
    assert engine.one(":Key", "prod-secrets")["enableKeyRotation"] is True
    assert engine.one(":Alias", "prod-secrets")["name"] == "alias/inference-prod"
    logs = engine.one(":LogGroup", "prod-logs")
    assert (logs["name"], logs["retentionInDays"]) == ("/aws/eks/inference-prod/cluster", 90)


def test_a_private_protected_cluster_without_logs(engine: Engine) -> None:
    create(engine, replace(CLUSTER, private_endpoint=True, deletion_protection=True, audit_logs=False))
    cluster = engine.one(":Cluster", "prod")
    assert cluster["vpcConfig"]["endpointPublicAccess"] is False
    assert cluster["vpcConfig"]["endpointPrivateAccess"] is True
    assert cluster["deletionProtection"] is True
    assert cluster["enabledClusterLogTypes"] == []
    assert types(engine)["aws:cloudwatch/logGroup:LogGroup"] == 0


def test_only_some_networks_reach_the_public_address(engine: Engine) -> None:
    create(engine, replace(CLUSTER, authorized_networks=("203.0.113.0/24",)))
    assert engine.one(":Cluster", "prod")["vpcConfig"]["publicAccessCidrs"] == ["203.0.113.0/24"]


def test_admins_have_access_entries(engine: Engine) -> None:
    roles = ("arn:aws:iam::123456789012:role/ops", "arn:aws:iam::123456789012:user/ops")
    create(engine, replace(CLUSTER, settings=AwsSettings(admins=roles)))
    entries = [item.inputs for item in engine.seen if item.type.endswith(":AccessEntry")]
    grants = [item.inputs for item in engine.seen if item.type.endswith(":AccessPolicyAssociation")]
    assert {entry["principalArn"] for entry in entries} == set(roles)
    assert [(grant["policyArn"], grant["accessScope"]) for grant in grants] == [
        ("arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy", {"type": "cluster"})
    ] * 2


def test_subnets_say_what_load_balancers_look_for(engine: Engine) -> None:
    create(engine)
    assert engine.one(":Subnet", "prod-network-private-b") == {
        "vpcId": "prod-network-vpc-id",
        "availabilityZone": "us-east-1b",
        "cidrBlock": "10.64.64.0/18",
        "tags": {
            **TAGS,
            "Name": "prod-network-private-b",
            "kubernetes.io/role/internal-elb": "1",
            "kubernetes.io/cluster/inference-prod": "shared",
        },
    }
    public = engine.one(":Subnet", "prod-network-public-c")
    assert public["cidrBlock"] == "10.64.224.0/20"
    assert public["tags"]["kubernetes.io/role/elb"] == "1"


def test_one_nat_for_all_zones_or_one_in_each(engine: Engine) -> None:
    create(engine)
    routes = [engine.one(":Route", f"prod-network-private-{zone}-internet")["natGatewayId"] for zone in ZONES]
    assert routes == ["prod-network-nat-a-id"] * 3


def test_each_zone_has_a_nat_of_its_own(engine: Engine) -> None:
    create(engine, replace(CLUSTER, settings=AwsSettings(nat_gateways=NatGateways.PER_ZONE)))
    routes = [engine.one(":Route", f"prod-network-private-{zone}-internet")["natGatewayId"] for zone in ZONES]
    assert routes == [f"prod-network-nat-{zone}-id" for zone in ZONES]


@pytest.mark.parametrize("cidr", ["10.64.0.0/16", "192.168.16.0/20"])
@pytest.mark.parametrize("zones", [2, 3])
def test_blocks_lie_in_the_network_and_apart(cidr: str, zones: int) -> None:
    private, public = subnet_blocks(cidr, zones)
    blocks = [ip_network(block) for block in (*private, *public)]
    assert len(private) == len(public) == zones
    assert all(block.subnet_of(ip_network(cidr)) for block in blocks)  # type: ignore[arg-type]
    assert not any(one.overlaps(other) for one in blocks for other in blocks if one is not other)


def test_system_nodes_have_no_taint(engine: Engine) -> None:
    create(engine)
    group = engine.one(":NodeGroup", "prod-system")
    assert "taints" not in group
    assert group["labels"] == {"inference.platform/node-pool": "system"}
    assert group["instanceTypes"] == ["m7i.xlarge"]
    assert group["amiType"] == "AL2023_x86_64_STANDARD"
    assert group["scalingConfig"] == {"minSize": 2, "maxSize": 6, "desiredSize": 2}
    assert group["nodeGroupNamePrefix"] == "system-"


def test_add_ons_and_their_identities(engine: Engine) -> None:
    create(engine, replace(CLUSTER, settings=AwsSettings(addon_versions={"coredns": "v1.13.1-eksbuild.1"})))
    addons = {item.inputs["addonName"]: item.inputs for item in engine.seen if item.type.endswith(":Addon")}
    assert set(addons) == {
        "vpc-cni",
        "kube-proxy",
        "eks-pod-identity-agent",
        "coredns",
        "eks-node-monitoring-agent",
        "aws-ebs-csi-driver",
    }
    assert addons["coredns"]["addonVersion"] == "v1.13.1-eksbuild.1"
    assert "addonVersion" not in addons["vpc-cni"]
    values = {name: item["configurationValues"] for name, item in addons.items() if "configurationValues" in item}
    assert values == {"vpc-cni": '{"enableNetworkPolicy": "true"}'}, "or a closed namespace is open"
    assert addons["aws-ebs-csi-driver"]["podIdentityAssociations"] == [
        {
            "roleArn": "arn:aws:iam:us-east-1:123456789012:prod-addons-ebs-driver",
            "serviceAccount": "ebs-csi-controller-sa",
        }
    ]
    role = engine.one(":Role", "prod-addons-ebs-driver")
    (statement,) = json.loads(role["assumeRolePolicy"])["Statement"]
    assert statement == {
        "Effect": "Allow",
        "Principal": {"Service": "pods.eks.amazonaws.com"},
        "Action": ["sts:AssumeRole", "sts:TagSession"],
    }


def test_policies_of_other_partitions(engine: Engine) -> None:
    create(engine, replace(CLUSTER, region="us-gov-west-1"))
    arns = [item.inputs["policyArn"] for item in engine.seen if item.type.endswith(":RolePolicyAttachment")]
    assert all(arn.startswith("arn:aws-us-gov:iam::aws:policy/") for arn in arns)


def test_access_is_a_secret_without_a_key(engine: Engine) -> None:
    handle = create(engine)
    secret: list[bool] = []
    text: list[str] = []

    async def look() -> None:
        assert not isinstance(handle.kubeconfig, str)
        secret.append(await handle.kubeconfig.is_secret())  # type: ignore[union-attr]
        text.append(await handle.kubeconfig.future())  # type: ignore[union-attr,arg-type]

    import asyncio

    asyncio.get_event_loop().run_until_complete(look())
    config = json.loads(text[0])
    assert secret == [True]
    assert config["clusters"][0]["cluster"] == {
        "server": "https://ABC.gr7.us-east-1.eks.amazonaws.com",
        "certificate-authority-data": "Y2E=",
    }
    user = config["users"][0]["user"]
    assert set(user) == {"exec"}
    assert user["exec"]["args"][:4] == ["eks", "get-token", "--cluster-name", "inference-prod"]


def test_the_default_storage_class_is_encrypted(engine: Engine) -> None:
    create(engine)
    made = engine.one(":StorageClass", "prod-gp3")
    assert made["metadata"]["annotations"] == {"storageclass.kubernetes.io/is-default-class": "true"}
    assert made["parameters"] == {"type": "gp3", "encrypted": "true"}
    assert made["volumeBindingMode"] == "WaitForFirstConsumer"


def test_the_gateway_is_inside_unless_said_otherwise(engine: Engine) -> None:
    inside = create(engine).gateway
    assert inside.service_type == "LoadBalancer"
    assert inside.annotations["service.beta.kubernetes.io/aws-load-balancer-internal"] == "true"


def test_the_gateway_can_be_public(engine: Engine) -> None:
    public = create(engine, replace(CLUSTER, settings=AwsSettings(public_gateway=True))).gateway
    assert "service.beta.kubernetes.io/aws-load-balancer-internal" not in public.annotations


def test_the_cluster_brings_none_of_what_others_install(engine: Engine) -> None:
    handle = create(engine)
    assert handle.provides == frozenset()
    # Driver and container toolkit are in the image; the device plugin is not.
    assert handle.node_image is NodeImage.EKS_AL2023_NVIDIA
