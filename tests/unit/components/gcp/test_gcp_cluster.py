"""Network, control plane, identities and weights on Google Cloud: exact children and inputs.

Does not prove that Google Cloud takes them (see the contract tests for the shape of what GKE gets), nor the order in
which they come and go (see the engine tests).
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import pulumi
import pytest

from components.clouds import load_cloud
from components.clouds.gcp.handle import GkeHandle
from components.clouds.gcp.settings import FilestoreTier
from components.cluster import Capability
from components.serving import load_serving_stack
from tests.unit.components.gcp.google import CLUSTER, POOL, SETTINGS, build, use_google
from tests.unit.components.samples import CHAT, context
from tests.unit.conftest import Engine

pytestmark = pytest.mark.unit

NODES = "inference-prod@acme-inference.iam.gserviceaccount.com"
KEY = "projects/p/locations/us-central1/keyRings/r/cryptoKeys/k"


def cluster(engine: Engine) -> dict[str, Any]:
    return engine.one("cluster:Cluster", "prod-cluster")


def test_exactly_these_children(engine: Engine) -> None:
    build(engine, POOL)
    assert engine.children() == Counter(
        {
            ("pulumi:providers:gcp", "prod-gcp"): 1,
            ("gcp:compute/network:Network", "prod-network"): 1,
            ("gcp:compute/subnetwork:Subnetwork", "prod-subnet"): 1,
            ("gcp:compute/router:Router", "prod-router"): 1,
            ("gcp:compute/routerNat:RouterNat", "prod-nat"): 1,
            ("gcp:serviceaccount/account:Account", "prod-nodes"): 1,
            ("gcp:projects/iAMMember:IAMMember", "prod-nodes-logs-and-metrics"): 1,
            ("gcp:projects/iAMMember:IAMMember", "prod-nodes-images"): 1,
            ("gcp:container/cluster:Cluster", "prod-cluster"): 1,
            ("gcp:container/nodePool:NodePool", "prod-system-pool"): 1,
            ("gcp:container/nodePool:NodePool", "prod-h100"): 1,
            ("pulumi:providers:kubernetes", "prod-provider"): 1,
        }
    )
    assert engine.components() == Counter(
        {
            ("inference-platform:gcp:GkeNetwork", "prod"): 1,
            ("inference-platform:gcp:NodeIdentity", "prod"): 1,
            ("inference-platform:gcp:GkeCluster", "prod"): 1,
            ("inference-platform:gcp:SystemNodePool", "prod-system"): 1,
            ("inference-platform:gcp:GpuNodePool", "prod-h100"): 1,
        }
    )


def test_the_control_plane(engine: Engine) -> None:
    build(engine)
    assert cluster(engine) == {
        "name": "inference-prod",
        "location": "us-central1",
        "minMasterVersion": "1.35",
        "releaseChannel": {"channel": "REGULAR"},
        "maintenancePolicy": {"dailyMaintenanceWindow": {"startTime": "03:00"}},
        "deletionProtection": False,
        "removeDefaultNodePool": True,
        "initialNodeCount": 1,
        "nodeConfig": {
            "serviceAccount": NODES,
            "shieldedInstanceConfig": {"enableSecureBoot": True, "enableIntegrityMonitoring": True},
        },
        "network": "prod-network-id",
        "subnetwork": "prod-subnet-id",
        "networkingMode": "VPC_NATIVE",
        "ipAllocationPolicy": {"clusterSecondaryRangeName": "pods", "servicesSecondaryRangeName": "services"},
        "datapathProvider": "ADVANCED_DATAPATH",
        "enableL4IlbSubsetting": True,
        "privateClusterConfig": {"enablePrivateNodes": True, "enablePrivateEndpoint": False},
        "masterAuthorizedNetworksConfig": {
            "cidrBlocks": [{"cidrBlock": "0.0.0.0/0"}],
            "gcpPublicCidrsAccessEnabled": False,
        },
        "controlPlaneEndpointsConfig": {"dnsEndpointConfig": {"allowExternalTraffic": False}},
        "workloadIdentityConfig": {"workloadPool": "acme-inference.svc.id.goog"},
        "databaseEncryption": {"state": "DECRYPTED"},
        "enableShieldedNodes": True,
        "loggingConfig": {"enableComponents": ["SYSTEM_COMPONENTS", "APISERVER", "CONTROLLER_MANAGER", "SCHEDULER"]},
        "monitoringConfig": {
            "enableComponents": ["SYSTEM_COMPONENTS", "DCGM"],
            "managedPrometheus": {"enabled": True},
        },
        "addonsConfig": {
            "gcePersistentDiskCsiDriverConfig": {"enabled": True},
            "gcsFuseCsiDriverConfig": {"enabled": False},
            "gcpFilestoreCsiDriverConfig": {"enabled": False},
        },
        "clusterAutoscaling": {"enabled": False, "autoscalingProfile": "BALANCED"},
        "costManagementConfig": {"enabled": True},
        "resourceLabels": {"team": "ml"},
    }


@pytest.mark.parametrize(
    ("changes", "inputs"),
    [
        ({"kubernetes_version": "1.36"}, {"minMasterVersion": "1.36"}),
        ({"deletion_protection": True}, {"deletionProtection": True}),
        (
            {"authorized_networks": ("198.51.100.0/24",)},
            {
                "masterAuthorizedNetworksConfig": {
                    "cidrBlocks": [{"cidrBlock": "198.51.100.0/24"}],
                    "gcpPublicCidrsAccessEnabled": False,
                }
            },
        ),
        (
            {"private_endpoint": True},
            {
                "privateClusterConfig": {"enablePrivateNodes": True, "enablePrivateEndpoint": True},
                "masterAuthorizedNetworksConfig": {"cidrBlocks": [], "gcpPublicCidrsAccessEnabled": False},
            },
        ),
        ({"audit_logs": False}, {"loggingConfig": {"enableComponents": ["SYSTEM_COMPONENTS"]}}),
        ({"settings": SETTINGS.model_copy(update={"zone": "us-central1-b"})}, {"location": "us-central1-b"}),
        (
            {"settings": SETTINGS.model_copy(update={"managed_dcgm": False})},
            {
                "monitoringConfig": {
                    "enableComponents": ["SYSTEM_COMPONENTS"],
                    "managedPrometheus": {"enabled": False},
                }
            },
        ),
    ],
)
def test_what_the_configuration_changes(engine: Engine, changes: dict[str, Any], inputs: dict[str, Any]) -> None:
    build(engine)
    before = cluster(engine)
    build(engine, **changes)
    after = cluster(engine)
    assert {key: value for key, value in after.items() if value != before[key]} == inputs


def test_a_key_of_ones_own(engine: Engine) -> None:
    """GKE may use it before the cluster is made."""
    build(engine, settings=SETTINGS.model_copy(update={"kms_key": KEY}))
    assert cluster(engine)["databaseEncryption"] == {"state": "ENCRYPTED", "keyName": KEY}
    assert engine.one("CryptoKeyIAMMember", "prod-key") == {
        "cryptoKeyId": KEY,
        "role": "roles/cloudkms.cryptoKeyEncrypterDecrypter",
        "member": "serviceAccount:service-123456789@container-engine-robot.iam.gserviceaccount.com",
    }


def test_the_network(engine: Engine) -> None:
    build(engine)
    assert engine.one("Subnetwork", "prod-subnet") == {
        "name": "inference-prod",
        "region": "us-central1",
        "network": "prod-network-id",
        "ipCidrRange": "10.0.0.0/20",
        "secondaryIpRanges": [
            {"rangeName": "pods", "ipCidrRange": "10.4.0.0/14"},
            {"rangeName": "services", "ipCidrRange": "10.8.0.0/20"},
        ],
        "privateIpGoogleAccess": True,
    }
    assert engine.one("RouterNat", "prod-nat")["subnetworks"] == [
        {"name": "prod-subnet-id", "sourceIpRangesToNats": ["ALL_IP_RANGES"]}
    ]


def test_public_nodes_need_no_nat(engine: Engine) -> None:
    build(engine, settings=SETTINGS.model_copy(update={"private_nodes": False}))
    assert not [item for item in engine.seen if "router" in item.type]
    assert cluster(engine)["privateClusterConfig"]["enablePrivateNodes"] is False


def test_the_cpu_nodes_have_no_taint_and_their_numbers_are_the_autoscalers(engine: Engine) -> None:
    build(engine)
    system = engine.one("NodePool", "prod-system-pool")
    assert system["autoscaling"] == {"totalMinNodeCount": 1, "totalMaxNodeCount": 5, "locationPolicy": "BALANCED"}
    assert system["nodeConfig"]["labels"] == {"inference.platform/node-pool": "system"}
    assert "taints" not in system["nodeConfig"]
    assert not {"nodeCount", "initialNodeCount"} & set(system)
    assert system["nodeConfig"]["workloadMetadataConfig"] == {"mode": "GKE_METADATA"}


def handle(engine: Engine, **settings: Any) -> tuple[GkeHandle, str, bool]:
    """The handle, the kubeconfig's contents and whether they are a secret."""
    use_google(engine)
    args = replace(CLUSTER, settings=SETTINGS.model_copy(update=settings))
    contents: list[str] = []
    secret: list[bool] = []

    def program() -> GkeHandle:
        made = load_cloud("gcp").create_cluster("prod", args)
        assert isinstance(made, GkeHandle)
        output = pulumi.Output.from_input(made.kubeconfig)
        output.apply(contents.append)
        pulumi.Output.from_input(output.is_secret()).apply(secret.append)  # type: ignore[arg-type]
        return made

    return engine.run(program), contents[0], secret[0]


