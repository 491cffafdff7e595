"""Who the cluster is at Azure, and what that identity may do.

Pods get identities of their own by workload identity: the cluster is an OIDC issuer, and a federated credential of a
managed identity names a service account. What this project runs needs none: weights are mounted as the kubelet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import pulumi
from pulumi_azure_native.authorization import RoleAssignment
from pulumi_azure_native.managedidentity import UserAssignedIdentity

from components.base import Component

NETWORK_CONTRIBUTOR: Final = "4d97b98b-1d4f-4787-a291-c67834d212e7"
CONTRIBUTOR: Final = "b24988ac-6180-42a0-ab88-20f7382dd24c"
KEY_VAULT_CRYPTO_USER: Final = "12338af0-0e69-4776-bea7-57ae8d297424"
STORAGE_BLOB_DATA_CONTRIBUTOR: Final = "ba92f5b4-2d11-453d-a403-e96b0029c9fe"
"""Ids of built-in roles, the same in every subscription (learn.microsoft.com, Azure built-in roles)."""


def role(scope: str, definition: str) -> str:
    """Full id of a built-in role, in the subscription of a scope."""
    subscription = "/".join(scope.split("/")[:3])
    return f"{subscription}/providers/Microsoft.Authorization/roleDefinitions/{definition}"


def grant(
    name: str,
    definition: str,
    principal: pulumi.Input[str],
    scope: pulumi.Input[str],
    opts: pulumi.ResourceOptions,
) -> RoleAssignment:
    """Give a managed identity a built-in role.

    Args:
        name: logical name.
        definition: id of the role, one of the constants above.
        principal: object id of the identity.
        scope: id of the resource that the role counts on.
        opts: of the role assignment.
    """
    target = pulumi.Output.from_input(scope)
    return RoleAssignment(
        name,
        principal_id=principal,
        # Told, Azure does not look the identity up, which fails for minutes after it was made.
        principal_type="ServicePrincipal",
        role_definition_id=target.apply(lambda found: role(found, definition)),
        scope=target,
        opts=opts,
    )


@dataclass(frozen=True, kw_only=True)
class ClusterIdentityArgs:
    """The control plane's identity.

    Attributes:
        resource_group: its name.
        location: Azure region.
        network_id: virtual network in which it makes load balancers and nodes.
        tags: on everything that is billed.
    """

    resource_group: pulumi.Input[str]
    location: str
    network_id: pulumi.Input[str]
    tags: Mapping[str, str] = field(default_factory=dict)


class ClusterIdentity(Component):
    """The control plane's identity, with the network's role that AKS asks for.

    Attributes:
        identity_id: resource id.
        principal_id: object id, which roles are given to.
        grants: the roles; the cluster is made after them.
    """

    def __init__(self, name: str, args: ClusterIdentityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("azure", name, opts)
        identity = UserAssignedIdentity(
            f"{name}-control-plane",
            resource_name_="control-plane",
            resource_group_name=args.resource_group,
            location=args.location,
            tags=args.tags,
            opts=self.child(),
        )
        self.identity_id = identity.id
        self.principal_id = identity.principal_id
        # Internal load balancers and node auto-provisioning work in the subnet in the control plane's name.
        network = grant(
            f"{name}-network", NETWORK_CONTRIBUTOR, identity.principal_id, args.network_id, self.child(identity)
        )
        self.grants = (network,)
        self.register_outputs({"identityId": identity.id})
