"""Amazon Web Services: ids, ARNs and lookups in the forms of its API references."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from local.provider_double import synthesis
from local.provider_double.clouds.base import Answer, Cloud
from local.provider_double.facts import facts
from local.provider_double.wire import Properties

ZONES = ("a", "b", "c", "d")
KUBERNETES_VERSION = "1.33"


class Aws(Cloud):
    """Answers of the aws provider."""

    @property
    def region(self) -> str:
        """Region of the provider."""
        return str(self.config.get("region") or self.account.aws_region)

    def account_values(self) -> dict[str, Any]:
        return {"account": self.account.aws_account, "region": self.region}

    def id_values(self, token: str, inputs: Properties) -> dict[str, Any]:
        values = super().id_values(token, inputs)
        if "{arn}" in (facts(token).id or ""):
            values["arn"] = self.arn(token, "", inputs)
        return values

    def arn(self, token: str, identifier: str, inputs: Properties) -> str:
        """ARN of a resource; by the type's module where its own form is not in the tables."""
        module, kind = token.split(":")[1].split("/")
        form = facts(token).arn or f"arn:aws:{module}:{{region}}:{{account}}:{kind.lower()}/{{id}}"
        return form.format(
            id=identifier,
            name=inputs.get("name") or identifier,
            path=identifier.replace(":", "/"),
            uuid=synthesis.uuid(identifier),
            url=str(inputs.get("url", "")).removeprefix("https://"),
            account=self.account.aws_account,
            region=inputs.get("region") or self.region,
        )

    def known_outputs(self, token: str, identifier: str, inputs: Properties) -> Properties:
        region = inputs.get("region") or self.region
        default_tags = self.config.get("defaultTags") or {}
        if isinstance(default_tags, str):
            default_tags = json.loads(default_tags)
        found: Properties = {
            "arn": self.arn(token, identifier, inputs),
            "region": region,
            "ownerId": self.account.aws_account,
            "tagsAll": {**default_tags.get("tags", {}), **inputs.get("tags", {})},
            **self._special(token, identifier, inputs, region),
        }
        declared = self.declared(token)
        return {key: value for key, value in found.items() if key in declared}

    def _special(self, token: str, identifier: str, inputs: Properties, region: str) -> Properties:
        digits = synthesis.hex_digits(identifier, length=32).upper()
        if token == "aws:eks/cluster:Cluster":
            return {
                "endpoint": self.account.api_server or f"https://{digits}.gr7.{region}.eks.amazonaws.com",
                "certificateAuthority": {"data": self.account.certificate},
                "identities": [{"oidcs": [{"issuer": f"https://oidc.eks.{region}.amazonaws.com/id/{digits}"}]}],
                "version": inputs.get("version") or KUBERNETES_VERSION,
                "platformVersion": "eks.1",
                "vpcConfig": {
                    **inputs.get("vpcConfig", {}),
                    "clusterSecurityGroupId": f"sg-{digits[:17].lower()}",
                    "vpcId": f"vpc-{digits[-17:].lower()}",
                },
            }
        if token == "aws:eks/nodeGroup:NodeGroup":
            group = f"eks-{inputs.get('nodeGroupName')}-{synthesis.uuid(identifier)}"
            return {
                "resources": [{"autoscalingGroups": [{"name": group}], "remoteAccessSecurityGroupId": ""}],
                "version": inputs.get("version") or KUBERNETES_VERSION,
            }
        if token == "aws:ec2/subnet:Subnet":
            return {"availabilityZone": inputs.get("availabilityZone") or f"{region}{ZONES[int(digits[0], 16) % 3]}"}
        if token == "aws:sqs/queue:Queue":
            url = f"https://sqs.{region}.amazonaws.com/{self.account.aws_account}/{inputs.get('name')}"
            return {"url": url}
        if token == "aws:ec2/launchTemplate:LaunchTemplate":
            return {"latestVersion": 1, "defaultVersion": 1}
        return {}

    def functions(self) -> Mapping[str, Answer]:
        account, region = self.account.aws_account, self.region
        caller = {
            "accountId": account,
            "arn": f"arn:aws:iam::{account}:user/double",
            "userId": "AIDADOUBLE",
            "id": account,
        }
        return {
            "aws:index/getCallerIdentity:getCallerIdentity": lambda _: caller,
            "aws:index/getPartition:getPartition": lambda _: {
                "partition": "aws",
                "dnsSuffix": "amazonaws.com",
                "id": "aws",
                "reverseDnsPrefix": "com.amazonaws",
            },
            "aws:index/getRegion:getRegion": lambda given: {
                "region": given.get("region") or region,
                "name": given.get("region") or region,
                "id": region,
            },
            "aws:index/getAvailabilityZones:getAvailabilityZones": lambda given: _zones(given.get("region") or region),
            "aws:iam/getPolicyDocument:getPolicyDocument": _policy_document,
            "aws:ssm/getParameter:getParameter": self._parameter,
            "aws:eks/getCluster:getCluster": self._cluster,
            "aws:eks/getClusterAuth:getClusterAuth": lambda given: {"token": "k8s-aws-v1.double", "id": given["name"]},
        }

    def _parameter(self, given: Mapping[str, Any]) -> Properties:
        """The public parameters of EKS images; any other has a made-up value."""
        name = str(given["name"])
        value = f"ami-{synthesis.hex_digits(name)}" if name.endswith("image_id") else f"value-of-{name}"
        value = "1.33.0-20260101" if name.endswith("release_version") else value
        return {"value": value, "insecureValue": value, "type": "String", "version": 1}

    def _cluster(self, given: Mapping[str, Any]) -> Properties:
        """A cluster that this double made, or a made-up one that is there already."""
        name = str(given["name"])
        made = self.world.get("aws:eks/cluster:Cluster", name)
        outputs = made.outputs if made else self._special("aws:eks/cluster:Cluster", name, {}, self.region)
        authority = outputs["certificateAuthority"]
        return {**outputs, "id": name, "name": name, "status": "ACTIVE", "certificateAuthorities": [authority]}


def _zones(region: str) -> Properties:
    zones = [f"{region}{letter}" for letter in ZONES]
    return {"names": zones, "zoneIds": [f"use1-az{number + 1}" for number in range(len(zones))], "id": region}


def _policy_document(given: Mapping[str, Any]) -> Properties:
    """The JSON that the real function makes on the client's side."""
    statements = [_statement(statement) for statement in given.get("statements", [])]
    text = json.dumps({"Version": given.get("version") or "2012-10-17", "Statement": statements})
    return {"json": text, "minifiedJson": text, "id": synthesis.number(text, digits=10)}


def _statement(given: Mapping[str, Any]) -> dict[str, Any]:
    names = {"actions": "Action", "notActions": "NotAction", "resources": "Resource", "notResources": "NotResource"}
    found: dict[str, Any] = {"Effect": given.get("effect") or "Allow"}
    if given.get("sid"):
        found["Sid"] = given["sid"]
    for name, key in names.items():
        if given.get(name):
            found[key] = given[name][0] if len(given[name]) == 1 else given[name]
    principals: dict[str, Any] = {}
    for principal in given.get("principals", []):
        principals.setdefault(principal["type"], []).extend(principal["identifiers"])
    if principals:
        found["Principal"] = {kind: ids[0] if len(ids) == 1 else ids for kind, ids in principals.items()}
    conditions: dict[str, Any] = {}
    for condition in given.get("conditions", []):
        values = condition["values"]
        conditions.setdefault(condition["test"], {})[condition["variable"]] = values[0] if len(values) == 1 else values
    if conditions:
        found["Condition"] = conditions
    return found
