"""Azure without Azure: mocks that answer what a cluster, an identity and the account's lookups would."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pulumi

from components.clouds.azure.cloud import AzureCloud
from components.clouds.azure.settings import AzureSettings
from components.cluster import ClusterArgs, ClusterHandle, NodePoolArgs
from components.scheduling import GPU_TAINT, GpuPool, Sharing, Taint
from tests.unit.conftest import Engine, RecordingMocks

SUBSCRIPTION = "/subscriptions/00000000-0000-0000-0000-000000000001"
GROUP = "prod-group0a1b2c3d"
CREDENTIALS = "azure-native:containerservice:listManagedCluster{}Credentials"
KUBECONFIG = "apiVersion: v1\nkind: Config\n"
RESERVATION = f"{SUBSCRIPTION}/resourceGroups/held/providers/Microsoft.Compute/capacityReservationGroups/h100"
SPOT_TAINT = Taint("kubernetes.azure.com/scalesetpriority", "spot", "NoSchedule")
H100 = GpuPool(name="h100", product="NVIDIA-H100", gpus_per_node=8, vcpu=96, memory_gib=1900)

OUTPUTS: dict[str, dict[str, Any]] = {
    "azure-native:resources:ResourceGroup": {"name": "prod-group0a1b2c3d"},
    "azure-native:managedidentity:UserAssignedIdentity": {"principalId": "principal", "clientId": "client"},
    "azure-native:containerservice:ManagedCluster": {
        # A list of ids goes in, a map of identities comes out.
        "identity": {"type": "UserAssigned"},
        "identityProfile": {"kubeletidentity": {"objectId": "kubelet-object", "clientId": "kubelet-client"}},
    },
    "azure-native:network:PublicIPAddress": {"ipAddress": "20.0.0.9"},
    "azure-native:keyvault:Key": {"keyUriWithVersion": "https://kv.vault.azure.net/keys/kubernetes-secrets/1"},
}

NAMES = ("resourceName", "virtualNetworkName", "subnetName", "vaultName", "accountName", "workspaceName")


class AzureMocks(RecordingMocks):
    """Answers with the inputs and with what only Azure knows."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        identifier, outputs = super().new_resource(args)
        if args.typ.startswith("azure-native:"):
            identifier = f"{SUBSCRIPTION}/resourceGroups/prod-group0a1b2c3d/providers/{args.name}"
            own = [args.inputs[name] for name in NAMES if name in args.inputs][-1:]
            outputs = {**({"name": own[0]} if own else {}), **outputs, **OUTPUTS.get(args.typ, {})}
        return identifier, outputs

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        self.calls.append((args.token, dict(args.args)))
        if args.token == "azure-native:authorization:getClientConfig":
            return {"tenantId": "tenant", "clientId": "c", "objectId": "o", "subscriptionId": "s"}, []
        assert args.token.endswith("Credentials"), args.token
        return {"kubeconfigs": [{"name": "k", "value": base64.b64encode(KUBECONFIG.encode()).decode()}]}, []


class AzureEngine(Engine):
    """An engine whose mocks are Azure's."""

    mocks: AzureMocks


@contextmanager
def azure_engine() -> Iterator[AzureEngine]:
    """Fresh mocks, settings and event loop."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    made = AzureEngine(AzureMocks())
    pulumi.runtime.set_mocks(made.mocks, project="inference-platform", stack="prod", preview=False)
    yield made
    asyncio.set_event_loop(None)
    loop.close()


def cluster_args(**changes: Any) -> ClusterArgs:
    """A cluster with all defaults, and some changes."""
    return ClusterArgs(**{"environment": "prod", "gateway_host_port": 8080, "tags": {"team": "ml"}, **changes})


def pool_args(name: str = "h100", sharing: Sharing | None = None, **changes: Any) -> NodePoolArgs:
    """An on-demand pool of eight H100s per node, and some changes."""
    capacity_type = changes.get("capacity_type", "on-demand")
    spot = capacity_type.startswith("spot") and changes.get("provisioner") != "auto"
    gpus = GpuPool(
        name=name,
        product="NVIDIA-H100",
        gpus_per_node=8,
        vcpu=96,
        memory_gib=1900,
        sharing=sharing or Sharing(),
        taints=(GPU_TAINT, SPOT_TAINT) if spot else (GPU_TAINT,),
    )
    return NodePoolArgs(
        **{
            "gpus": gpus,
            "instance_type": "Standard_ND96isr_H100_v5",
            "capacity_type": "on-demand",
            "min_nodes": 0,
            "max_nodes": 4,
            "tags": {"team": "ml"},
            **changes,
        }
    )


def build(pools: Sequence[NodePoolArgs] = (), settings: dict[str, Any] | None = None, **changes: Any) -> ClusterHandle:
    """A cluster with pools and its place for weights; inside `engine.run` only."""
    cloud = AzureCloud()
    provisioners = frozenset(pool.provisioner for pool in pools) or frozenset({"node-group"})
    chosen = AzureSettings(**settings) if settings is not None else None
    args = cluster_args(settings=chosen, provisioners=provisioners, **changes)
    handle = cloud.create_cluster("prod", args)
    cloud.create_node_pools("prod", pools, handle)
    cloud.create_weights("prod", args, handle)
    return handle


def made(engine: AzureEngine, settings: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Inputs of the cluster that these wishes make."""
    engine.run(lambda: build(settings=settings, **changes))
    return engine.one("ManagedCluster", "prod-cluster")


def awaited(output: pulumi.Input[Any]) -> tuple[Any, bool]:
    """Value of an output, and whether it is secret."""
    assert isinstance(output, pulumi.Output)
    box: list[tuple[Any, bool]] = []

    async def read() -> None:
        box.append((await output.future(), await output.is_secret()))

    @pulumi.runtime.test  # type: ignore[untyped-decorator]
    def program() -> Any:
        return pulumi.Output.from_input(read())

    program()
    return box[0]
