"""Node pools: taints, sharing, capacity types, size."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from policy.pools import ON_DEMAND, SPOT, Pool, pool_of, pools_of
from policy.rule import Doubts, Finding, Findings, NoSettings, Rule, Severity, setting
from policy.unknown import UnknownValueError
from policy.view import Resource, items, known, mapping, number, text, walk
from policy.workloads import helm_values

SHARING_KEYS: Final = ("timeSlicing",)


def gpu_pool_taints(resource: Resource, _: NoSettings) -> Findings:
    """Nothing but GPU work lands on GPU nodes."""
    pool = pool_of(resource)
    if pool is not None and pool.has_gpus and not pool.taints:
        yield Finding(f"{pool.where}: has GPUs and no taint")


@dataclass(frozen=True)
class TimeSlicingSettings:
    """Where GPUs may be time-sliced."""

    production: bool = setting(False, "Whether the environment is one of production; elsewhere nothing is judged.")


def no_time_slicing(resource: Resource, settings: TimeSlicingSettings) -> Findings:
    """Production does not take turns on a GPU."""
    if not settings.production:
        return
    pool = pool_of(resource)
    if pool is not None and pool.shared_by == "time-slicing":
        yield Finding(f"{pool.where}: its GPUs are time-sliced")
    # The device plugin's configuration: in Helm values as YAML trees, in ConfigMaps as texts.
    for path, found in walk(helm_values(resource) or {}, "values"):
        if any(mapping(found.get(key)) for key in SHARING_KEYS):
            yield Finding(f"{path}.timeSlicing: the device plugin is told to time-slice")
        for key, value in found.items():
            if isinstance(value, str) and _slices(value):
                yield Finding(f"{path}.{key}: the device plugin is told to time-slice")
    if resource.in_kubernetes and resource.kind == "ConfigMap":
        for key, value in mapping(resource.at("data")).items():
            if _slices(text(value)):
                yield Finding(f"data.{key}: the device plugin is told to time-slice")


def _slices(config: str) -> bool:
    return "timeSlicing:" in config and "replicas:" in config


def mig_supported(resource: Resource, _: NoSettings) -> Findings:
    """MIG only where the GPU and the cloud can do it."""
    pool = pool_of(resource)
    if pool is None or not pool.mig or pool.mig == "all-disabled":
        return
    without = [gpu.name for gpu in pool.gpus if not gpu.mig_profiles]
    if without:
        yield Finding(f"{pool.where}: {', '.join(without)} cannot be split by MIG ({pool.mig})")
    if resource.type.startswith("azure-native:"):
        if known(resource.at("enableAutoScaling")):
            yield Finding(f"{pool.where}: the cluster autoscaler of AKS cannot size a pool with MIG ({pool.mig})")
        if text(resource.at("osSku")) in {"AzureLinux", "CBLMariner"}:
            yield Finding(f"{pool.where}: AKS has no MIG on {text(resource.at('osSku'))}")
    if resource.type.startswith("gcp:"):
        profiles = {name for gpu in pool.gpus for name in gpu.mig_profiles}
        if profiles and pool.mig not in profiles:
            yield Finding(
                f"{pool.where}: {pool.mig} is no MIG profile of its GPU; there are {', '.join(sorted(profiles))}"
            )


@dataclass(frozen=True)
class SpotSettings:
    """Who can bear that nodes are taken away."""

    tolerated: tuple[str, ...] = setting(
        (), "Patterns of node pools whose work bears it that all nodes go at once: batch, or a model with other pools."
    )


def spot_with_fallback(resources: Sequence[Resource], settings: SpotSettings) -> Findings:
    """Spot pools have on-demand nodes to fall back on, or somebody has declared that they need none."""
    doubts = Doubts()
    buys: dict[str, set[str]] = {}
    pools: list[Pool] = []
    for resource in resources:
        with doubts:
            pool = pool_of(resource)
            if pool is not None:
                pools.append(pool)
                buys.setdefault(pool.name, set()).update(pool.buys)
    told = set()
    for pool in pools:
        tolerated = any(fnmatch.fnmatchcase(pool.name, pattern) for pattern in settings.tolerated)
        if SPOT in pool.buys and ON_DEMAND not in buys[pool.name] and not tolerated and pool.name not in told:
            told.add(pool.name)
            yield Finding(
                f"{pool.where}: all of its nodes are spot, and may go with 30 to 120 s notice", pool.resource.urn
            )
    doubts.settle()


@dataclass(frozen=True)
class NodesSettings:
    """How far an environment may grow."""

    max_nodes: int = setting(50, "Most GPU nodes of the environment, all pools at their largest.")
    max_nodes_per_pool: int = setting(25, "Most nodes of one GPU pool.")


def max_nodes(resources: Sequence[Resource], settings: NodesSettings) -> Findings:
    """GPU pools have an upper bound, and it is within what is allowed."""
    doubts = Doubts()
    sizes: dict[str, float] = {}
    by_urn: dict[str, str] = {}
    for resource in resources:
        with doubts:
            pool = pool_of(resource)
            if pool is None or not pool.has_gpus:
                continue
            if pool.max_nodes is None:
                if pool.resource.kind != "ComputeClass":
                    yield Finding(f"{pool.where}: nothing limits its nodes", resource.urn)
                continue
            sizes[pool.name] = sizes.get(pool.name, 0) + pool.max_nodes
            by_urn[pool.name] = resource.urn
    for name, size in sizes.items():
        if size > settings.max_nodes_per_pool:
            yield Finding(
                f"node pool {name}: may grow to {size:g} nodes, {settings.max_nodes_per_pool} are allowed", by_urn[name]
            )
    if sum(sizes.values()) > settings.max_nodes:
        total = f"{sum(sizes.values()):g}"
        yield Finding(f"all GPU pools together may grow to {total} nodes, {settings.max_nodes} are allowed")
    doubts.settle()


@dataclass(frozen=True)
class BudgetSettings:
    """What an environment may cost."""

    dollars_per_hour: float = setting(250.0, "Most that the GPU nodes may cost at their largest, US dollars per hour.")


def cost_within_budget(resources: Sequence[Resource], settings: BudgetSettings) -> Findings:
    """The largest size that is possible costs no more than is allowed; by the plan, else by list prices."""
    for resource in resources:
        if resource.type == "pulumi:pulumi:Stack":
            planned = resource.at("plan", "hourly_max")
            if planned is not None:
                if number(planned) > settings.dollars_per_hour:
                    yield _over_budget(number(planned), settings, "by the plan")
                _priced([text(name) for name in items(resource.at("plan", "unpriced_pools"))])
                return
    total, unpriced = 0.0, []
    for pool in pools_of(resources):
        if pool.has_gpus:
            prices = [machine.price_per_hour for machine in pool.machines if machine.price_per_hour is not None]
            if prices and pool.max_nodes is not None:
                total += prices[0] * pool.max_nodes
            else:
                unpriced.append(pool.name)
    if total > settings.dollars_per_hour:
        yield _over_budget(total, settings, "by list prices")
    _priced(unpriced)


def _priced(unpriced: Sequence[str]) -> None:
    """Raise a doubt about pools that are in no sum: what they cost is not nothing."""
    if unpriced:
        raise UnknownValueError(f"the price of node pool {', '.join(unpriced)}")


def _over_budget(cost: float, settings: BudgetSettings, how: str) -> Finding:
    return Finding(f"the environment may cost ${cost:.2f} per hour {how}, ${settings.dollars_per_hour:.2f} are allowed")


RULES: Final[tuple[Rule[Any], ...]] = (
    Rule(
        name="gpu-pool-taints",
        description="Every pool of GPU nodes is tainted: without one any pod may land on the dearest nodes and keep "
        "them from going.",
        fix="taint the pool, e.g. nvidia.com/gpu=present:NoSchedule",
        severity=Severity.HIGH,
        settings=NoSettings,
        resource=gpu_pool_taints,
    ),
    Rule(
        name="no-time-slicing",
        description="In production no GPU is time-sliced: pods then share its memory and its faults.",
        fix="use sharing mig or whole GPUs in production",
        severity=Severity.HIGH,
        settings=TimeSlicingSettings,
        resource=no_time_slicing,
    ),
    Rule(
        name="mig-supported",
        description="GPUs are split by MIG only where GPU and cloud can do it: not on GPUs without MIG, and on AKS "
        "neither with the cluster autoscaler nor on Azure Linux.",
        fix="choose a GPU with MIG (A100, H100, H200, B200), or provisioner: auto on AKS",
        severity=Severity.HIGH,
        settings=NoSettings,
        resource=mig_supported,
    ),
    Rule(
        name="spot-with-fallback",
        description="A pool of spot nodes has on-demand nodes beside it, unless its work is said to bear their loss.",
        fix="use capacity_type: spot-with-fallback, or list the pool in the policy's `tolerated`",
        severity=Severity.MEDIUM,
        settings=SpotSettings,
        stack=spot_with_fallback,
    ),
    Rule(
        name="max-nodes",
        description="Every GPU pool has an upper bound, and all of them stay below what is allowed.",
        fix="lower max_nodes of the pool, or have the limit raised",
        severity=Severity.HIGH,
        settings=NodesSettings,
        stack=max_nodes,
    ),
    Rule(
        name="cost-within-budget",
        description="At its largest the environment costs no more per hour than its budget.",
        fix="lower max_nodes, take a cheaper instance type or spot, or have the budget raised",
        severity=Severity.HIGH,
        settings=BudgetSettings,
        stack=cost_within_budget,
    ),
)
