"""The control plane: GKE Standard, VPC-native, with identities for pods and the add-ons that serving needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pulumi
from pulumi_gcp import container, kms

from components.base import Component
from components.clouds.gcp.identity import NodeIdentity
from components.clouds.gcp.names import CLUSTER, environment_name, gke_service_agent
from components.clouds.gcp.network import PODS_RANGE, SERVICES_RANGE, GkeNetwork
from components.clouds.gcp.settings import GcpSettings
from components.cluster import ClusterArgs
from components.versions import GKE_KUBERNETES_VERSION

CREATE_TIMEOUT: Final = "45m"
"""A regional control plane takes 10 to 15 minutes; with a queue in front of it, longer."""

ANYWHERE: Final = "0.0.0.0/0"


@dataclass(frozen=True, kw_only=True)
class GkeClusterArgs:
    """A control plane.

    Attributes:
        cluster: what every cloud is told.
        settings: the section `gcp`.
        project: id.
        location: a region (three zones) or a zone.
        network: where.
        identity: of the nodes.
    """

    cluster: ClusterArgs
    settings: GcpSettings
    project: str
    location: str
    network: GkeNetwork
    identity: NodeIdentity


class GkeCluster(Component):
    """The control plane, without nodes.

    Attributes:
        cluster: at Google Cloud.
        name: of the cluster there.
    """

    def __init__(self, name: str, args: GkeClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gcp", name, opts)
        wanted, settings = args.cluster, args.settings
        self.name = environment_name(wanted.environment, "", CLUSTER)
        key = self._allow_key(name, settings)
        self.cluster = container.Cluster(
            f"{name}-cluster",
            name=self.name,
            location=args.location,
            min_master_version=wanted.kubernetes_version or GKE_KUBERNETES_VERSION,
            release_channel=container.ClusterReleaseChannelArgs(channel=settings.release_channel.value.upper()),
            maintenance_policy=container.ClusterMaintenancePolicyArgs(
                daily_maintenance_window=container.ClusterMaintenancePolicyDailyMaintenanceWindowArgs(
                    start_time=settings.maintenance_start
                )
            ),
            # The default of the provider is true, which makes every destroy fail.
            deletion_protection=wanted.deletion_protection,
            # GKE makes no cluster without a pool: it gets one of our choosing for some minutes.
            remove_default_node_pool=True,
            initial_node_count=1,
            node_config=container.ClusterNodeConfigArgs(
                service_account=args.identity.account.email,
                shielded_instance_config=container.ClusterNodeConfigShieldedInstanceConfigArgs(
                    enable_secure_boot=True, enable_integrity_monitoring=True
                ),
            ),
            network=args.network.network.id,
            subnetwork=args.network.subnet.id,
            networking_mode="VPC_NATIVE",
            ip_allocation_policy=container.ClusterIpAllocationPolicyArgs(
                cluster_secondary_range_name=PODS_RANGE, services_secondary_range_name=SERVICES_RANGE
            ),
            # Network policies without an add-on of their own (Dataplane V2).
            datapath_provider="ADVANCED_DATAPATH",
            enable_l4_ilb_subsetting=True,
            private_cluster_config=container.ClusterPrivateClusterConfigArgs(
                enable_private_nodes=settings.private_nodes, enable_private_endpoint=wanted.private_endpoint
            ),
            master_authorized_networks_config=_authorized(wanted),
            control_plane_endpoints_config=_endpoints(settings),
            workload_identity_config=container.ClusterWorkloadIdentityConfigArgs(
                workload_pool=f"{args.project}.svc.id.goog"
            ),
            database_encryption=_encryption(settings),
            enable_shielded_nodes=True,
            logging_config=container.ClusterLoggingConfigArgs(enable_components=_logs(audit=wanted.audit_logs)),
            monitoring_config=_monitoring(settings),
            addons_config=_addons(wanted.weights_store),
            cluster_autoscaling=container.ClusterClusterAutoscalingArgs(
                # Of the pools that there are; a ComputeClass makes its own without this.
                enabled=False,
                autoscaling_profile=settings.autoscaling_profile.value.upper().replace("-", "_"),
            ),
            cost_management_config=container.ClusterCostManagementConfigArgs(enabled=True),
            resource_labels=dict(wanted.tags) or None,
            opts=self.child(
                *args.identity.grants,
                *([args.network.egress] if args.network.egress is not None else []),
                *([key] if key is not None else []),
                # Of the pool that is removed again; GKE owns what stands there later.
                ignore_changes=("nodeConfig", "initialNodeCount"),
                timeout=CREATE_TIMEOUT,
            ),
        )
        self.register_outputs({"name": self.name, "endpoint": self.cluster.endpoint})

    def _allow_key(self, name: str, settings: GcpSettings) -> pulumi.Resource | None:
        """Let GKE use the key; a cluster that may not is refused."""
        if settings.kms_key is None or settings.project_number is None:
            return None
        return kms.CryptoKeyIAMMember(
            f"{name}-key",
            crypto_key_id=settings.kms_key,
            role="roles/cloudkms.cryptoKeyEncrypterDecrypter",
            member=gke_service_agent(settings.project_number),
            opts=self.child(),
        )


def _authorized(wanted: ClusterArgs) -> container.ClusterMasterAuthorizedNetworksConfigArgs:
    """Who may reach the API server's address. GKE wants such a list, if an empty one, where the endpoint is private."""
    networks = wanted.authorized_networks or (() if wanted.private_endpoint else (ANYWHERE,))
    return container.ClusterMasterAuthorizedNetworksConfigArgs(
        cidr_blocks=[
            container.ClusterMasterAuthorizedNetworksConfigCidrBlockArgs(cidr_block=network) for network in networks
        ],
        gcp_public_cidrs_access_enabled=False,
    )


