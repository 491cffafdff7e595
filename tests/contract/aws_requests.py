"""What the AWS provider would send for the inputs of a resource, and what AWS' own API models say of it.

Built on botocore's service models: required members, types, lengths, ranges, enumerations. Only EC2 and EKS say little
of the form of texts, so that an id's or a zone's existence stays open.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import botocore.session
from botocore.model import OperationModel
from botocore.validate import ParamValidator

Request = tuple[str, str, dict[str, Any]]
"""Service, operation, parameters."""


@cache
def operation(service: str, name: str) -> OperationModel:
    """AWS' model of an operation."""
    return botocore.session.get_session().get_service_model(service).operation_model(name)


def objections(service: str, name: str, parameters: Mapping[str, Any]) -> list[str]:
    """What the API's model does not take of these parameters; the words of enumerations and forms of texts too."""
    shape = operation(service, name).input_shape
    assert shape is not None
    report = ParamValidator().validate(parameters, shape)
    found = [report.generate_report()] if report.has_errors() else []
    return [*found, *_words(parameters, shape, name)]


def _words(value: Any, shape: Any, path: str) -> Iterator[str]:
    """What a text must be: botocore leaves it to the service, but it is in the service's model."""
    if shape.type_name == "string":
        words, pattern = shape.metadata.get("enum"), shape.metadata.get("pattern")
        if words and value not in words:
            yield f"{path}: {value!r} is none of {words}"
        if pattern and not re.fullmatch(_ascii(pattern), value):
            yield f"{path}: {value!r} does not match {pattern}"
        return
    for name, item, inner in _parts(value, shape):
        yield from _words(item, inner, f"{path}{name}")


def _parts(value: Any, shape: Any) -> list[tuple[str, Any, Any]]:
    """Parts of a value with their names and shapes."""
    match shape.type_name:
        case "structure":
            return [(f".{key}", item, shape.members[key]) for key, item in value.items() if key in shape.members]
        case "map":
            return [(f"[{key}]", item, shape.value) for key, item in value.items()]
        case "list":
            return [(f"[{index}]", item, shape.member) for index, item in enumerate(value)]
        case _:
            return []


def _ascii(pattern: str) -> str:
    """A pattern with Unicode's classes, which `re` does not know, cut down to what we write."""
    for unicode, ascii_ in ((r"\p{L}", "A-Za-z"), (r"\p{Z}", " "), (r"\p{N}", "0-9"), (r"\p{S}", "$+<=>^`|~")):
        pattern = pattern.replace(unicode, ascii_)
    return pattern


def node_group(inputs: Mapping[str, Any]) -> Request:
    """`aws.eks.NodeGroup`."""
    kept = (
        "clusterName",
        "scalingConfig",
        "instanceTypes",
        "amiType",
        "capacityType",
        "labels",
        "taints",
        "updateConfig",
        "nodeRepairConfig",
        "tags",
        "version",
        "launchTemplate",
    )
    return (
        "eks",
        "CreateNodegroup",
        {
            **_some(inputs, kept),
            "nodegroupName": f"{inputs['nodeGroupNamePrefix']}{'2' * 26}",
            "nodeRole": inputs["nodeRoleArn"],
            "subnets": inputs["subnetIds"],
        },
    )


def launch_template(inputs: Mapping[str, Any]) -> Request:
    """`aws.ec2.LaunchTemplate`; the provider sends numbers and truths as such."""
    data = {
        _upper(key): _upper_all(inputs[key])
        for key in (
            "instanceType",
            "metadataOptions",
            "monitoring",
            "capacityReservationSpecification",
            "instanceMarketOptions",
            "userData",
        )
        if key in inputs
    }
    data["BlockDeviceMappings"] = [
        _upper_all({**item, "ebs": {**item["ebs"], **{key: item["ebs"][key] == "true" for key in TRUTHS}}})
        for item in inputs["blockDeviceMappings"]
    ]
    data["TagSpecifications"] = [
        {"ResourceType": item["resourceType"], "Tags": _tags(item["tags"])} for item in inputs["tagSpecifications"]
    ]
    return "ec2", "CreateLaunchTemplate", {"LaunchTemplateName": "template", "LaunchTemplateData": data}


TRUTHS = ("encrypted", "deleteOnTermination")


def cluster(inputs: Mapping[str, Any]) -> Request:
    """`aws.eks.Cluster`."""
    vpc = dict(inputs["vpcConfig"])
    encryption = inputs["encryptionConfig"]
    logs = inputs["enabledClusterLogTypes"]
    kept = (
        "name",
        "version",
        "accessConfig",
        "bootstrapSelfManagedAddons",
        "upgradePolicy",
        "deletionProtection",
        "tags",
    )
    return (
        "eks",
        "CreateCluster",
        {
            **_some(inputs, kept),
            "bootstrapSelfManagedAddons": inputs["bootstrapSelfManagedAddons"],
            "roleArn": inputs["roleArn"],
            "resourcesVpcConfig": vpc,
            "encryptionConfig": [encryption],
            "logging": {"clusterLogging": [{"types": logs, "enabled": True}] if logs else []},
        },
    )


