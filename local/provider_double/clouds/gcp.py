"""Google Cloud: resource names, self links and lookups in the forms of its REST references."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local.provider_double import synthesis
from local.provider_double.clouds.base import Answer, Cloud
from local.provider_double.wire import Properties

KUBERNETES_VERSION = "1.33.5-gke.1080000"

APIS = {"container": "https://container.googleapis.com/v1", "compute": "https://www.googleapis.com/compute/v1"}


class Gcp(Cloud):
    """Answers of the gcp provider."""

    @property
    def project(self) -> str:
        """Project of the provider."""
        return str(self.config.get("project") or self.account.gcp_project)

    @property
    def region(self) -> str:
        """Region of the provider."""
        return str(self.config.get("region") or self.account.gcp_region)

    def with_defaults(self, token: str, name: str, news: Properties, olds: Properties, seed: bytes) -> Properties:
        inputs = super().with_defaults(token, name, news, olds, seed)
        if "project" in self.arguments(token) and not inputs.get("project"):
            inputs = {**inputs, "project": self.project}
        if token.startswith("gcp:compute/") and "region" in self.arguments(token) and not inputs.get("region"):
            inputs = {**inputs, "region": self.region}
        return inputs

    def account_values(self) -> dict[str, Any]:
        location = self.config.get("zone") or self.region
        return {"project": self.project, "location": location, "region": self.region}

    def id_values(self, token: str, inputs: Properties) -> dict[str, Any]:
        values = {**super().id_values(token, inputs), "email": self._email(inputs)}
        if token == "gcp:container/nodePool:NodePool":
            # The cluster may be given by its full path.
            values["cluster"] = str(inputs["cluster"]).rsplit("/", 1)[-1]
        return values

    def _email(self, inputs: Properties) -> str:
        return f"{inputs.get('accountId')}@{inputs.get('project') or self.project}.iam.gserviceaccount.com"

    def known_outputs(self, token: str, identifier: str, inputs: Properties) -> Properties:
        module = token.split(":")[1].split("/", maxsplit=1)[0]
        found: Properties = {
            "selfLink": f"{APIS.get(module, f'https://{module}.googleapis.com/v1')}/{identifier}",
            "project": inputs.get("project") or self.project,
            "effectiveLabels": {**inputs.get("labels", {}), "goog-pulumi-provisioned": "true"},
            "pulumiLabels": {**inputs.get("labels", {}), "goog-pulumi-provisioned": "true"},
            **self._special(token, identifier, inputs),
        }
        declared = self.declared(token)
        return {key: value for key, value in found.items() if key in declared}

    def _special(self, token: str, identifier: str, inputs: Properties) -> Properties:
        number = int(synthesis.hex_digits(identifier, length=8), 16)
        address = f"34.{number % 250}.{number // 250 % 250}.{number // 62500 % 250}"
        if token == "gcp:container/cluster:Cluster":
            project = inputs.get("project") or self.project
            version = inputs.get("minMasterVersion") or KUBERNETES_VERSION
            return {
                "endpoint": (self.account.api_server or address).removeprefix("https://"),
                "masterVersion": version,
                "masterAuth": {
                    **inputs.get("masterAuth", {}),
                    "clusterCaCertificate": self.account.certificate,
                    "clientCertificate": "",
                    "clientKey": "",
                },
                "workloadIdentityConfig": inputs.get("workloadIdentityConfig")
                or {"workloadPool": f"{project}.svc.id.goog"},
                "location": inputs.get("location") or self.region,
            }
        if token == "gcp:container/nodePool:NodePool":
            group = f"{APIS['compute']}/projects/{self.project}/zones/{self.region}-a/instanceGroupManagers"
            return {
                "instanceGroupUrls": [f"{group}/gke-{identifier.rsplit('/', 1)[-1]}-{number:08x}-grp"],
                "version": inputs.get("version") or KUBERNETES_VERSION,
            }
        if token == "gcp:serviceaccount/account:Account":
            email = self._email(inputs)
            return {"email": email, "member": f"serviceAccount:{email}", "name": identifier, "uniqueId": str(number)}
        if token == "gcp:compute/address:Address":
            return {"address": inputs.get("address") or address}
        return {}

    def functions(self) -> Mapping[str, Answer]:
        zones = [f"{self.region}-{letter}" for letter in ("a", "b", "c")]
        client = {"project": self.project, "region": self.region, "zone": zones[0], "accessToken": "double"}
        versions = {
            "defaultClusterVersion": KUBERNETES_VERSION,
            "latestMasterVersion": KUBERNETES_VERSION,
            "latestNodeVersion": KUBERNETES_VERSION,
            "validMasterVersions": [KUBERNETES_VERSION],
            "validNodeVersions": [KUBERNETES_VERSION],
            "releaseChannelDefaultVersion": {"REGULAR": KUBERNETES_VERSION, "STABLE": KUBERNETES_VERSION},
            "releaseChannelLatestVersion": {"REGULAR": KUBERNETES_VERSION, "STABLE": KUBERNETES_VERSION},
        }
        return {
            "gcp:organizations/getProject:getProject": lambda given: {
                "projectId": given.get("projectId") or self.project,
                "number": self.account.gcp_project_number,
                "name": given.get("projectId") or self.project,
                "id": f"projects/{given.get('projectId') or self.project}",
            },
            "gcp:organizations/getClientConfig:getClientConfig": lambda _: client,
            "gcp:compute/getZones:getZones": lambda _: {"names": zones},
            "gcp:container/getEngineVersions:getEngineVersions": lambda _: versions,
        }