def _endpoints(settings: GcpSettings) -> container.ClusterControlPlaneEndpointsConfigArgs:
    return container.ClusterControlPlaneEndpointsConfigArgs(
        dns_endpoint_config=container.ClusterControlPlaneEndpointsConfigDnsEndpointConfigArgs(
            allow_external_traffic=settings.dns_endpoint
        )
    )


def _encryption(settings: GcpSettings) -> container.ClusterDatabaseEncryptionArgs:
    """With a key of one's own; etcd's disks are encrypted by Google's in any case."""
    if settings.kms_key is None:
        return container.ClusterDatabaseEncryptionArgs(state="DECRYPTED")
    return container.ClusterDatabaseEncryptionArgs(state="ENCRYPTED", key_name=settings.kms_key)


def _logs(*, audit: bool) -> list[str]:
    """Whose logs Cloud Logging keeps. Audit entries of writes are kept always; the API server's own log is a choice."""
    own = ["APISERVER", "CONTROLLER_MANAGER", "SCHEDULER"] if audit else []
    return ["SYSTEM_COMPONENTS", *own]


def _monitoring(settings: GcpSettings) -> container.ClusterMonitoringConfigArgs:
    """GKE's DCGM exporter is read by its managed collection alone, so the two go together."""
    return container.ClusterMonitoringConfigArgs(
        enable_components=["SYSTEM_COMPONENTS", *(["DCGM"] if settings.managed_dcgm else [])],
        managed_prometheus=container.ClusterMonitoringConfigManagedPrometheusArgs(enabled=settings.managed_dcgm),
    )


def _addons(weights_store: str) -> container.ClusterAddonsConfigArgs:
    return container.ClusterAddonsConfigArgs(
        gce_persistent_disk_csi_driver_config=container.ClusterAddonsConfigGcePersistentDiskCsiDriverConfigArgs(
            enabled=True
        ),
        gcs_fuse_csi_driver_config=container.ClusterAddonsConfigGcsFuseCsiDriverConfigArgs(
            enabled=weights_store == "object-store"
        ),
        gcp_filestore_csi_driver_config=container.ClusterAddonsConfigGcpFilestoreCsiDriverConfigArgs(
            enabled=weights_store == "shared-files"
        ),
    )
