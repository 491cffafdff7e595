"""Microsoft Azure: resource ids and lookups in the forms of Azure Resource Manager."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any

import yaml

from local.provider_double import synthesis
from local.provider_double.clouds.base import Answer, Cloud
from local.provider_double.facts import facts
from local.provider_double.wire import Properties

KUBERNETES_VERSION = "1.33.5"

STORAGE_ACCOUNT = "azure-native:storage:StorageAccount"


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

    def invented_name(self, token: str, name: str, digits: str) -> str:
        if token == STORAGE_ACCOUNT:
            # The only name that takes neither dashes nor capitals.
            return re.sub("[^a-z0-9]", "", name.lower())[:16] + digits[:8]
        if token == "azure-native:authorization:RoleAssignment":
            return synthesis.uuid(digits)
        if token == "azure-native:containerservice:AgentPool":
            return re.sub("[^a-z0-9]", "", name.lower())[:5] + digits[:7]
        return f"{name}{digits[:8]}"

    def account_values(self) -> dict[str, Any]:
        return {"subscription": self.subscription}

    def identifier(self, token: str, name: str, inputs: Properties, seed: str) -> str:
        found = super().identifier(token, name, inputs, seed)
        if found.startswith("/"):
            return found
        group = f"/subscriptions/{self.subscription}/resourceGroups/{inputs.get('resourceGroupName', '')}"
        if facts(token).id is None:
            module, kind = token.split(":")[1:]
            found = f"Microsoft.{module}/{kind}/{found}"
        return f"{group}/providers/{found}"

    def echoed(self, token: str, inputs: Properties) -> Properties:
        return synthesis.echoed(self.declared(token), inputs)

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
