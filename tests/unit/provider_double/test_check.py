"""Inputs against the SDK's own types: token and inputs in, list of failures out.

Proves what the checker refuses and what it lets pass. Does not prove that a cloud takes what passes: ranges,
formats and combinations are the contract tests'. The clouds' cases are skipped where their SDK is not installed.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.provider_double import check_config, check_function, check_inputs, sdk_types
from local.provider_double.check import errors
from local.provider_double.wire import UNKNOWN

pytestmark = pytest.mark.unit

NODE_GROUP: dict[str, Any] = {
    "clusterName": "c",
    "nodeRoleArn": "arn:aws:iam::123456789012:role/r",
    "subnetIds": ["subnet-1"],
    "scalingConfig": {"desiredSize": 0, "maxSize": 3, "minSize": 0},
}
DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "d", "labels": {"app": "d"}},
    "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "d"}}, "template": {"metadata": {}}},
}


def failures(token: str, inputs: dict[str, Any]) -> set[str]:
    pytest.importorskip(sdk_types.PACKAGES[token.split(":", maxsplit=1)[0]])
    return {str(failure) for failure in check_inputs(token, inputs)}


def deployment(**spec: Any) -> set[str]:
    return failures("kubernetes:apps/v1:Deployment", {**DEPLOYMENT, "spec": {**DEPLOYMENT["spec"], **spec}})


def node_group(**inputs: Any) -> set[str]:
    return failures("aws:eks/nodeGroup:NodeGroup", {**NODE_GROUP, **inputs})


def test_good_inputs_pass() -> None:
    assert deployment() == set()


def test_an_unknown_property_names_the_nearest_one() -> None:
    assert deployment(replica=1) == {"spec.replica: no such property; did you mean replicas?"}


def test_an_unknown_property_in_a_list_has_its_index() -> None:
    container = {"name": "c", "image": "i", "arg": ["--port"]}
    found = deployment(template={"metadata": {}, "spec": {"containers": [container]}})
    assert found == {"spec.template.spec.containers[0].arg: no such property; did you mean args?"}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("1", "expected a whole number, got '1'"),
        (1.5, "expected a whole number, got 1.5"),
        (True, "expected a whole number, got True"),
        ([1], "expected a whole number, got a list"),
    ],
)
def test_a_wrong_scalar_is_refused(value: Any, reason: str) -> None:
    assert deployment(replicas=value) == {f"spec.replicas: {reason}"}


def test_a_list_or_map_of_the_wrong_kind_is_refused() -> None:
    assert failures("kubernetes:core/v1:ConfigMap", {"data": ["a"]}) == {"data: expected a map, got a list"}
    assert failures("kubernetes:core/v1:ConfigMap", {"data": {"a.b": 1}}) == {'data["a.b"]: expected a string, got 1'}
    assert failures("kubernetes:core/v1:Service", {"spec": {"ports": {}}}) == {"spec.ports: expected a list, got a map"}


def test_a_missing_required_property_is_named() -> None:
    found = failures("kubernetes:apps/v1:Deployment", {**DEPLOYMENT, "spec": {"replicas": 1}})
    assert found == {"spec.selector: required property is missing", "spec.template: required property is missing"}


def test_what_is_not_known_yet_passes_anywhere() -> None:
    assert deployment(replicas=UNKNOWN, template=UNKNOWN) == set()


def test_a_property_of_two_types_takes_either() -> None:
    """A port of a probe is a number or a name."""
    for port, expected in ((8000, set()), ("http", set()), (True, {"a whole number", "a string"})):
        probe = {"httpGet": {"path": "/health", "port": port}}
        container = {"name": "c", "image": "i", "readinessProbe": probe}
        found = deployment(template={"metadata": {}, "spec": {"containers": [container]}})
        assert bool(found) == bool(expected), found


def test_a_custom_resource_is_held_against_what_all_objects_share() -> None:
    token = "kubernetes:keda.sh/v1alpha1:ScaledObject"
    inputs = {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": {"nam": "x"}, "spec": {"any": 1}}
    assert failures(token, inputs) == {"metadata.nam: no such property; did you mean name?"}


def test_chart_values_are_free() -> None:
    release = {"chart": "keda", "values": {"operator": {"replicaCount": 2}}, "timeout": 600}
    assert failures("kubernetes:helm.sh/v3:Release", release) == set()
    assert failures("kubernetes:helm.sh/v3:Release", {**release, "timeout": "10m"}) == {
        "timeout: expected a whole number, got '10m'"
    }


def test_provider_configuration_travels_as_json() -> None:
    assert check_config("kubernetes", {"kubeconfig": "{}", "enableServerSideApply": "true", "version": "4.25.0"}) == []
    found = check_config("kubernetes", {"kubeconfigg": "{}", "enableServerSideApply": '"x"'})
    assert {str(failure) for failure in found} == {
        "kubeconfigg: no such property; did you mean kubeconfig?",
        "enableServerSideApply: expected true or false, got 'x'",
    }


def test_aws_nested_arguments() -> None:
    assert node_group() == set()
    assert node_group(taints=[{"key": "nvidia.com/gpu", "efect": "NO_SCHEDULE"}]) == {
        "taints[0].efect: no such property; did you mean effect?",
        "taints[0].effect: required property is missing",
    }
    assert node_group(scalingConfig={"desiredSize": 0, "maxSize": 3}) == {
        "scalingConfig.minSize: required property is missing"
    }


def test_azure_names_and_open_enumerations() -> None:
    """A value that the SDK does not list is a warning: Azure's enumerations are open."""
    token = "azure-native:containerservice:AgentPool"
    inputs = {"resourceGroupName": "g", "resourceName": "c"}
    assert failures(token, {**inputs, "osSku": "Ubuntu"}) == {"osSku: no such property; did you mean osSKU?"}
    found = check_inputs(token, {**inputs, "osSKU": "Ubunto"})
    assert [failure.severity for failure in found] == ["warning"]
    assert errors(found) == []
    assert check_inputs(token, {**inputs, "osSKU": "Ubuntu"}) == []


