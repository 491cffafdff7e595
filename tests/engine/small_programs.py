"""Small programs, one per cloud: a network, a cluster, a node pool, and objects in the cluster."""

from __future__ import annotations

IN_CLUSTER = """
import pulumi_kubernetes as k8s

provider = k8s.Provider("in-cluster", kubeconfig=kubeconfig)
inside = pulumi.ResourceOptions(provider=provider)
namespace = k8s.core.v1.Namespace("inference", metadata={"name": "inference"}, opts=inside)
keda = k8s.helm.v3.Release(
    "keda", name="keda", chart="keda", version="2.18.0", namespace=namespace.metadata.name, timeout=600,
    values={"operator": {"replicaCount": 2}}, opts=inside,
)
scaled = k8s.apiextensions.CustomResource(
    "scaled", api_version="keda.sh/v1alpha1", kind="ScaledObject",
    metadata={"name": "chat", "namespace": namespace.metadata.name}, spec={"maxReplicaCount": 4},
    opts=pulumi.ResourceOptions(provider=provider, depends_on=[keda]),
)
pulumi.export("kubeconfig", pulumi.Output.secret(kubeconfig))
"""

HEAD = """
import base64
import json
import pulumi

settings = pulumi.Config()
size = settings.get_int("size") or 1
machine = settings.get("machine")
"""

AWS = (
    HEAD
    + """
import pulumi_aws as aws

account = aws.get_caller_identity().account_id
zones = aws.get_availability_zones(state="available").names
role = aws.iam.Role("role", assume_role_policy=json.dumps({"Statement": []}))
policy = aws.iam.RolePolicyAttachment(
    "policy", role=role.name, policy_arn="arn:aws:iam::aws:policy/AmazonEKSClusterPolicy")
network = aws.ec2.Vpc("network", cidr_block="10.0.0.0/16")
subnets = [
    aws.ec2.Subnet(f"subnet-{zone}", vpc_id=network.id, cidr_block=f"10.0.{index}.0/24", availability_zone=zone)
    for index, zone in enumerate(zones[:2])
]
cluster = aws.eks.Cluster(
    "cluster", name="small", role_arn=role.arn, vpc_config={"subnet_ids": [subnet.id for subnet in subnets]},
    opts=pulumi.ResourceOptions(depends_on=[policy]),
)
pool = aws.eks.NodeGroup(
    "pool", cluster_name=cluster.name, node_role_arn=role.arn, subnet_ids=[subnet.id for subnet in subnets],
    instance_types=[machine or "g6.xlarge"], scaling_config={"desired_size": 0, "min_size": 0, "max_size": size},
    opts=pulumi.ResourceOptions(ignore_changes=["scalingConfig.desiredSize"]),
)
kubeconfig = pulumi.Output.json_dumps({
    "apiVersion": "v1", "kind": "Config", "current-context": "c",
    "clusters": [{"name": "c", "cluster": {
        "server": cluster.endpoint, "certificate-authority-data": cluster.certificate_authority.data}}],
    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}], "users": [{"name": "u", "user": {}}],
})
pulumi.export("account", account)
"""
    + IN_CLUSTER
)

AZURE = (
    HEAD
    + """
import pulumi_azure_native as azure

client = azure.authorization.get_client_config()
group = azure.resources.ResourceGroup("group", location="eastus")
network = azure.network.VirtualNetwork(
    "network", resource_group_name=group.name, address_space={"address_prefixes": ["10.0.0.0/16"]})
subnet = azure.network.Subnet(
    "subnet", resource_group_name=group.name, virtual_network_name=network.name, address_prefix="10.0.0.0/20")
cluster = azure.containerservice.ManagedCluster(
    "cluster", resource_group_name=group.name, resource_name_="small", dns_prefix="small",
    identity={"type": azure.containerservice.ResourceIdentityType.SYSTEM_ASSIGNED},
    oidc_issuer_profile={"enabled": True},
    agent_pool_profiles=[{
        "name": "system", "mode": "System", "count": 1, "vm_size": "Standard_D4s_v5", "vnet_subnet_id": subnet.id}],
)
pool = azure.containerservice.AgentPool(
    "pool", resource_group_name=group.name, resource_name_=cluster.name, agent_pool_name="gpu",
    vm_size=machine or "Standard_NC24ads_A100_v4", mode="User", enable_auto_scaling=True, count=0, min_count=0,
    max_count=size, scale_set_priority=settings.get("priority") or "Regular",
    opts=pulumi.ResourceOptions(ignore_changes=["count"]),
)
credentials = azure.containerservice.list_managed_cluster_user_credentials_output(
    resource_group_name=group.name, resource_name=cluster.name)
kubeconfig = credentials.kubeconfigs[0].value.apply(lambda value: base64.b64decode(value).decode())
pulumi.export("account", client.subscription_id)
pulumi.export("issuer", cluster.oidc_issuer_profile.issuer_url)
"""
    + IN_CLUSTER
)

GCP = (
    HEAD
    + """
import pulumi_gcp as gcp

project = gcp.organizations.get_project()
network = gcp.compute.Network("network", auto_create_subnetworks=False)
subnet = gcp.compute.Subnetwork("subnet", network=network.id, ip_cidr_range="10.0.0.0/20", region="us-central1")
cluster = gcp.container.Cluster(
    "cluster", name="small", location="us-central1", network=network.id, subnetwork=subnet.id,
    remove_default_node_pool=True, initial_node_count=1, deletion_protection=False,
)
pool = gcp.container.NodePool(
    "pool", cluster=cluster.name, location="us-central1", autoscaling={"min_node_count": 0, "max_node_count": size},
    node_config={
        "machine_type": "g2-standard-8", "spot": machine == "spot",
        "guest_accelerators": [{"type": "nvidia-l4", "count": 1}]},
)
kubeconfig = pulumi.Output.json_dumps({
    "apiVersion": "v1", "kind": "Config", "current-context": "c",
    "clusters": [{"name": "c", "cluster": {
        "server": pulumi.Output.concat("https://", cluster.endpoint),
        "certificate-authority-data": cluster.master_auth.cluster_ca_certificate}}],
    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}], "users": [{"name": "u", "user": {}}],
})
pulumi.export("account", project.project_id)
"""
    + IN_CLUSTER
)
