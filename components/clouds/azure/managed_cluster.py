"""An AKS cluster in Azure's own words: pure functions from the arguments to the inputs of a ManagedCluster."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Final

import pulumi
from pulumi_azure_native import containerservice as aks

from components.clouds.azure.settings import (
    AzureSettings,
    NodeImageChannel,
    Outbound,
    Tier,
    UpgradeChannel,
)
from components.cluster import ClusterArgs
from components.labels import NODE_POOL
from components.scheduling import SYSTEM_POOL

TIERS: Final[Mapping[Tier, str]] = {Tier.FREE: "Free", Tier.STANDARD: "Standard", Tier.PREMIUM: "Premium"}
UPGRADES: Final[Mapping[UpgradeChannel, str]] = {UpgradeChannel.NONE: "none", UpgradeChannel.PATCH: "patch"}
NODE_IMAGES: Final[Mapping[NodeImageChannel, str]] = {
    NodeImageChannel.NONE: "None",
    NodeImageChannel.NODE_IMAGE: "NodeImage",
    NodeImageChannel.SECURITY_PATCH: "SecurityPatch",
}

SCALE_DOWN_BELOW: Final = "0.01"
"""Utilisation below which the autoscaler takes a node away: an empty one. Its default of 0.5 would move a model that
took minutes to load from a node that is half used."""

MOST_PODS: Final = 110
"""On a node of the system pool; AKS would allow 250 with the overlay."""


def networking(settings: AzureSettings) -> aks.ContainerServiceNetworkProfileArgs:
    """Azure CNI overlay with Cilium, which node auto-provisioning recommends and network policies need."""
    return aks.ContainerServiceNetworkProfileArgs(
        network_plugin="azure",
        network_plugin_mode="overlay",
        network_dataplane="cilium",
        network_policy="cilium",
        load_balancer_sku="standard",
        outbound_type="userAssignedNATGateway" if settings.outbound is Outbound.NAT_GATEWAY else "loadBalancer",
        pod_cidr=settings.pod_cidr,
        service_cidr=settings.service_cidr,
        # The tenth address, as AKS chooses it for its own default.
        dns_service_ip=str(ipaddress.IPv4Network(settings.service_cidr)[10]),
    )


def system_pool(
    settings: AzureSettings, *, autoscaled: bool, version: str, subnet_id: pulumi.Input[str], tags: Mapping[str, str]
) -> aks.ManagedClusterAgentPoolProfileArgs:
    """The untainted CPU nodes. Never spot: AKS refuses that for a cluster's first pool.

    Args:
        settings: the section `azure`.
        autoscaled: by the cluster autoscaler; else it keeps its least number of nodes.
        version: of Kubernetes, minor.
        subnet_id: of its nodes.
        tags: on its machines.
    """
    pool = settings.system_pool
    return aks.ManagedClusterAgentPoolProfileArgs(
        name=SYSTEM_POOL,
        mode="System",
        type="VirtualMachineScaleSets",
        os_type="Linux",
        os_sku="Ubuntu",
        vm_size=pool.vm_size,
        count=pool.min_nodes,
        enable_auto_scaling=autoscaled,
        min_count=pool.min_nodes if autoscaled else None,
        max_count=pool.max_nodes if autoscaled else None,
        max_pods=MOST_PODS,
        availability_zones=list(pool.zones) or None,
        orchestrator_version=version,
        vnet_subnet_id=subnet_id,
        node_labels={NODE_POOL: SYSTEM_POOL},
        enable_encryption_at_host=settings.encryption_at_host or None,
        tags=tags,
    )


def api_server_access(
    args: ClusterArgs, outbound_address: pulumi.Output[str | None] | None
) -> aks.ManagedClusterAPIServerAccessProfileArgs:
    """Who reaches the API server.

    Args:
        args: private, or public for some networks, or public.
        outbound_address: by which the nodes leave, where AKS does not know it by itself (a NAT gateway).
    """
    if args.private_endpoint:
        return aks.ManagedClusterAPIServerAccessProfileArgs(
            enable_private_cluster=True, enable_private_cluster_public_fqdn=False, disable_run_command=True
        )
    ranges: list[pulumi.Input[str]] = [*args.authorized_networks]
    if ranges and outbound_address is not None:
        ranges.append(outbound_address.apply(lambda address: f"{address}/32"))
    return aks.ManagedClusterAPIServerAccessProfileArgs(authorized_ip_ranges=ranges or None, disable_run_command=True)


def sign_in(settings: AzureSettings) -> aks.ManagedClusterAADProfileArgs | None:
    """Microsoft Entra; None where only the local account counts."""
    if settings.local_accounts and not settings.admin_group_ids and not settings.azure_rbac:
        return None
    return aks.ManagedClusterAADProfileArgs(
        managed=True,
        enable_azure_rbac=settings.azure_rbac,
        admin_group_object_ids=list(settings.admin_group_ids) or None,
    )


def security(key_id: pulumi.Input[str] | None) -> aks.ManagedClusterSecurityProfileArgs:
    """Workload identity, a cleaner of images with known holes, and the key of the secrets.

    Args:
        key_id: URI of the key's version; None: a key of the platform.
    """
    return aks.ManagedClusterSecurityProfileArgs(
        workload_identity=aks.ManagedClusterSecurityProfileWorkloadIdentityArgs(enabled=True),
        azure_key_vault_kms=aks.AzureKeyVaultKmsArgs(enabled=True, key_id=key_id, key_vault_network_access="Public")
        if key_id is not None
        else None,
    )


def autoscaler() -> aks.ManagedClusterPropertiesAutoScalerProfileArgs:
    """Of all agent pools: by priority, and only empty nodes go."""
    return aks.ManagedClusterPropertiesAutoScalerProfileArgs(
        expander="priority",
        scale_down_utilization_threshold=SCALE_DOWN_BELOW,
        ignore_daemonsets_utilization=True,
    )


def node_provisioning(*, enabled: bool) -> aks.ManagedClusterNodeProvisioningProfileArgs:
    """Node auto-provisioning without the node pools that AKS would add: every node belongs to a pool of ours."""
    return aks.ManagedClusterNodeProvisioningProfileArgs(
        mode="Auto" if enabled else "Manual", default_node_pools="None" if enabled else None
    )


def storage(*, blobs: bool) -> aks.ManagedClusterStorageProfileArgs:
    """Drivers for volumes: disks and Azure Files are always there, Blob where weights are kept in it."""
    return aks.ManagedClusterStorageProfileArgs(
        blob_csi_driver=aks.ManagedClusterStorageProfileBlobCSIDriverArgs(enabled=blobs)
    )


def upgrades(settings: AzureSettings) -> aks.ManagedClusterAutoUpgradeProfileArgs:
    """What AKS installs by itself."""
    return aks.ManagedClusterAutoUpgradeProfileArgs(
        upgrade_channel=UPGRADES[settings.upgrade_channel],
        node_os_upgrade_channel=NODE_IMAGES[settings.node_image_channel],
    )


def priorities_as_text(priorities: Mapping[int, Sequence[str]]) -> str:
    """The autoscaler's own format: patterns of scale sets below each priority."""
    lines = []
    for priority, patterns in sorted(priorities.items(), reverse=True):
        lines += [f"{priority}:", *(f"  - {pattern}" for pattern in patterns)]
    return "\n".join(lines) + "\n"
