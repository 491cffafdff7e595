"""An AKS cluster with everything that is its own: resource group, network, identity, key, audit log."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Final

import pulumi
from pulumi_azure_native import containerservice as aks
from pulumi_azure_native.authorization import ManagementLockByScope
from pulumi_azure_native.resources import ResourceGroup
from pulumi_kubernetes import Provider

from components.accelerators.node_images import NodeImage
from components.base import Component
from components.clouds.azure.audit import AuditLog, AuditLogArgs
from components.clouds.azure.handle import AzureClusterHandle
from components.clouds.azure.identity import ClusterIdentity, ClusterIdentityArgs
from components.clouds.azure.managed_cluster import (
    TIERS,
    api_server_access,
    autoscaler,
    networking,
    node_provisioning,
    security,
    sign_in,
    storage,
    system_pool,
    upgrades,
)
from components.clouds.azure.network import Network, NetworkArgs
from components.clouds.azure.rules import RULES
from components.clouds.azure.secrets_key import SecretsKey, SecretsKeyArgs
from components.clouds.azure.settings import AzureSettings, OperatingSystem, Outbound, Tier
from components.cluster import Capability, ClusterArgs, GatewayExposure
from components.versions import AZURE_KUBERNETES_VERSION

INTERNAL_LOAD_BALANCER: Final = {"service.beta.kubernetes.io/azure-load-balancer-internal": "true"}

KEDA_ADD_ON_NAMESPACE: Final = "kube-system"
"""Where AKS runs its own KEDA (keda-about.md)."""

LONGEST_GROUP_NAME: Final = 80
"""Of the resource group that AKS makes for the nodes."""

CREATE_TIMEOUT: Final = "45m"
"""A cluster takes 5 to 15 minutes."""


@dataclass(frozen=True, kw_only=True)
class _Surroundings:
    """What the cluster is made in."""

    group: ResourceGroup
    network: Network
    identity: ClusterIdentity
    key: SecretsKey | None


class AzureCluster(Component):
    """An AKS cluster, its network and the keys to it.

    Raises:
        TypeError: the settings are another cloud's.

    Attributes:
        handle: for the layers above and the rest of this package.
    """

    def __init__(self, name: str, args: ClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("azure", name, opts)
        settings = args.settings if args.settings is not None else AzureSettings()
        if not isinstance(settings, AzureSettings):
            raise TypeError(f"settings of Azure are needed, not {type(settings).__name__}")
        location = args.region or RULES.default_region
        group = ResourceGroup(f"{name}-group", location=location, tags=args.tags, opts=self.child())
        network = Network(
            f"{name}-network",
            NetworkArgs(
                resource_group=group.name,
                location=location,
                cidr=settings.vnet_cidr,
                nat_gateway=settings.outbound is Outbound.NAT_GATEWAY,
                tags=args.tags,
            ),
            self.child(),
        )
        identity = ClusterIdentity(
            f"{name}-identity",
            ClusterIdentityArgs(
                resource_group=group.name, location=location, network_id=network.network_id, tags=args.tags
            ),
            self.child(),
        )
        key = self._secrets_key(name, args, settings, group, identity)
        cluster = self._cluster(
            name, args, settings, _Surroundings(group=group, network=network, identity=identity, key=key)
        )
        self._audit(name, args, settings, group, cluster)
        kubeconfig = self._kubeconfig(settings, group, cluster)
        kubelet = cluster.identity_profile.apply(lambda profile: (profile or {})["kubeletidentity"])
        self.handle = AzureClusterHandle(
            provider=Provider(
                f"{name}-provider",
                kubeconfig=kubeconfig,
                # Keys and addresses in the kubeconfig may change; it is the same cluster all the same.
                cluster_identifier=cluster.id,
                opts=self.child(),
            ),
            provides=frozenset({Capability.KEDA}) if settings.keda_add_on else frozenset(),
            simulated=False,
            node_image=node_image(settings),
            kubeconfig=kubeconfig,
            gateway=GatewayExposure(
                service_type="LoadBalancer",
                annotations={} if settings.public_gateway else INTERNAL_LOAD_BALANCER,
            ),
            keda_namespace=KEDA_ADD_ON_NAMESPACE if settings.keda_add_on else "keda",
            resource_group=group.name,
            resource_group_id=group.id,
            location=location,
            name=cluster.name,
            kubernetes_version=args.kubernetes_version or AZURE_KUBERNETES_VERSION,
            subnet_id=network.subnet.id,
            principal_id=identity.principal_id,
            kubelet_object_id=kubelet.apply(lambda found: str(found.object_id)),
            kubelet_client_id=kubelet.apply(lambda found: str(found.client_id)),
            node_auto_provisioning="auto" in args.provisioners,
            settings=settings,
            guards=self._lock(name, args, cluster),
            tags=args.tags,
        )
        self.register_outputs({"clusterId": cluster.id, "kubeconfig": kubeconfig})

    def _secrets_key(
        self, name: str, args: ClusterArgs, settings: AzureSettings, group: ResourceGroup, identity: ClusterIdentity
    ) -> SecretsKey | None:
        if not settings.encrypt_secrets:
            return None
        return SecretsKey(
            f"{name}-secrets",
            SecretsKeyArgs(
                resource_group=group.name,
                resource_group_id=group.id,
                location=args.region or RULES.default_region,
                principal_id=identity.principal_id,
                tags=args.tags,
            ),
            self.child(),
        )

    def _cluster(
        self, name: str, args: ClusterArgs, settings: AzureSettings, around: _Surroundings
    ) -> aks.ManagedCluster:
        version = args.kubernetes_version or AZURE_KUBERNETES_VERSION
        automatic = "auto" in args.provisioners
        opts = self.child(
            *around.identity.grants,
            *(around.key.grants if around.key else ()),
            # A change of this list sends every pool of the cluster into an update: it counts when the cluster is made.
            ignore_changes=("agentPoolProfiles",),
            timeout=CREATE_TIMEOUT,
        )
        # Pulumi does not delete it; the lock stops everybody else.
        opts.protect = True if args.deletion_protection else None
        return aks.ManagedCluster(
            f"{name}-cluster",
            resource_name_=args.environment,
            resource_group_name=around.group.name,
            location=args.region or RULES.default_region,
            kubernetes_version=version,
            dns_prefix=args.environment,
            sku=aks.ManagedClusterSKUArgs(name="Base", tier=TIERS[settings.tier]),
            support_plan="AKSLongTermSupport" if settings.tier is Tier.PREMIUM else "KubernetesOfficial",
            node_resource_group=around.group.name.apply(lambda found: f"{found[: LONGEST_GROUP_NAME - 6]}-nodes"),
            identity=aks.ManagedClusterIdentityArgs(
                type=aks.ResourceIdentityType.USER_ASSIGNED, user_assigned_identities=[around.identity.identity_id]
            ),
            agent_pool_profiles=[
                system_pool(
                    settings,
                    autoscaled=not automatic,
                    version=version,
                    subnet_id=around.network.subnet.id,
                    tags=args.tags,
                )
            ],
            network_profile=networking(settings),
            api_server_access_profile=api_server_access(args, around.network.outbound_address),
            enable_rbac=True,
            aad_profile=sign_in(settings),
            disable_local_accounts=not settings.local_accounts,
            oidc_issuer_profile=aks.ManagedClusterOIDCIssuerProfileArgs(enabled=True),
            security_profile=security(around.key.key_id if around.key else None),
            disk_encryption_set_id=settings.disk_encryption_set_id,
            auto_scaler_profile=autoscaler(),
            auto_upgrade_profile=upgrades(settings),
            node_provisioning_profile=node_provisioning(enabled=automatic),
            storage_profile=storage(blobs=args.weights_store == "object-store"),
            workload_auto_scaler_profile=aks.ManagedClusterWorkloadAutoScalerProfileArgs(
                keda=aks.ManagedClusterWorkloadAutoScalerProfileKedaArgs(enabled=settings.keda_add_on)
            ),
            tags=args.tags,
            opts=opts,
        )

    def _audit(
        self,
        name: str,
        args: ClusterArgs,
        settings: AzureSettings,
        group: ResourceGroup,
        cluster: aks.ManagedCluster,
    ) -> None:
        if args.audit_logs:
            AuditLog(
                f"{name}-audit",
                AuditLogArgs(
                    resource_group=group.name,
                    location=args.region or RULES.default_region,
                    cluster_id=cluster.id,
                    retention_days=settings.log_retention_days,
                    tags=args.tags,
                ),
                self.child(),
            )

    def _lock(self, name: str, args: ClusterArgs, cluster: aks.ManagedCluster) -> tuple[pulumi.Resource, ...]:
        """A lock, which counts for the agent pools too. Not protected itself: it could not be taken back."""
        if not args.deletion_protection:
            return ()
        lock = ManagementLockByScope(
            f"{name}-lock",
            lock_name="keep",
            level="CanNotDelete",
            scope=cluster.id,
            notes="cluster.deletion_protection of the environment's configuration",
            opts=self.child(),
        )
        return (lock,)

    def _kubeconfig(
        self, settings: AzureSettings, group: ResourceGroup, cluster: aks.ManagedCluster
    ) -> pulumi.Output[str]:
        """With a client certificate where there are local accounts, else one that signs in through kubelogin."""
        opts = pulumi.InvokeOutputOptions(parent=self)
        found: pulumi.Output[str]
        if settings.local_accounts:
            found = aks.list_managed_cluster_admin_credentials_output(
                resource_group_name=group.name, resource_name=cluster.name, opts=opts
            ).apply(lambda answer: answer.kubeconfigs[0].value)
        else:
            found = aks.list_managed_cluster_user_credentials_output(
                resource_group_name=group.name, resource_name=cluster.name, format="exec", opts=opts
            ).apply(lambda answer: answer.kubeconfigs[0].value)
        return pulumi.Output.secret(found.apply(lambda value: base64.b64decode(value).decode()))


def node_image(settings: AzureSettings) -> NodeImage:
    """What of the accelerator runtime the GPU nodes bring."""
    if not settings.install_gpu_driver:
        return NodeImage.AKS_NO_DRIVER
    return NodeImage.AKS_UBUNTU if settings.os is OperatingSystem.UBUNTU else NodeImage.AKS_AZURE_LINUX
