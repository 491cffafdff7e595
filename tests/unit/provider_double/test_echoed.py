"""Inputs as the outputs that they become.

Does not prove that Azure answers so; its API models declare it (identity.userAssignedIdentities).
"""

from __future__ import annotations

import pytest

from local.provider_double import sdk_types
from local.provider_double.synthesis import echoed
from local.provider_double.wire import UNKNOWN

pytestmark = pytest.mark.unit

CLUSTER = "azure-native:containerservice:ManagedCluster"


def test_a_list_of_identities_becomes_a_map_of_them() -> None:
    pytest.importorskip("pulumi_azure_native")
    declared = sdk_types.output_types(CLUSTER)
    given = {"location": "eastus", "identity": {"type": "UserAssigned", "userAssignedIdentities": ["/a", "/b"]}}
    assert echoed(declared, given) == {
        "location": "eastus",
        "identity": {"type": "UserAssigned", "userAssignedIdentities": {"/a": {}, "/b": {}}},
    }


def test_what_is_not_known_yet_is_left_out() -> None:
    pytest.importorskip("pulumi_azure_native")
    given = {"identity": {"type": "UserAssigned", "userAssignedIdentities": [UNKNOWN]}, "tags": None}
    assert echoed(sdk_types.output_types(CLUSTER), given) == {"identity": {"type": "UserAssigned"}, "tags": None}


def test_all_else_stays() -> None:
    pytest.importorskip("pulumi_azure_native")
    given = {"agentPoolProfiles": [{"name": "system", "count": 2}], "tags": {"a": "b"}}
    assert echoed(sdk_types.output_types(CLUSTER), given) == given
