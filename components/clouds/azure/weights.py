"""Where model weights are kept: an NFS share of Azure Files, or a container of Blob storage, in an account of its own.

Both are volumes that are there (no storage class): nothing in the cluster holds a key to the account. The share has no
sign-in at all and lets in only the nodes' subnet; the container knows the nodes' identity.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pulumi
from pulumi_azure_native import storage
from pulumi_kubernetes.core.v1 import CSIPersistentVolumeSourceArgs, PersistentVolume, PersistentVolumeSpecArgs
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from components.base import Component
from components.clouds.azure.handle import AzureClusterHandle
from components.clouds.azure.identity import STORAGE_BLOB_DATA_CONTRIBUTOR, grant
from components.clouds.azure.secrets_key import unique_name
from components.cluster import WeightsVolume

SHARED_FILES: Final = "shared-files"
OBJECT_STORE: Final = "object-store"

WEIGHTS: Final = "weights"
"""Name of the share and of the container."""

NFS_OPTIONS: Final = ("nconnect=4", "noresvport", "actimeo=30")
"""Four connections (create-volume-azure-files.md); the rest survives a reconnect and asks for metadata less often."""

BLOB_OPTIONS: Final = (
    "-o allow_other",
    "--file-cache-timeout-in-seconds=120",
    "--use-attr-cache=true",
    "--cancel-list-on-mount-seconds=10",
    "-o attr_timeout=120",
    "-o entry_timeout=120",
    "-o negative_timeout=120",
    "--log-level=LOG_WARNING",
    "--cache-size-mb=1000",
)
"""Of blobfuse (create-volume-azure-blob-storage.md)."""

LONGEST_ACCOUNT_NAME: Final = 24


class Weights(Component):
    """A storage account with the weights, and the volume that pods claim.

    Raises:
        ValueError: neither shared-files nor object-store.

    Attributes:
        volume: for the layers above.
    """

    def __init__(
        self,
        name: str,
        store: str,
        environment: str,
        cluster: AzureClusterHandle,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Make the account and what is in it.

        Args:
            name: logical name.
            store: shared-files or object-store.
            environment: whose weights; part of the volume's name, which is the cluster's.
            cluster: whose nodes mount it.
            opts: of the component.
        """
        super().__init__("azure", name, opts)
        if store not in {SHARED_FILES, OBJECT_STORE}:
            raise ValueError(f"weights are kept in {SHARED_FILES} or {OBJECT_STORE}, not in {store!r}")
        self._cluster = cluster
        files = store == SHARED_FILES
        account = self._account(name, files=files)
        kept = self._share(name, account) if files else self._container(name, account)
        capacity = f"{cluster.settings.weights_gib}Gi"
        volume = PersistentVolume(
            f"{name}-volume",
            metadata=ObjectMetaArgs(name=f"{WEIGHTS}-{environment}"),
            spec=PersistentVolumeSpecArgs(
                access_modes=["ReadWriteMany"],
                capacity={"storage": capacity},
                persistent_volume_reclaim_policy="Retain",
                storage_class_name="",
                mount_options=list(NFS_OPTIONS if files else BLOB_OPTIONS),
                csi=CSIPersistentVolumeSourceArgs(
                    driver="file.csi.azure.com" if files else "blob.csi.azure.com",
                    volume_handle=account.name.apply(lambda found: f"{found}_{WEIGHTS}"),
                    volume_attributes={
                        "resourceGroup": cluster.resource_group,
                        "storageAccount": account.name,
                        **(self._nfs() if files else self._fuse()),
                    },
                ),
            ),
            opts=pulumi.ResourceOptions.merge(
                self.child(*kept), pulumi.ResourceOptions(parent=self, provider=cluster.provider)
            ),
        )
        self.volume = WeightsVolume(
            storage_class="",
            volume_name=f"{WEIGHTS}-{environment}",
            capacity=capacity,
            # BlobFuse renames by copying and has no locks (learn.microsoft.com, BlobFuse compared with Linux).
            whole_files=not files,
            after=(volume,),
        )
        self.register_outputs({"account": account.name})

    def _account(self, name: str, *, files: bool) -> storage.StorageAccount:
        cluster = self._cluster
        return storage.StorageAccount(
            f"{name}-account",
            account_name=cluster.resource_group_id.apply(
                lambda group: unique_name("weights", group, LONGEST_ACCOUNT_NAME)
            ),
            resource_group_name=cluster.resource_group,
            location=cluster.location,
            kind=storage.Kind.FILE_STORAGE if files else storage.Kind.STORAGE_V2,
            sku=storage.SkuArgs(name="Premium_LRS" if files else "Standard_LRS"),
            # Azure refuses NFS on an account that takes only https; the share is reached from the subnet alone.
            enable_https_traffic_only=not files,
            minimum_tls_version="TLS1_2",
            allow_blob_public_access=False,
            allow_shared_key_access=False,
            network_rule_set=storage.NetworkRuleSetArgs(
                default_action=storage.DefaultAction.DENY,
                bypass="AzureServices",
                virtual_network_rules=[storage.VirtualNetworkRuleArgs(virtual_network_resource_id=cluster.subnet_id)],
            ),
            tags=cluster.tags,
            opts=self.child(),
        )

    def _share(self, name: str, account: storage.StorageAccount) -> tuple[pulumi.Resource, ...]:
        share = storage.FileShare(
            f"{name}-share",
            share_name=WEIGHTS,
            account_name=account.name,
            resource_group_name=self._cluster.resource_group,
            enabled_protocols="NFS",
            root_squash="NoRootSquash",
            share_quota=self._cluster.settings.weights_gib,
            opts=self.child(),
        )
        return (share,)

    def _container(self, name: str, account: storage.StorageAccount) -> tuple[pulumi.Resource, ...]:
        container = storage.BlobContainer(
            f"{name}-container",
            container_name=WEIGHTS,
            account_name=account.name,
            resource_group_name=self._cluster.resource_group,
            public_access=storage.PublicAccess.NONE,
            opts=self.child(),
        )
        reader = grant(
            f"{name}-nodes", STORAGE_BLOB_DATA_CONTRIBUTOR, self._cluster.kubelet_object_id, account.id, self.child()
        )
        return (container, reader)

    @staticmethod
    def _nfs() -> Mapping[str, Any]:
        return {"shareName": WEIGHTS, "protocol": "nfs"}

    def _fuse(self) -> Mapping[str, Any]:
        return {
            "containerName": WEIGHTS,
            "protocol": "fuse2",
            "AzureStorageAuthType": "MSI",
            "AzureStorageIdentityClientID": self._cluster.kubelet_client_id,
        }
