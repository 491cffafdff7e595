"""The node pools of an environment, from the configuration and the catalogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi

from components.clouds import load_cloud, load_rules
from components.clouds.rules import CloudRules, TaintFacts
from components.cluster import ClusterHandle, NodePoolArgs
from components.scheduling import GPU_TAINT, GpuPool, Sharing, SharingMode, Taint
from planner.catalog import gpus, instances
from stacks.config import EnvironmentConfig, MigSharing, NodePool
from stacks.config.checks_cloud import wish_of
from stacks.config.placement import shares_per_gpu


@dataclass(frozen=True, kw_only=True)
class NodePools:
    """Node pools that are registered.

    Attributes:
        pools: by name, with the labels, taints and resource names of their nodes.
        nodes: what workloads are created after and destroyed before.
    """

    pools: Mapping[str, GpuPool]
    nodes: Sequence[pulumi.Resource]


def create_node_pools(config: EnvironmentConfig, environment: str, cluster: ClusterHandle) -> NodePools:
    """Make the node pools of a cluster.

    Args:
        config: checked.
        environment: its name, which is the stack's.
        cluster: from `create_cluster`.
    """
    cloud, rules = load_cloud(config.cloud.value), load_rules(config.cloud.value)
    pools = {pool.name: cluster.placed(gpu_pool(pool, rules)) for pool in config.node_pools}
    wanted = [node_pool_args(pool, pools[pool.name], config.tags) for pool in config.node_pools]
    return NodePools(pools=pools, nodes=cloud.create_node_pools(environment, wanted, cluster))


def gpu_pool(pool: NodePool, rules: CloudRules | None) -> GpuPool:
    """The GPUs of a configured pool, from the catalogue, under the names that the cloud gives them."""
    instance = instances()[pool.instance_type]
    sharing = pool.sharing
    wish = wish_of(pool)
    resource = ""
    extra: tuple[TaintFacts, ...] = ()
    if rules is not None and wish is not None:
        resource, extra = rules.gpu_resource(wish), tuple(rules.extra_taints(wish))
    return GpuPool(
        name=pool.name,
        # GPU feature discovery writes the maker's name with dashes.
        product=gpus()[instance.gpu].name.replace(" ", "-"),
        gpus_per_node=instance.gpus,
        vcpu=instance.vcpu,
        memory_gib=instance.memory_gib,
        sharing=Sharing(
            mode=SharingMode(sharing.mode.value),
            slices_per_gpu=shares_per_gpu(pool),
            profile=sharing.profile if isinstance(sharing, MigSharing) else "",
        ),
        resource=resource,
        taints=(GPU_TAINT, *(Taint(item.key, item.value, item.effect) for item in extra)),
    )


def node_pool_args(pool: NodePool, gpus_of_pool: GpuPool, tags: Mapping[str, str]) -> NodePoolArgs:
    """A configured pool as a cloud wants it."""
    return NodePoolArgs(
        gpus=gpus_of_pool,
        instance_type=pool.instance_type,
        capacity_type=pool.capacity_type.value,
        min_nodes=pool.min_nodes,
        max_nodes=pool.max_nodes,
        accelerator=instances()[pool.instance_type].gpu,
        reservation_kind=pool.reservation.kind.value if pool.reservation else "",
        reservation_id=(pool.reservation.id or "") if pool.reservation else "",
        provisioner=pool.provisioner.value,
        zones=pool.zones,
        disk_gib=pool.disk_gib,
        local_nvme=pool.local_nvme,
        image_streaming=pool.image_streaming,
        tags=tags,
    )
