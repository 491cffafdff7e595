"""An AKS cluster and what is around it: exact children, and inputs by setting.

Does not prove that Azure accepts them (tests/contract reads its API models), nor parents, order and protection (the
engine tests do).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pulumi
import pytest

from components.accelerators.node_images import NodeImage
from components.base import Component
from components.clouds import load_cloud
from components.clouds.azure.cloud import AzureCloud
from components.clouds.azure.handle import AzureClusterHandle, azure_handle
from components.clouds.gcp.settings import GcpSettings
from components.cluster import Capability
from components.versions import AZURE_KUBERNETES_VERSION
from tests.unit.components.azure_samples import (
    GROUP,
    SUBSCRIPTION,
    AzureEngine,
    awaited,
    azure_engine,
    build,
    cluster_args,
    made,
    pool_args,
)
from tests.unit.components.samples import cluster as other_cluster

pytestmark = pytest.mark.unit


@pytest.fixture
def engine() -> Iterator[AzureEngine]:
    with azure_engine() as made:
        yield made


def test_a_cluster_is_exactly_this(engine: AzureEngine) -> None:
    engine.run(build)
    azure = "azure-native"
    assert engine.children() == Counter(
        {
            (f"{azure}:resources:ResourceGroup", "prod-group"): 1,
            (f"{azure}:network:VirtualNetwork", "prod-network-vnet"): 1,
            (f"{azure}:network:Subnet", "prod-network-nodes"): 1,
            (f"{azure}:managedidentity:UserAssignedIdentity", "prod-identity-control-plane"): 1,
            (f"{azure}:authorization:RoleAssignment", "prod-identity-network"): 1,
            (f"{azure}:keyvault:Vault", "prod-secrets-vault"): 1,
            (f"{azure}:keyvault:Key", "prod-secrets-key"): 1,
            (f"{azure}:authorization:RoleAssignment", "prod-secrets-user"): 1,
            (f"{azure}:containerservice:ManagedCluster", "prod-cluster"): 1,
            (f"{azure}:operationalinsights:Workspace", "prod-audit-workspace"): 1,
            (f"{azure}:monitor:DiagnosticSetting", "prod-audit-setting"): 1,
            ("pulumi:providers:kubernetes", "prod-provider"): 1,
            ("kubernetes:core/v1:ConfigMap", "prod-autoscaler-priorities"): 1,
        }
    )
    assert engine.components() == Counter(
        {
            (f"inference-platform:azure:{kind}", name): 1
            for kind, name in (
                ("AzureCluster", "prod"),
                ("Network", "prod-network"),
                ("ClusterIdentity", "prod-identity"),
                ("SecretsKey", "prod-secrets"),
                ("AuditLog", "prod-audit"),
            )
        }
    )


def test_the_cluster_by_default(engine: AzureEngine) -> None:
    provider = f"{SUBSCRIPTION}/resourceGroups/{GROUP}/providers"
    assert made(engine) == {
        "resourceName": "prod",
        "resourceGroupName": GROUP,
        "location": "eastus",
        "kubernetesVersion": AZURE_KUBERNETES_VERSION,
        "dnsPrefix": "prod",
        "sku": {"name": "Base", "tier": "Standard"},
        "supportPlan": "KubernetesOfficial",
        "nodeResourceGroup": f"{GROUP}-nodes",
        "identity": {
            "type": "UserAssigned",
            "userAssignedIdentities": [f"{provider}/prod-identity-control-plane"],
        },
        "agentPoolProfiles": [
            {
                "name": "system",
                "mode": "System",
                "type": "VirtualMachineScaleSets",
                "osType": "Linux",
                "osSKU": "Ubuntu",
                "vmSize": "Standard_D8s_v5",
                "count": 2,
                "minCount": 2,
                "maxCount": 6,
                "enableAutoScaling": True,
                "maxPods": 110,
                "orchestratorVersion": AZURE_KUBERNETES_VERSION,
                "vnetSubnetID": f"{provider}/prod-network-nodes",
                "nodeLabels": {"inference.platform/node-pool": "system"},
                "tags": {"team": "ml"},
            }
        ],
        "networkProfile": {
            "networkPlugin": "azure",
            "networkPluginMode": "overlay",
            "networkDataplane": "cilium",
            "networkPolicy": "cilium",
            "loadBalancerSku": "standard",
            "outboundType": "loadBalancer",
            "podCidr": "10.128.0.0/14",
            "serviceCidr": "10.0.0.0/16",
            "dnsServiceIP": "10.0.0.10",
        },
        "apiServerAccessProfile": {"disableRunCommand": True},
        "enableRBAC": True,
        "disableLocalAccounts": False,
        "oidcIssuerProfile": {"enabled": True},
        "securityProfile": {
            "workloadIdentity": {"enabled": True},
            "azureKeyVaultKms": {
                "enabled": True,
                "keyId": "https://kv.vault.azure.net/keys/kubernetes-secrets/1",
                "keyVaultNetworkAccess": "Public",
            },
        },
        "autoScalerProfile": {
            "expander": "priority",
            "scaleDownUtilizationThreshold": "0.01",
            "ignoreDaemonsetsUtilization": True,
        },
        "autoUpgradeProfile": {"upgradeChannel": "patch", "nodeOSUpgradeChannel": "NodeImage"},
        # The SDK fills in Azure's own default of the pools; it counts only with mode Auto.
        "nodeProvisioningProfile": {"mode": "Manual", "defaultNodePools": "Auto"},
        "storageProfile": {"blobCSIDriver": {"enabled": False}},
        "workloadAutoScalerProfile": {"keda": {"enabled": False}},
        "tags": {"team": "ml"},
    }


def test_all_else_is_in_the_region_and_tagged(engine: AzureEngine) -> None:
    engine.run(lambda: build(region="westus3", settings={"outbound": "nat-gateway"}, weights_store="object-store"))
    located = {item.name for item in engine.seen if item.inputs.get("location") == "westus3"}
    tagged = {item.name for item in engine.seen if item.inputs.get("tags") == {"team": "ml"}}
    assert (
        located
        == tagged
        == {
            "prod-group",
            "prod-network-vnet",
            "prod-network-outbound",
            "prod-network-gateway",
            "prod-identity-control-plane",
            "prod-secrets-vault",
            "prod-cluster",
            "prod-audit-workspace",
            "prod-weights-account",
        }
    )
    assert not [item.name for item in engine.seen if item.inputs.get("location", "westus3") != "westus3"]


def test_the_network(engine: AzureEngine) -> None:
    engine.run(lambda: build(settings={"vnet_cidr": "10.60.0.0/20"}))
    vnet, subnet = engine.one("VirtualNetwork", "prod-network-vnet"), engine.one("Subnet", "prod-network-nodes")
    assert vnet["addressSpace"] == {"addressPrefixes": ["10.60.0.0/20"]}
    assert subnet["addressPrefix"] == "10.60.0.0/20"
    assert subnet["serviceEndpoints"] == [{"service": "Microsoft.Storage"}]
    assert "natGateway" not in subnet


def test_a_nat_gateway_has_one_fixed_address(engine: AzureEngine) -> None:
    cluster = made(engine, {"outbound": "nat-gateway"}, authorized_networks=("203.0.113.0/24",))
    provider = f"{SUBSCRIPTION}/resourceGroups/{GROUP}/providers"
    assert cluster["networkProfile"]["outboundType"] == "userAssignedNATGateway"
    assert engine.one("Subnet", "prod-network-nodes")["natGateway"] == {"id": f"{provider}/prod-network-gateway"}
    assert engine.one("PublicIPAddress", "prod-network-outbound")["publicIPAllocationMethod"] == "Static"
    # AKS lets in its own load balancer's address; this one it does not know.
    assert cluster["apiServerAccessProfile"]["authorizedIPRanges"] == ["203.0.113.0/24", "20.0.0.9/32"]


def test_authorized_networks(engine: AzureEngine) -> None:
    assert made(engine, authorized_networks=("203.0.113.0/24",))["apiServerAccessProfile"] == {
        "authorizedIPRanges": ["203.0.113.0/24"],
        "disableRunCommand": True,
    }


def test_a_private_endpoint(engine: AzureEngine) -> None:
    assert made(engine, private_endpoint=True)["apiServerAccessProfile"] == {
        "enablePrivateCluster": True,
        "enablePrivateClusterPublicFQDN": False,
        "disableRunCommand": True,
    }


def test_the_lock_and_pulumis_own_protection(engine: AzureEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    protected: list[bool | None] = []
    original = Component.child

    def child(self: Component, *after: pulumi.Resource, **options: Any) -> pulumi.ResourceOptions:
        options_made = original(self, *after, **options)
        if options.get("ignore_changes") == ("agentPoolProfiles",):
            made_for_cluster.append(options_made)
        return options_made

    made_for_cluster: list[pulumi.ResourceOptions] = []
    monkeypatch.setattr(Component, "child", child)
    for wanted in (False, True):
        engine.run(lambda wanted=wanted: build(deletion_protection=wanted))  # type: ignore[misc]
        protected.append(made_for_cluster[-1].protect)
    assert protected == [None, True]
    lock = engine.one("ManagementLockByScope", "prod-lock")
    assert lock["level"] == "CanNotDelete"
    assert lock["scope"].endswith("/prod-cluster")


@pytest.mark.parametrize(
    ("settings", "path", "value"),
    [
        ({"tier": "free"}, ("sku",), {"name": "Base", "tier": "Free"}),
        ({"tier": "premium"}, ("supportPlan",), "AKSLongTermSupport"),
        ({"upgrade_channel": "none"}, ("autoUpgradeProfile", "upgradeChannel"), "none"),
        ({"node_image_channel": "security-patch"}, ("autoUpgradeProfile", "nodeOSUpgradeChannel"), "SecurityPatch"),
        ({"node_image_channel": "none"}, ("autoUpgradeProfile", "nodeOSUpgradeChannel"), "None"),
        ({"pod_cidr": "10.64.0.0/12"}, ("networkProfile", "podCidr"), "10.64.0.0/12"),
        ({"service_cidr": "172.16.0.0/20"}, ("networkProfile", "dnsServiceIP"), "172.16.0.10"),
        ({"keda_add_on": True}, ("workloadAutoScalerProfile", "keda"), {"enabled": True}),
    ],
)
def test_settings(engine: AzureEngine, settings: dict[str, Any], path: tuple[str, ...], value: object) -> None:
    found: Any = made(engine, settings)
    for key in path:
        found = found[key]
    assert found == value


def test_settings_of_the_system_pool(engine: AzureEngine) -> None:
    system = {"vm_size": "Standard_D4s_v5", "min_nodes": 3, "max_nodes": 9, "zones": ("1", "2", "3")}
    (profile,) = made(engine, {"system_pool": system, "encryption_at_host": True})["agentPoolProfiles"]
    assert profile["vmSize"] == "Standard_D4s_v5"
    assert (profile["count"], profile["minCount"], profile["maxCount"]) == (3, 3, 9)
    assert profile["availabilityZones"] == ["1", "2", "3"]
    assert profile["enableEncryptionAtHost"] is True
    assert "nodeTaints" not in profile


def test_a_key_for_the_disks(engine: AzureEngine) -> None:
    key = f"{SUBSCRIPTION}/resourceGroups/keys/providers/Microsoft.Compute/diskEncryptionSets/disks"
    assert made(engine, {"disk_encryption_set_id": key})["diskEncryptionSetID"] == key


def test_the_kubernetes_version_is_that_of_all_nodes(engine: AzureEngine) -> None:
    engine.run(lambda: build([pool_args()], kubernetes_version="1.34"))
    cluster = engine.one("ManagedCluster", "prod-cluster")
    assert cluster["kubernetesVersion"] == "1.34"
    assert cluster["agentPoolProfiles"][0]["orchestratorVersion"] == "1.34"
    assert engine.one("AgentPool", "prod-h100-on-demand")["orchestratorVersion"] == "1.34"


def test_what_the_cluster_brings(engine: AzureEngine) -> None:
    plain, with_keda = engine.run(lambda: (build(), build(settings={"keda_add_on": True, "public_gateway": True})))
    assert plain.provides == frozenset()
    assert (plain.simulated, plain.keda_namespace) == (False, "keda")
    assert plain.gateway.service_type == "LoadBalancer"
    assert plain.gateway.url is None
    assert plain.gateway.annotations == {"service.beta.kubernetes.io/azure-load-balancer-internal": "true"}
    assert with_keda.provides == frozenset({Capability.KEDA})
    assert with_keda.keda_namespace == "kube-system"
    assert with_keda.gateway.annotations == {}


@pytest.mark.parametrize(
    ("settings", "image"),
    [
        ({}, NodeImage.AKS_UBUNTU),
        ({"os": "azure-linux"}, NodeImage.AKS_AZURE_LINUX),
        ({"install_gpu_driver": False}, NodeImage.AKS_NO_DRIVER),
        ({"install_gpu_driver": False, "os": "azure-linux"}, NodeImage.AKS_NO_DRIVER),
    ],
)
def test_the_runtime_is_told_what_the_nodes_bring(
    engine: AzureEngine, settings: dict[str, Any], image: NodeImage
) -> None:
    assert engine.run(lambda: build(settings=settings)).node_image is image


def test_the_handle_has_what_pools_and_weights_need(engine: AzureEngine) -> None:
    handle = engine.run(build)
    assert isinstance(handle, AzureClusterHandle)
    assert awaited(handle.kubelet_object_id)[0] == "kubelet-object"
    assert awaited(handle.kubelet_client_id)[0] == "kubelet-client"
    assert (handle.location, handle.node_auto_provisioning) == ("eastus", False)


def test_another_clouds_settings_and_cluster_are_refused(engine: AzureEngine) -> None:
    with pytest.raises(TypeError, match="settings of Azure are needed, not GcpSettings"):
        engine.run(lambda: AzureCloud().create_cluster("prod", cluster_args(settings=GcpSettings())))
    with pytest.raises(TypeError, match="an Azure cluster is needed, not a ClusterHandle"):
        engine.run(lambda: azure_handle(other_cluster(build().provider)))


def test_the_cloud_is_registered() -> None:
    assert isinstance(load_cloud("azure"), AzureCloud)
