"""cert-manager, installed where an issuer is named and the cluster does not bring it.

Source: values of the chart named in `components.versions`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final

import pulumi
from pydantic import Field

from components.base import Component
from components.charts import SYSTEM_NODES, Values, create_namespace, install
from components.versions import CERT_MANAGER_CHART

NAMESPACE: Final = "cert-manager"
INSTALL_SECONDS: Final = 300
REPLICAS: Final = 2
"""Of the controller and the webhook: without the webhook no certificate can be changed while its node is drained."""


class GlobalValues(Values):
    """For all parts."""

    node_selector: Mapping[str, str]


class Definitions(Values):
    """The custom resource definitions: made with the release, kept when it goes, or certificates would go with them."""

    enabled: bool = True
    keep: bool = True


class Enabled(Values):
    """A switch."""

    enabled: bool = True


class Part(Values):
    """The webhook."""

    replica_count: int = REPLICAS
    pod_disruption_budget: Enabled = Enabled()


class CertManagerValues(Values):
    """Values of the chart `cert-manager`."""

    global_: Annotated[GlobalValues, Field(serialization_alias="global")]
    crds: Definitions = Definitions()
    replica_count: int = REPLICAS
    pod_disruption_budget: Enabled = Enabled()
    webhook: Part = Part()


@dataclass(frozen=True, kw_only=True)
class CertManagerArgs:
    """Where cert-manager runs.

    Attributes:
        system_nodes: selects the nodes of operators.
        labels: of the namespace.
    """

    system_nodes: Mapping[str, str] = field(default_factory=lambda: dict(SYSTEM_NODES))
    labels: Mapping[str, str] = field(default_factory=dict)


class CertManager(Component):
    """The release in a namespace of its own.

    Attributes:
        release: certificates are made after it and go before it.
    """

    def __init__(
        self,
        name: str,
        args: CertManagerArgs,
        opts: pulumi.ResourceOptions | None = None,
        after: tuple[pulumi.Resource, ...] = (),
    ) -> None:
        super().__init__("certificates", name, opts, after)
        namespace = create_namespace(
            self, f"{name}-namespace", NAMESPACE, pod_security="restricted", labels=args.labels
        )
        self.release = install(
            self,
            f"{name}-release",
            CERT_MANAGER_CHART,
            values(args),
            namespace=namespace,
            timeout_seconds=INSTALL_SECONDS,
        )
        self.register_outputs({"version": CERT_MANAGER_CHART.version})


def values(args: CertManagerArgs) -> CertManagerValues:
    """All that differs from the chart's defaults."""
    return CertManagerValues(global_=GlobalValues(node_selector=args.system_nodes))