def test_access_is_a_secret_without_a_credential(engine: Engine) -> None:
    made, contents, secret = handle(engine)
    document = json.loads(contents)
    assert secret is True
    assert document["clusters"] == [
        {
            "name": "inference-prod",
            "cluster": {"server": "https://203.0.113.7", "certificate-authority-data": "Q0E="},
        }
    ]
    assert document["users"][0]["user"]["exec"]["command"] == "gke-gcloud-auth-plugin"
    provider = engine.one("providers:kubernetes", "prod-provider")
    assert provider["clusterIdentifier"] == "gke_acme-inference_us-central1_inference-prod"
    assert made.simulated is False


def test_the_dns_endpoint_needs_no_certificate(engine: Engine) -> None:
    _, contents, _ = handle(engine, dns_endpoint=True)
    assert json.loads(contents)["clusters"][0]["cluster"] == {"server": "https://gke-1.us-central1.gke.goog"}


def test_what_gke_brings(engine: Engine) -> None:
    made, _, _ = handle(engine)
    assert made.provides == {Capability.DEVICE_PLUGIN, Capability.DCGM_EXPORTER}
    without, _, _ = handle(engine, managed_dcgm=False)
    assert without.provides == {Capability.DEVICE_PLUGIN}


def test_the_gateway_is_inside_the_network_unless_it_is_said_to_be_public(engine: Engine) -> None:
    made, _, _ = handle(engine)
    assert made.gateway.service_type == "LoadBalancer"
    assert made.gateway.annotations == {"networking.gke.io/load-balancer-type": "Internal"}
    public, _, _ = handle(engine, public_gateway=True)
    assert public.gateway.annotations == {"cloud.google.com/l4-rbs": "enabled"}


