"""The flat program that `make bench` measures against, from a state of a few resources.

Does not run it: that it registers the same resources is checked by the benchmark itself, before it measures.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from bench import flat_program

pytestmark = pytest.mark.unit

STACK = "urn:pulumi:s::inference-platform::"
COMPONENT = f"{STACK}inference-platform:aws:Network::s"
AWS = f"{STACK}inference-platform:aws:Network$pulumi:providers:aws::s-aws"
KUBERNETES = f"{STACK}pulumi:providers:kubernetes::s-provider"
NETWORK = f"{STACK}inference-platform:aws:Network$aws:ec2/vpc:Vpc::s-vpc"
SECRET = {
    "4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270",
    "plaintext": json.dumps("apiVersion: v1"),
}


def resource(urn: str, type_: str, inputs: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"urn": urn, "type": type_, "custom": True, "id": f"{urn[-5:]}-0123456789", "inputs": inputs, **more}


RESOURCES = [
    {"urn": COMPONENT, "type": "inference-platform:aws:Network", "custom": False},
    resource(AWS, "pulumi:providers:aws", {"region": "us-east-1", "skipRegionValidation": "true", "version": "7.51.1"}),
    resource(KUBERNETES, "pulumi:providers:kubernetes", {"kubeconfig": SECRET}, dependencies=[NETWORK]),
    resource(
        NETWORK,
        "aws:ec2/vpc:Vpc",
        {"cidrBlock": "10.0.0.0/16", "__defaults": []},
        provider=f"{AWS}::id",
        outputs={"arn": "arn:aws:ec2:us-east-1:123456789012:vpc/vpc-1", "cidrBlock": "10.0.0.0/16"},
        protect=True,
    ),
    resource(
        f"{STACK}aws:ec2/subnet:Subnet::s-subnet",
        "aws:ec2/subnet:Subnet",
        {"vpcId": "s-vpc-0123456789", "cidrBlock": "10.0.0.0/16"},
        provider=f"{AWS}::id",
        dependencies=[NETWORK],
        propertyDependencies={"vpcId": [NETWORK], "cidrBlock": []},
        ignoreChanges=["tags"],
    ),
    resource(
        f"{STACK}kubernetes:keda.sh/v1alpha1:ScaledObject::chat",
        "kubernetes:keda.sh/v1alpha1:ScaledObject",
        {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": {"name": "chat"}, "spec": {"a": 1}},
        provider=f"{KUBERNETES}::id",
        customTimeouts={"create": 120, "update": 0},
    ),
]


def calls(program: str) -> dict[str, ast.Call]:
    """The constructor of each resource."""
    made = {}
    for node in ast.walk(ast.parse(program)):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
            assert isinstance(node.value, ast.Call)
            made[ast.literal_eval(node.targets[0].slice)] = node.value
    return made


def test_the_same_resources_without_components(tmp_path: Path) -> None:
    assert flat_program.write({"deployment": {"resources": RESOURCES}}, tmp_path) == 5
    text = (tmp_path / "__main__.py").read_text()
    made = calls(text)
    assert {key: ast.unparse(call.func) for key, call in made.items()} == {
        "r0": "aws.Provider",
        "r1": "kubernetes.Provider",
        "r2": "aws.ec2.Vpc",
        "r3": "aws.ec2.Subnet",
        "r4": "CustomResource",
    }
    given = {key: {word.arg: ast.unparse(word.value) for word in call.keywords} for key, call in made.items()}
    assert given["r0"]["skip_region_validation"] == "True"
    assert given["r1"]["kubeconfig"] == "pulumi.Output.secret('apiVersion: v1')"
    assert "made['r2']" in given["r1"]["opts"]
    # Not the address, which is the same by chance: the subnet does not take it from the network.
    assert given["r3"]["vpc_id"] == "made['r2'].id"
    assert given["r3"]["cidr_block"] == "'10.0.0.0/16'"
    assert given["r3"]["opts"] == "options('r0', ['r2'], ['tags'], False, {})"
    assert given["r2"]["opts"] == "options('r0', [], [], True, {})"
    assert given["r4"]["api_version"] == "'keda.sh/v1alpha1'"
    assert given["r4"]["opts"] == "options('r1', [], [], False, {'create': '120s'})"


def test_names_can_be_changed_so_that_both_can_be_there() -> None:
    assert flat_program.read_export('{"name": "inference-bench"}', {"inference-bench": "inference-flat"}) == {
        "name": "inference-flat"
    }
