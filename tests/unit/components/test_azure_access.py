"""Who may enter an AKS cluster, what it may do at Azure, who reads its secrets, and what is written down of it.

Does not prove that Azure accepts the inputs (tests/contract reads its API models), nor what a role lets anybody do.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from components.clouds.azure.identity import role
from components.clouds.azure.secrets_key import unique_name
from tests.unit.components.azure_samples import (
    CREDENTIALS,
    GROUP,
    KUBECONFIG,
    SUBSCRIPTION,
    AzureEngine,
    awaited,
    azure_engine,
    build,
    made,
)

pytestmark = pytest.mark.unit


@pytest.fixture
def engine() -> Iterator[AzureEngine]:
    with azure_engine() as prepared:
        yield prepared


def test_the_roles_of_the_control_plane(engine: AzureEngine) -> None:
    engine.run(build)
    definitions = f"{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions"
    provider = f"{SUBSCRIPTION}/resourceGroups/{GROUP}/providers"
    assert engine.one("RoleAssignment", "prod-identity-network") == {
        "principalId": "principal",
        "principalType": "ServicePrincipal",
        "roleDefinitionId": f"{definitions}/4d97b98b-1d4f-4787-a291-c67834d212e7",
        "scope": f"{provider}/prod-network-vnet",
    }
    user = engine.one("RoleAssignment", "prod-secrets-user")
    assert user["roleDefinitionId"] == f"{definitions}/12338af0-0e69-4776-bea7-57ae8d297424"
    assert user["scope"] == f"{provider}/prod-secrets-vault"


def test_a_role_is_in_the_subscription_of_its_scope() -> None:
    scope = "/subscriptions/S/resourceGroups/G/providers/Microsoft.Network/virtualNetworks/v"
    assert role(scope, "R") == "/subscriptions/S/providers/Microsoft.Authorization/roleDefinitions/R"


def test_the_key_vault_cannot_be_purged(engine: AzureEngine) -> None:
    engine.run(build)
    vault = engine.one("Vault", "prod-secrets-vault")
    assert (
        vault["properties"].items()
        >= {
            "tenantId": "tenant",
            "sku": {"family": "A", "name": "standard"},
            "enableRbacAuthorization": True,
            "enablePurgeProtection": True,
            "enableSoftDelete": True,
            "softDeleteRetentionInDays": 7,
        }.items()
    )
    assert vault["vaultName"].startswith("kv")
    assert len(vault["vaultName"]) == 24
    key = engine.one("keyvault:Key", "prod-secrets-key")
    assert key["properties"] == {"kty": "RSA", "keySize": 2048, "keyOps": ["encrypt", "decrypt"]}


def test_secrets_may_keep_the_platforms_key(engine: AzureEngine) -> None:
    assert made(engine, {"encrypt_secrets": False})["securityProfile"] == {"workloadIdentity": {"enabled": True}}
    assert not [item for item in engine.seen if "keyvault" in item.type]
    assert engine.mocks.calls == [(CREDENTIALS.format("Admin"), {"resourceGroupName": GROUP, "resourceName": "prod"})]


def test_names_that_the_world_shares_come_from_the_group() -> None:
    one, other = unique_name("kv", "/subscriptions/s/resourceGroups/a", 24), unique_name("kv", "/Subscriptions/s/b", 24)
    assert one != other
    assert one == unique_name("kv", "/SUBSCRIPTIONS/s/resourceGroups/A", 24)
    assert one.isalnum()


def test_the_audit_log(engine: AzureEngine) -> None:
    engine.run(lambda: build(settings={"log_retention_days": 90}))
    workspace = engine.one("Workspace", "prod-audit-workspace")
    assert (workspace["retentionInDays"], workspace["sku"]) == (90, {"name": "PerGB2018"})
    setting = engine.one("DiagnosticSetting", "prod-audit-setting")
    provider = f"{SUBSCRIPTION}/resourceGroups/{GROUP}/providers"
    assert setting["resourceUri"] == f"{provider}/prod-cluster"
    assert setting["workspaceId"] == f"{provider}/prod-audit-workspace"
    assert setting["logs"] == [
        {"category": "kube-audit-admin", "enabled": True},
        {"category": "guard", "enabled": True},
    ]


def test_no_audit_log(engine: AzureEngine) -> None:
    engine.run(lambda: build(audit_logs=False))
    assert not [item for item in engine.seen if "audit" in item.name]


def test_who_signs_in(engine: AzureEngine) -> None:
    group = "00000000-0000-0000-0000-00000000000a"
    cluster = made(engine, {"local_accounts": False, "azure_rbac": True, "admin_group_ids": (group,)})
    assert cluster["disableLocalAccounts"] is True
    assert cluster["aadProfile"] == {"managed": True, "enableAzureRBAC": True, "adminGroupObjectIDs": [group]}
    assert (
        CREDENTIALS.format("User"),
        {"resourceGroupName": GROUP, "resourceName": "prod", "format": "exec"},
    ) in engine.mocks.calls


def test_the_kubeconfig_is_secret(engine: AzureEngine) -> None:
    handle = engine.run(build)
    assert awaited(handle.kubeconfig) == (KUBECONFIG, True)
    provider = engine.one("providers:kubernetes", "prod-provider")
    assert provider["clusterIdentifier"].endswith("/prod-cluster")
