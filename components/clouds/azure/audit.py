"""The API server's audit log in Log Analytics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import pulumi
from pulumi_azure_native.monitor import DiagnosticSetting, DiagnosticsLogSettingsArgs
from pulumi_azure_native.operationalinsights import Workspace, WorkspaceSkuArgs

from components.base import Component

CATEGORIES: Final = ("kube-audit-admin", "guard")
"""Every change that somebody made, and every sign-in with Microsoft Entra. `kube-audit` would add each get and list,
about ten times as much to pay for (monitor-aks.md)."""


@dataclass(frozen=True, kw_only=True)
class AuditLogArgs:
    """An audit log.

    Attributes:
        resource_group: its name.
        location: Azure region.
        cluster_id: whose log it is.
        retention_days: how long it is kept.
        tags: on everything that is billed.
    """

    resource_group: pulumi.Input[str]
    location: str
    cluster_id: pulumi.Input[str]
    retention_days: int = 30
    tags: Mapping[str, str] = field(default_factory=dict)


class AuditLog(Component):
    """A Log Analytics workspace that the cluster writes its audit log to.

    Attributes:
        workspace_id: resource id.
    """

    def __init__(self, name: str, args: AuditLogArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("azure", name, opts)
        workspace = Workspace(
            f"{name}-workspace",
            workspace_name="audit",
            resource_group_name=args.resource_group,
            location=args.location,
            sku=WorkspaceSkuArgs(name="PerGB2018"),
            retention_in_days=args.retention_days,
            tags=args.tags,
            opts=self.child(),
        )
        DiagnosticSetting(
            f"{name}-setting",
            name="audit",
            resource_uri=args.cluster_id,
            workspace_id=workspace.id,
            log_analytics_destination_type="Dedicated",
            logs=[DiagnosticsLogSettingsArgs(category=category, enabled=True) for category in CATEGORIES],
            opts=self.child(),
        )
        self.workspace_id = workspace.id
        self.register_outputs({"workspaceId": workspace.id})
