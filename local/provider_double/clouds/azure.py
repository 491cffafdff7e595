"""Microsoft Azure: resource ids and lookups in the forms of Azure Resource Manager."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import yaml

from local.provider_double import synthesis
from local.provider_double.clouds.base import Answer, Cloud
from local.provider_double.wire import Properties

KUBERNETES_VERSION = "1.33.5"

PATHS = {
    "azure-native:resources:ResourceGroup": "",
    "azure-native:containerservice:ManagedCluster": "Microsoft.ContainerService/managedClusters/{resourceName}",
    "azure-native:containerservice:AgentPool": "Microsoft.ContainerService/managedClusters/{resourceName}/agentPools/{agentPoolName}",
    "azure-native:containerservice:MaintenanceConfiguration": "Microsoft.ContainerService/managedClusters/{resourceName}/maintenanceConfigurations/{configName}",
    "azure-native:network:VirtualNetwork": "Microsoft.Network/virtualNetworks/{virtualNetworkName}",
    "azure-native:network:Subnet": "Microsoft.Network/virtualNetworks/{virtualNetworkName}/subnets/{subnetName}",
    "azure-native:network:NatGateway": "Microsoft.Network/natGateways/{natGatewayName}",
    "azure-native:network:PublicIPAddress": "Microsoft.Network/publicIPAddresses/{publicIpAddressName}",
    "azure-native:network:NetworkSecurityGroup": "Microsoft.Network/networkSecurityGroups/{networkSecurityGroupName}",
    "azure-native:privatedns:PrivateZone": "Microsoft.Network/privateDnsZones/{privateZoneName}",
    "azure-native:privatedns:VirtualNetworkLink": "Microsoft.Network/privateDnsZones/{privateZoneName}/virtualNetworkLinks/{virtualNetworkLinkName}",
    "azure-native:managedidentity:UserAssignedIdentity": "Microsoft.ManagedIdentity/userAssignedIdentities/{resourceName}",
    "azure-native:managedidentity:FederatedIdentityCredential": "Microsoft.ManagedIdentity/userAssignedIdentities/{resourceName}/federatedIdentityCredentials/"
    "{federatedIdentityCredentialResourceName}",
    "azure-native:operationalinsights:Workspace": "Microsoft.OperationalInsights/workspaces/{workspaceName}",
    "azure-native:storage:StorageAccount": "Microsoft.Storage/storageAccounts/{accountName}",
    "azure-native:storage:BlobContainer": "Microsoft.Storage/storageAccounts/{accountName}/blobServices/default/containers/{containerName}",
    "azure-native:storage:FileShare": "Microsoft.Storage/storageAccounts/{accountName}/fileServices/default/shares/{shareName}",
    "azure-native:keyvault:Vault": "Microsoft.KeyVault/vaults/{vaultName}",
    "azure-native:compute:DiskEncryptionSet": "Microsoft.Compute/diskEncryptionSets/{diskEncryptionSetName}",
    "azure-native:compute:CapacityReservationGroup": "Microsoft.Compute/capacityReservationGroups/{capacityReservationGroupName}",
    "azure-native:compute:CapacityReservation": "Microsoft.Compute/capacityReservationGroups/{capacityReservationGroupName}/capacityReservations/"
    "{capacityReservationName}",
    "azure-native:containerregistry:Registry": "Microsoft.ContainerRegistry/registries/{registryName}",
}
"""Path below the resource group; the names in braces are inputs."""


class Azure(Cloud):
    """Answers of the azure-native provider."""

    @property
    def subscription(self) -> str:
        """Subscription of the provider."""
        return str(self.config.get("subscriptionId") or self.account.azure_subscription)

    def with_defaults(self, token: str, name: str, news: Properties, olds: Properties, seed: bytes) -> Properties:
        inputs = super().with_defaults(token, name, news, olds, seed)
        if "location" in self.arguments(token) and not inputs.get("location"):
            # The provider takes its own location; the resource group's is not looked up here.
            location = olds.get("location") or self.config.get("location") or self.account.azure_location
            inputs = {**inputs, "location": location}
        return inputs

    def identifier(self, token: str, name: str, inputs: Properties, seed: str) -> str:
        if token == "azure-native:authorization:RoleAssignment":
            assignment = inputs.get("roleAssignmentName") or synthesis.uuid(seed)
            return f"{inputs['scope']}/providers/Microsoft.Authorization/roleAssignments/{assignment}"
        if token == "azure-native:insights:DiagnosticSetting":
            return f"{inputs['resourceUri']}/providers/Microsoft.Insights/diagnosticSettings/{inputs.get('name', name)}"
        group = f"/subscriptions/{self.subscription}/resourceGroups/{inputs.get('resourceGroupName', name)}"
        if token not in PATHS:
            module, kind = token.split(":")[1:]
            return f"{group}/providers/Microsoft.{module}/{kind}/{super().identifier(token, name, inputs, seed)}"
        return f"{group}/providers/{PATHS[token].format_map(inputs)}" if PATHS[token] else group

    def known_outputs(self, token: str, identifier: str, inputs: Properties) -> Properties:
        last = identifier.rsplit("/", 1)[-1]
        segments = identifier.rsplit("/providers/", maxsplit=1)[-1].split("/")
        resource_type = "/".join([segments[0], *segments[1::2]])
        if "/providers/" not in identifier:
            resource_type = "Microsoft.Resources/resourceGroups"
        found: Properties = {"name": last, "azureApiVersion": "", **self._special(token, identifier, inputs)}
        if "type" not in self.arguments(token):
            found["type"] = resource_type
        declared = self.declared(token)
        return {key: value for key, value in found.items() if key in declared}

    def _special(self, token: str, identifier: str, inputs: Properties) -> Properties:
        digits = synthesis.hex_digits(identifier, length=8)
        location = inputs.get("location") or self.account.azure_location
        if token == "azure-native:containerservice:ManagedCluster":
            group, name = inputs["resourceGroupName"], identifier.rsplit("/", 1)[-1]
            node_group = inputs.get("nodeResourceGroup") or f"MC_{group}_{name}_{location}"
            kubelet = f"/subscriptions/{self.subscription}/resourceGroups/{node_group}/providers"
            identity = f"{kubelet}/Microsoft.ManagedIdentity/userAssignedIdentities/{name}-agentpool"
            issuer = (
                f"https://{location}.oic.prod-aks.azure.com/{self.account.azure_tenant}/{synthesis.uuid(identifier)}/"
            )
            version = inputs.get("kubernetesVersion") or KUBERNETES_VERSION
            return {
                "fqdn": f"{inputs.get('dnsPrefix') or name}-{digits}.hcp.{location}.azmk8s.io",
                "nodeResourceGroup": node_group,
                "currentKubernetesVersion": version,
                "kubernetesVersion": version,
                "oidcIssuerProfile": {**inputs.get("oidcIssuerProfile", {}), "issuerURL": issuer},
                "identityProfile": {
                    **inputs.get("identityProfile", {}),
                    "kubeletidentity": {
                        "resourceId": identity,
                        "clientId": synthesis.uuid(identity, "client"),
                        "objectId": synthesis.uuid(identity, "object"),
                    },
                },
                "powerState": {"code": "Running"},
            }
        if token == "azure-native:containerservice:AgentPool":
            version = inputs.get("orchestratorVersion") or KUBERNETES_VERSION
            return {"currentOrchestratorVersion": version, "nodeImageVersion": "AKSUbuntu-2204gen2-202601.01.0"}
        if token == "azure-native:managedidentity:UserAssignedIdentity":
            return {"tenantId": self.account.azure_tenant}
        return {}

    def functions(self) -> Mapping[str, Answer]:
        client = {
            "subscriptionId": self.subscription,
            "tenantId": self.account.azure_tenant,
            "clientId": synthesis.uuid("client"),
            "objectId": synthesis.uuid("object"),
        }
        credentials = "azure-native:containerservice:listManagedCluster{}Credentials"
        return {
            "azure-native:authorization:getClientConfig": lambda _: client,
            "azure-native:authorization:getClientToken": lambda _: {"token": "double"},
            credentials.format("User"): self._kubeconfigs,
            credentials.format("Admin"): self._kubeconfigs,
        }

    def _kubeconfigs(self, given: Mapping[str, Any]) -> Properties:
        """Kubeconfig with a token: the real one of a cluster with local accounts has a client certificate too."""
        name = str(given["resourceName"])
        made = [thing for thing in self.world.find("ManagedCluster") if thing.id.endswith(f"/managedClusters/{name}")]
        fqdn = made[0].outputs["fqdn"] if made else f"{name}.hcp.{self.account.azure_location}.azmk8s.io"
        server = self.account.api_server or f"https://{fqdn}:443"
        cluster = {"server": server, "certificate-authority-data": self.account.certificate}
        user = f"clusterUser_{given['resourceGroupName']}_{name}"
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "clusters": [{"name": name, "cluster": cluster}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": user}}],
            "users": [{"name": user, "user": {"token": synthesis.hex_digits(server, length=64)}}],
        }
        encoded = base64.b64encode(yaml.safe_dump(document).encode()).decode()
        return {"kubeconfigs": [{"name": "clusterUser", "value": encoded}]}