def test_filestore(engine: Engine) -> None:
    build(engine, weights_store="shared-files")
    assert engine.one("filestore/instance:Instance", "prod-weights-filestore") == {
        "name": "inference-prod",
        "location": "us-central1",
        "tier": "REGIONAL",
        "fileShares": {"name": "weights", "capacityGb": 1024},
        "networks": [{"network": "prod-network-id", "modes": ["MODE_IPV4"]}],
        "labels": {"team": "ml"},
        "deletionProtectionEnabled": False,
    }
    spec = engine.one("PersistentVolume", "prod-weights-volume")["spec"]
    assert spec["csi"] == {
        "driver": "filestore.csi.storage.gke.io",
        "volumeHandle": "modeInstance/us-central1/inference-prod/weights",
        "volumeAttributes": {"ip": "10.9.0.2", "volume": "weights"},
    }
    assert cluster(engine)["addonsConfig"]["gcpFilestoreCsiDriverConfig"] == {"enabled": True}


def test_filestore_in_a_zone(engine: Engine) -> None:
    settings = SETTINGS.model_copy(update={"zone": "us-central1-b", "filestore_tier": FilestoreTier.ZONAL})
    build(engine, weights_store="shared-files", settings=settings)
    instance = engine.one("filestore/instance:Instance", "prod-weights-filestore")
    assert (instance["location"], instance["tier"]) == ("us-central1-b", "ZONAL")
    assert "deletionProtectionEnabled" not in instance


