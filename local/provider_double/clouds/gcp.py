"""Google Cloud: resource names, self links and lookups in the forms of its REST references."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local.provider_double import synthesis
from local.provider_double.clouds.base import Answer, Cloud
from local.provider_double.wire import Properties

KUBERNETES_VERSION = "1.33.5-gke.1080000"

PATHS = {
    "gcp:container/cluster:Cluster": "projects/{project}/locations/{location}/clusters/{name}",
    "gcp:container/nodePool:NodePool": "projects/{project}/locations/{location}/clusters/{cluster}/nodePools/{name}",
    "gcp:compute/network:Network": "projects/{project}/global/networks/{name}",
    "gcp:compute/subnetwork:Subnetwork": "projects/{project}/regions/{region}/subnetworks/{name}",
    "gcp:compute/router:Router": "projects/{project}/regions/{region}/routers/{name}",
    "gcp:compute/routerNat:RouterNat": "{project}/{region}/{router}/{name}",
    "gcp:compute/firewall:Firewall": "projects/{project}/global/firewalls/{name}",
    "gcp:compute/address:Address": "projects/{project}/regions/{region}/addresses/{name}",
    "gcp:compute/reservation:Reservation": "projects/{project}/zones/{zone}/reservations/{name}",
    "gcp:serviceaccount/account:Account": "projects/{project}/serviceAccounts/{email}",
    "gcp:projects/iAMMember:IAMMember": "{project}/{role}/{member}",
    "gcp:serviceaccount/iAMMember:IAMMember": "{serviceAccountId}/{role}/{member}",
    "gcp:storage/bucketIAMMember:BucketIAMMember": "b/{bucket}/{role}/{member}",
    "gcp:storage/bucket:Bucket": "{name}",
    "gcp:projects/service:Service": "{project}/{service}",
    "gcp:kms/keyRing:KeyRing": "projects/{project}/locations/{location}/keyRings/{name}",
    "gcp:kms/cryptoKey:CryptoKey": "{keyRing}/cryptoKeys/{name}",
    "gcp:kms/cryptoKeyIAMMember:CryptoKeyIAMMember": "{cryptoKeyId}/{role}/{member}",
    "gcp:filestore/instance:Instance": "projects/{project}/locations/{location}/instances/{name}",
    "gcp:artifactregistry/repository:Repository": "projects/{project}/locations/{location}/repositories/{repositoryId}",
}
"""Ids by type; the names in braces are inputs, or the provider's defaults."""

APIS = {"container": "https://container.googleapis.com/v1", "compute": "https://www.googleapis.com/compute/v1"}


class _Values(dict[str, Any]):
    """Values of a path; what is not there shows as nothing."""

    def __missing__(self, key: str) -> str:
        return ""


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

    def identifier(self, token: str, name: str, inputs: Properties, seed: str) -> str:
        if token not in PATHS:
            return super().identifier(token, name, inputs, seed)
        location = self.config.get("zone") or self.region
        values = {"project": self.project, "location": location, "region": self.region, "email": self._email(inputs)}
        given = {key: value for key, value in inputs.items() if value is not None}
        if token == "gcp:container/nodePool:NodePool":
            # The cluster may be given by its full path.
            given["cluster"] = str(given["cluster"]).rsplit("/", 1)[-1]
        return PATHS[token].format_map(_Values({**values, **given}))

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
