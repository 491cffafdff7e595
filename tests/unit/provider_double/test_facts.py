"""The tables of resource facts, and what the double makes of them.

Proves that the tables name only types and properties that the SDKs have, and how differences and references are
judged. Does not prove that the facts are still those of the providers: each row names its source.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from local.provider_double import diff, facts, sdk_types
from local.provider_double.clouds import Account, cloud_of
from local.provider_double.world import Fault, ProviderError, Thing, World

pytestmark = pytest.mark.unit

PACKAGES = ["aws", "azure-native", "gcp", "kubernetes"]
ACCOUNT_VALUES = {"hex", "uuid", "arn", "account", "region", "location", "project", "subscription", "email", "id"}
NODE_GROUP = "aws:eks/nodeGroup:NodeGroup"
NODE_POOL = "gcp:container/nodePool:NodePool"
CLUSTER = "aws:eks/cluster:Cluster"


def property_exists(token: str, path: str) -> bool:
    """Whether the argument classes have a property at a path without list indices."""
    types = sdk_types.shape(sdk_types.arguments_class(token)).types
    names = path.replace("[]", "").split(".")
    for position, name in enumerate(names):
        if name not in types:
            return False
        if position < len(names) - 1:
            types = nested(types[name])
    return True


def nested(hint: Any) -> Any:
    """Properties of the objects in a type, or in a list or map of them."""
    for member in sdk_types.union_members(hint):
        for part in (member, *getattr(member, "__args__", ())):
            for cls in sdk_types.union_members(part):
                if isinstance(cls, type) and cls.__name__.endswith("Args"):
                    return sdk_types.shape(cls).types
    return {}


@pytest.mark.parametrize("package", PACKAGES)
def test_the_tables_name_only_what_the_sdk_has(package: str) -> None:
    pytest.importorskip(sdk_types.PACKAGES[package])
    wrong = []
    for token, entry in facts.table(package).items():
        arguments = sdk_types.shape(sdk_types.arguments_class(token)).types
        names = {*re.findall(r"\{(\w+)\}", entry.get("id", "")), entry.get("name", "id")} - ACCOUNT_VALUES
        references = {**entry.get("requires", {}), **entry.get("holds", {})}
        paths = [*entry.get("replaces", ()), *entry.get("refuses", ()), *references]
        wrong += [(token, name) for name in names if name not in arguments]
        wrong += [(token, path) for path in paths if not property_exists(token, path)]
        wrong += [(token, other) for other in references.values() if other not in sdk_types.known_tokens(package)]
    assert wrong == []


@pytest.mark.parametrize("package", PACKAGES)
def test_what_is_known_of_changes_has_a_source(package: str) -> None:
    columns = ("replaces", "refuses", "requires", "holds")
    entries = facts.table(package).items()
    assert [
        token for token, entry in entries if any(column in entry for column in columns) and "source" not in entry
    ] == []


DEPLOYMENT = "kubernetes:apps/v1:Deployment"
POD = "kubernetes:core/v1:Pod"
LAUNCH_TEMPLATE = {"launchTemplate": {"id": "lt"}}


def machine(**config: Any) -> dict[str, Any]:
    return {"nodeConfig": config}


@pytest.mark.parametrize(
    ("token", "old", "new", "expected"),
    [
        (NODE_GROUP, {"instanceTypes": ["a"]}, {"instanceTypes": ["b"]}, {("instanceTypes[0]", "UPDATE", True)}),
        (NODE_GROUP, {"labels": {"a": "1"}}, {"labels": {}}, {("labels.a", "DELETE", False)}),
        (NODE_GROUP, {}, LAUNCH_TEMPLATE, {("launchTemplate", "ADD", True)}),
        (NODE_GROUP, {"taints": [1]}, {"taints": [1]}, set()),
        # GKE changes the machine type of a pool in place, unlike the other two.
        (NODE_POOL, machine(machineType="a"), machine(machineType="b"), {("nodeConfig.machineType", "UPDATE", False)}),
        (NODE_POOL, machine(spot=True), machine(), {("nodeConfig.spot", "DELETE", True)}),
        (POD, {"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}, {("metadata.name", "UPDATE", True)}),
        (DEPLOYMENT, {"spec": {"replicas": 1}}, {"spec": {"replicas": 2}}, {("spec.replicas", "UPDATE", False)}),
    ],
)
def test_differences(
    token: str, old: dict[str, Any], new: dict[str, Any], expected: set[tuple[str, str, bool]]
) -> None:
    pytest.importorskip(sdk_types.PACKAGES[token.split(":", maxsplit=1)[0]])
    found = {(item.path, item.kind, item.replaces) for item in diff.differences(token, old, new)}
    assert found == expected


def world_with_cluster() -> World:
    world = World()
    world.add(Thing("urn::s::p::t::c", CLUSTER, "c", {}, {"name": "c", "arn": "arn:c"}))
    return world


def test_a_node_group_needs_its_cluster_and_holds_it() -> None:
    pytest.importorskip("pulumi_aws")
    world = world_with_cluster()
    cloud = cloud_of("aws", Account(), world)
    cloud.check_requirements(NODE_GROUP, {"clusterName": "c"})
    with pytest.raises(ProviderError, match="there is no aws:eks/cluster:Cluster d"):
        cloud.check_requirements(NODE_GROUP, {"clusterName": "d"})
    (cluster,) = world.find("Cluster")
    cloud.check_holders(cluster)
    world.add(Thing("urn::s::p::t::ng", NODE_GROUP, "c:ng", {"clusterName": "c"}, {}))
    with pytest.raises(ProviderError, match="in use by aws:eks/nodeGroup:NodeGroup c:ng"):
        cloud.check_holders(cluster)


def test_two_things_cannot_have_one_id() -> None:
    with pytest.raises(ProviderError, match="already exists"):
        world_with_cluster().add(Thing("urn::s::p::t::other", CLUSTER, "c", {}, {}))


def test_a_fault_hits_as_often_as_it_says() -> None:
    world = World()
    world.inject(Fault("create", "NodeGroup", "pool", "no capacity", times=1))
    world.suffer("delete", NODE_GROUP, "pool")
    world.suffer("create", NODE_GROUP, "other")
    with pytest.raises(ProviderError, match="no capacity"):
        world.suffer("create", NODE_GROUP, "pool")
    world.suffer("create", NODE_GROUP, "pool")


def test_names_are_made_up_once_and_kept() -> None:
    pytest.importorskip("pulumi_aws")
    cloud = cloud_of("aws", Account(), World())
    first = cloud.with_defaults(NODE_GROUP, "pool", {}, {}, b"1")
    assert re.fullmatch(r"pool-[0-9a-f]{7}", first["nodeGroupName"])
    assert cloud.with_defaults(NODE_GROUP, "pool", {}, first, b"2") == first
    # A replacement is checked without old inputs, so that it gets another name.
    assert cloud.with_defaults(NODE_GROUP, "pool", {}, {}, b"2")["nodeGroupName"] != first["nodeGroupName"]
    given = cloud.with_defaults(NODE_GROUP, "pool", {"nodeGroupName": "mine"}, {}, b"1")
    assert diff.same_given_name(NODE_GROUP, given, given)
    assert not diff.same_given_name(NODE_GROUP, first, first)
