"""Who the nodes are: a service account of their own, with what a node must do and no more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pulumi
from pulumi_gcp import projects, serviceaccount

from components.base import Component
from components.clouds.gcp.names import SERVICE_ACCOUNT, environment_name

NODE_ROLES: Final = {
    "logs-and-metrics": "roles/container.defaultNodeServiceAccount",
    "images": "roles/artifactregistry.reader",
}
"""Google's least privileges of GKE nodes: write logs and metrics, pull images of the project."""


@dataclass(frozen=True, kw_only=True)
class NodeIdentityArgs:
    """The nodes' identity.

    Attributes:
        environment: whose nodes.
        project: id.
    """

    environment: str
    project: str


class NodeIdentity(Component):
    """The service account of all nodes. Pods have identities of their own (Workload Identity Federation for GKE).

    Attributes:
        account: the service account.
        grants: its roles; nodes come after them, or they cannot register.
    """

    def __init__(self, name: str, args: NodeIdentityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gcp", name, opts)
        self.account = serviceaccount.Account(
            f"{name}-nodes",
            account_id=environment_name(args.environment, "", SERVICE_ACCOUNT),
            display_name=f"Nodes of inference environment {args.environment}",
            opts=self.child(),
        )
        self.grants = tuple(
            projects.IAMMember(
                f"{name}-nodes-{purpose}",
                project=args.project,
                role=role,
                member=self.account.member,
                opts=self.child(),
            )
            for purpose, role in NODE_ROLES.items()
        )
        self.register_outputs({"email": self.account.email})
