"""What the provider makes of our inputs: the messages of GKE's own API (google.cloud.container_v1), strictly parsed.

The provider's inputs are the API's fields but for some names; the differences are those of the provider's source
(hashicorp/terraform-provider-google services/container/node_config.go, resource_container_cluster.go). A field or word
that the API does not know is an error of the parser.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.cloud import container_v1
from google.protobuf import json_format

Inputs = Mapping[str, Any]


def node_pool(inputs: Inputs) -> container_v1.NodePool:
    """The message of a NodePool's inputs.

    Raises:
        json_format.ParseError: the API has no such field or word.
    """
    fields = {key: value for key, value in inputs.items() if key not in {"cluster", "location", "nodeConfig"}}
    message = {**renamed(fields, {"nodeLocations": "locations"}), "config": node_config(inputs["nodeConfig"])}
    if "autoscaling" in message:
        message["autoscaling"] = {**message["autoscaling"], "enabled": True}
    found: container_v1.NodePool = parsed(container_v1.NodePool, message)
    return found


def node_config(inputs: Inputs) -> dict[str, Any]:
    """A node's configuration; `guestAccelerators` are `accelerators` of the API."""
    message = renamed(inputs, {"guestAccelerators": "accelerators"})
    if "accelerators" in message:
        names = {"type": "acceleratorType", "count": "acceleratorCount"}
        message["accelerators"] = [renamed(item, names) for item in message["accelerators"]]
    return message


def cluster(inputs: Inputs) -> container_v1.Cluster:
    """The message of a Cluster's inputs.

    Raises:
        json_format.ParseError: the API has no such field or word.
    """
    names = {"minMasterVersion": "initialClusterVersion", "clusterAutoscaling": "autoscaling"}
    gone = {
        "removeDefaultNodePool",
        "deletionProtection",
        "networkingMode",
        "datapathProvider",
        "enableL4IlbSubsetting",
        "enableShieldedNodes",
        "location",
    }
    message = renamed({key: value for key, value in inputs.items() if key not in gone}, names)
    message["nodeConfig"] = node_config(message["nodeConfig"])
    message["ipAllocationPolicy"] = {**message["ipAllocationPolicy"], "useIpAliases": True}
    message["networkConfig"] = {
        "datapathProvider": inputs["datapathProvider"],
        "enableL4ilbSubsetting": inputs["enableL4IlbSubsetting"],
    }
    message["shieldedNodes"] = {"enabled": inputs["enableShieldedNodes"]}
    message["maintenancePolicy"] = {"window": message["maintenancePolicy"]}
    message["masterAuthorizedNetworksConfig"] = {**message["masterAuthorizedNetworksConfig"], "enabled": True}
    message["autoscaling"] = renamed(message["autoscaling"], {"enabled": "enableNodeAutoprovisioning"})
    message["loggingConfig"] = {"componentConfig": message["loggingConfig"]}
    monitoring = dict(message["monitoringConfig"])
    message["monitoringConfig"] = {
        "componentConfig": {"enableComponents": monitoring["enableComponents"]},
        "managedPrometheusConfig": monitoring["managedPrometheus"],
    }
    found: container_v1.Cluster = parsed(container_v1.Cluster, message)
    return found


def renamed(fields: Inputs, names: Mapping[str, str]) -> dict[str, Any]:
    """The fields under the API's names."""
    return {names.get(key, key): value for key, value in fields.items()}


def parsed(kind: Any, message: Inputs) -> Any:
    """The message, parsed strictly."""
    return kind.wrap(json_format.ParseDict(whole(message), kind.pb()(), ignore_unknown_fields=False))


def whole(value: Any) -> Any:
    """Numbers as they were: Pulumi's mocks hand every number over as a float."""
    if isinstance(value, Mapping):
        return {key: whole(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