def test_gcp_nested_arguments() -> None:
    accelerator = {"type": "nvidia-l4", "count": 1, "gpuSharingConfig": {"gpuSharingStrategy": "MPS"}}
    inputs = {"cluster": "c", "nodeConfig": {"guestAccelerators": [accelerator]}}
    assert failures("gcp:container/nodePool:NodePool", inputs) == {
        "nodeConfig.guestAccelerators[0].gpuSharingConfig.maxSharedClientsPerGpu: required property is missing"
    }


def test_a_type_that_is_not_there_names_the_nearest() -> None:
    (found,) = failures("aws:eks/nodegroup:Nodegroup", {})
    assert "has no resource aws:eks/nodegroup:Nodegroup; did you mean aws:eks/nodeGroup:NodeGroup?" in found


@pytest.mark.parametrize(
    ("token", "arguments", "expected"),
    [
        ("aws:index/getCallerIdentity:getCallerIdentity", {}, set()),
        ("aws:eks/getCluster:getCluster", {"nam": "c"}, {"nam", "name"}),
        ("aws:iam/getPolicyDocument:getPolicyDocument", {"statements": [{"action": ["*"]}]}, {"statements[0].action"}),
        (
            "azure-native:containerservice:listManagedClusterUserCredentials",
            {"resourceName": "c"},
            {"resourceGroupName"},
        ),
        ("gcp:organizations/getProject:getProject", {"projectId": 1}, {"projectId"}),
        ("aws:eks/getClusterr:getClusterr", {}, {""}),
    ],
)
def test_arguments_of_functions(token: str, arguments: dict[str, Any], expected: set[str]) -> None:
    pytest.importorskip(sdk_types.PACKAGES[token.split(":", maxsplit=1)[0]])
    assert {failure.path for failure in check_function(token, arguments)} == expected


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
keys = st.sampled_from(["spec", "metadata", "replicas", "template", "containers", "name", "labels"]) | st.text(
    max_size=3
)
anything = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4))


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(keys, anything, max_size=4))
def test_any_input_gets_an_answer(inputs: dict[str, Any]) -> None:
    """No traceback, and every failure has a path that begins with a property of the input or of the type."""
    known = set(sdk_types.shape(sdk_types.arguments_class("kubernetes:apps/v1:Deployment")).types)
    for failure in check_inputs("kubernetes:apps/v1:Deployment", inputs):
        assert failure.reason
        assert failure.path.startswith((*known, *inputs, '["'))