def test_a_bucket_for_the_pods_of_the_environment_alone(engine: Engine) -> None:
    build(engine, weights_store="object-store")
    bucket = engine.one("Bucket", "prod-weights-bucket")
    assert bucket["name"] == "inference-prod-acme-inference"
    assert bucket["publicAccessPrevention"] == "enforced"
    assert bucket["forceDestroy"] is True
    assert engine.one("BucketIAMMember", "prod-weights-pods") == {
        "bucket": "inference-prod-acme-inference",
        "role": "roles/storage.objectUser",
        "member": "principalSet://iam.googleapis.com/projects/123456789/locations/global/workloadIdentityPools/"
        "acme-inference.svc.id.goog/namespace/inference-prod",
    }
    assert engine.one("PersistentVolume", "prod-weights-volume")["spec"]["csi"] == {
        "driver": "gcsfuse.csi.storage.gke.io",
        "volumeHandle": "inference-prod-acme-inference",
    }
    assert cluster(engine)["addonsConfig"]["gcsFuseCsiDriverConfig"] == {"enabled": True}


def test_weights_on_the_nodes_need_nothing(engine: Engine) -> None:
    build(engine)
    assert not [item for item in engine.seen if "PersistentVolume" in item.type or "filestore" in item.type]


def test_long_names_are_cut_to_googles_limits_and_stay_apart(engine: Engine) -> None:
    found = []
    for environment in ("a" * 52 + "x", "a" * 52 + "y"):
        build(engine, POOL, environment=environment, weights_store="object-store")
        names = {
            "cluster": cluster(engine)["name"],
            "account": engine.one("Account", "prod-nodes")["accountId"],
            "bucket": engine.one("Bucket", "prod-weights-bucket")["name"],
            "network": engine.one("compute/network:Network", "prod-network")["name"],
        }
        limits = {"cluster": 40, "account": 30, "bucket": 63, "network": 63}
        assert all(len(names[kind]) <= limit for kind, limit in limits.items()), names
        found.append(names)
    assert all(found[0][kind] != found[1][kind] for kind in ("cluster", "account", "bucket", "network"))


def test_whoever_mounts_the_bucket_asks_for_the_container_that_does_it(engine: Engine) -> None:
    """Engines and the Job that downloads."""
    mounted = {"gke-gcsfuse/volumes": "true"}

    def program() -> None:
        base = context()
        where = replace(base, weights_claim="weights", weights_annotations=mounted, preload=True)
        load_serving_stack("manifests", where).deploy(replace(CHAT, simulation=None))

    engine.run(program)
    pods = [
        engine.one(":Deployment", "chat-engine")["spec"]["template"]["metadata"],
        engine.one(":Job", "chat-weights")["spec"]["template"]["metadata"],
    ]
    assert all(mounted.items() <= pod["annotations"].items() for pod in pods)