def addon(inputs: Mapping[str, Any]) -> Request:
    """`aws.eks.Addon`."""
    kept = ("addonName", "clusterName", "addonVersion", "podIdentityAssociations", "tags")
    return (
        "eks",
        "CreateAddon",
        {**_some(inputs, kept), "resolveConflicts": inputs["resolveConflictsOnCreate"]},
    )


def _direct(service: str, name: str, *kept: str) -> Callable[[Mapping[str, Any]], Request]:
    return lambda inputs: (service, name, _some(inputs, kept))


def subnet(inputs: Mapping[str, Any]) -> Request:
    """`aws.ec2.Subnet`."""
    kept = _upper_all(_some(inputs, ("vpcId", "cidrBlock", "availabilityZone")))
    tags = [{"ResourceType": "subnet", "Tags": _tags(inputs["tags"])}]
    return "ec2", "CreateSubnet", {**kept, "TagSpecifications": tags}


REQUESTS: Mapping[str, Callable[[Mapping[str, Any]], Request]] = {
    "aws:eks/nodeGroup:NodeGroup": node_group,
    "aws:ec2/launchTemplate:LaunchTemplate": launch_template,
    "aws:eks/cluster:Cluster": cluster,
    "aws:eks/addon:Addon": addon,
    "aws:ec2/subnet:Subnet": subnet,
    "aws:eks/accessEntry:AccessEntry": _direct(
        "eks", "CreateAccessEntry", "clusterName", "principalArn", "type", "tags"
    ),
    "aws:eks/accessPolicyAssociation:AccessPolicyAssociation": _direct(
        "eks", "AssociateAccessPolicy", "clusterName", "principalArn", "policyArn", "accessScope"
    ),
    "aws:eks/podIdentityAssociation:PodIdentityAssociation": _direct(
        "eks", "CreatePodIdentityAssociation", "clusterName", "namespace", "serviceAccount", "roleArn", "tags"
    ),
    "aws:iam/role:Role": lambda inputs: (
        "iam",
        "CreateRole",
        {
            "RoleName": f"{inputs['namePrefix']}{'2' * 26}",
            "AssumeRolePolicyDocument": inputs["assumeRolePolicy"],
            "Tags": _tags(inputs["tags"]),
        },
    ),
    "aws:iam/rolePolicy:RolePolicy": lambda inputs: (
        "iam",
        "PutRolePolicy",
        {"RoleName": "role", "PolicyName": inputs["name"], "PolicyDocument": inputs["policy"]},
    ),
    "aws:iam/instanceProfile:InstanceProfile": lambda inputs: (
        "iam",
        "CreateInstanceProfile",
        {"InstanceProfileName": f"{inputs['namePrefix']}{'2' * 26}", "Tags": _tags(inputs["tags"])},
    ),
    "aws:kms/alias:Alias": lambda inputs: (
        "kms",
        "CreateAlias",
        {"AliasName": inputs["name"], "TargetKeyId": inputs["targetKeyId"]},
    ),
    "aws:cloudwatch/logGroup:LogGroup": lambda inputs: (
        "logs",
        "CreateLogGroup",
        {"logGroupName": inputs["name"], "tags": inputs["tags"]},
    ),
    "aws:sqs/queue:Queue": lambda inputs: ("sqs", "CreateQueue", {"QueueName": f"{inputs['namePrefix']}{'2' * 26}"}),
    "aws:cloudwatch/eventRule:EventRule": lambda inputs: (
        "events",
        "PutRule",
        {"Name": f"{inputs['namePrefix']}{'2' * 26}", "EventPattern": inputs["eventPattern"]},
    ),
    "aws:efs/fileSystem:FileSystem": lambda inputs: (
        "efs",
        "CreateFileSystem",
        {
            "CreationToken": "token",
            "Encrypted": inputs["encrypted"],
            "ThroughputMode": inputs["throughputMode"],
            "PerformanceMode": inputs["performanceMode"],
            "Tags": _tags(inputs["tags"]),
        },
    ),
    "aws:fsx/lustreFileSystem:LustreFileSystem": lambda inputs: (
        "fsx",
        "CreateFileSystem",
        {
            "FileSystemType": "LUSTRE",
            "StorageCapacity": inputs["storageCapacity"],
            "StorageType": inputs["storageType"],
            "SubnetIds": ["subnet-0123456789abcdef0"],
            "LustreConfiguration": {"DeploymentType": inputs["deploymentType"]},
            "Tags": _tags(inputs["tags"]),
        },
    ),
}
"""The request for each type of resource whose inputs depend on the configuration."""


def _some(inputs: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: inputs[name] for name in names if name in inputs}


def _upper(name: str) -> str:
    return name[0].upper() + name[1:]


def _upper_all(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_upper(key): _upper_all(item) for key, item in value.items()}
    return [_upper_all(item) for item in value] if isinstance(value, list) else value


def _tags(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
