"""What the chosen cloud says: its rules are asked, pool by pool, and their objections become errors."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel

from components.clouds import load_rules
from components.clouds.rules import CloudRules, CloudSettings, EnvironmentWish, Objection, PoolWish
from planner.catalog import models
from planner.sizing import weights_gib
from stacks.config.models import EnvironmentConfig, MigSharing, MpsSharing, NodePool, TimeSlicing
from stacks.config.placement import instance_of
from stacks.config.salvage import has
from stacks.config.vocabulary import CapacityType, WeightsStore
from stacks.errors import MISSING, FieldError

POOL_FIELDS = (
    "name",
    "capacity_type",
    "reservation",
    "sharing",
    "provisioner",
    "min_nodes",
    "max_nodes",
    "zones",
    "disk_gib",
    "local_nvme",
    "image_streaming",
)


def check_cloud(config: EnvironmentConfig) -> Iterator[FieldError]:
    """All errors that depend on the cloud, and those between a pool's own ways of being bought.

    Args:
        config: valid, or salvaged from an invalid one.
    """
    pools = config.node_pools if has(config, "node_pools") else ()
    for index, pool in enumerate(pools):
        yield from _check_reservation(pool, f"node_pools[{index}]")
    yield from _check_weights(config)
    yield from _check_endpoint(config)
    if not has(config, "cloud"):
        return
    rules = load_rules(config.cloud.value)
    if rules is None:
        return
    yield from _check_region(config, rules)
    wish = environment_wish(config)
    if wish is None:
        return
    for objection in rules.check_environment(wish):
        yield _error("", objection)
    for index, pool in enumerate(pools):
        pool_wish = wish_of(pool)
        if pool_wish is not None:
            for objection in rules.check_pool(pool_wish, wish):
                yield _error(f"node_pools[{index}].", objection)


def _error(prefix: str, objection: Objection) -> FieldError:
    value = MISSING if objection.value is None else objection.value
    return FieldError(f"{prefix}{objection.field}", value, objection.message, objection.choices, objection.fix)


def _check_reservation(pool: NodePool, path: str) -> Iterator[FieldError]:
    if not has(pool, "capacity_type", "reservation"):
        return
    reserved = pool.capacity_type is CapacityType.RESERVED
    if pool.reservation is not None and not reserved:
        message = f"nodes that are held, but capacity_type is {pool.capacity_type}"
        fix = "Set capacity_type: reserved, or remove the reservation."
        kind = pool.reservation.kind.value if has(pool.reservation, "kind") else MISSING
        yield FieldError(f"{path}.reservation.kind", kind, message, fix=fix)


def _check_weights(config: EnvironmentConfig) -> Iterator[FieldError]:
    if not has(config, "weights") or not has(config.weights, "store", "preload"):
        return
    if config.weights.preload and config.weights.store is WeightsStore.NODE_DISK:
        message = "with node-disk there is no place to load models into before a node is there"
        choices = (WeightsStore.SHARED_FILES.value, WeightsStore.OBJECT_STORE.value)
        yield FieldError("weights.preload", True, message, choices, "Choose one of these as weights.store.")


def _check_endpoint(config: EnvironmentConfig) -> Iterator[FieldError]:
    if not has(config, "cluster") or not has(config.cluster, "private_endpoint", "authorized_networks"):
        return
    if config.cluster.private_endpoint and config.cluster.authorized_networks:
        message = "networks that may reach a public address, and with private_endpoint there is none"
        yield FieldError(
            "cluster.authorized_networks",
            config.cluster.authorized_networks[0],
            message,
            fix="Remove them, or private_endpoint.",
        )


def _check_region(config: EnvironmentConfig, rules: CloudRules) -> Iterator[FieldError]:
    if has(config, "region") and config.region is not None and not rules.default_region:
        message = f"the cloud {config.cloud} has no regions"
        yield FieldError("region", config.region, message, fix="Remove it.")


def settings_of(config: EnvironmentConfig) -> CloudSettings | None:
    """The chosen cloud's own section; sections of other clouds wait for their cloud to be chosen."""
    name = config.cloud.value
    if name not in type(config).model_fields or not has(config, name):
        return None
    found: CloudSettings | None = getattr(config, name)
    return found


def environment_wish(config: EnvironmentConfig) -> EnvironmentWish | None:
    """The environment as the cloud's rules want it; None if a needed field is broken."""
    if not has(config, "region", "weights") or not has(config.weights, "store", "preload"):
        return None
    pools = config.node_pools if has(config, "node_pools") else ()
    return EnvironmentWish(
        name="",
        region=config.region or "",
        weights_store=config.weights.store.value,
        preload=config.weights.preload,
        models_gib=_models_gib(config),
        pools=[wish for pool in pools if (wish := wish_of(pool)) is not None],
        settings=_whole(settings_of(config)),
    )


def _models_gib(config: EnvironmentConfig) -> float:
    """Of all different models and revisions whose size is known."""
    deployments = config.model_deployments if has(config, "model_deployments") else ()
    sources = [item.source for item in deployments if has(item, "source")]
    wanted = {(item.hugging_face, item.revision) for item in sources if has(item, "hugging_face", "revision")}
    return sum(weights_gib(model) for name, _ in wanted if (model := models().get(name)) is not None)


def _whole(settings: CloudSettings | None) -> CloudSettings | None:
    """The section, with defaults for those of its fields that are broken and reported already."""
    if settings is None:
        return None
    return type(settings).model_construct(**{name: item for name, item in settings.__dict__.items() if _complete(item)})


def _complete(value: object) -> bool:
    if isinstance(value, BaseModel):
        return has(value, *type(value).model_fields) and all(_complete(item) for item in value.__dict__.values())
    return not isinstance(value, tuple) or all(_complete(item) for item in value)


def wish_of(pool: NodePool) -> PoolWish | None:
    """A pool as the cloud's rules want it; None if a needed field is broken."""
    instance = instance_of(pool)
    if instance is None or not has(pool, *POOL_FIELDS) or not has(pool.sharing, *type(pool.sharing).model_fields):
        return None
    held = pool.reservation
    if held is not None and not has(held, "kind", "id"):
        return None
    sharing = pool.sharing
    return PoolWish(
        name=pool.name,
        instance_type=instance.key,
        accelerator=instance.gpu,
        gpus_per_node=instance.gpus,
        capacity_type=pool.capacity_type.value,
        reservation_kind=held.kind.value if held else "",
        reservation_id=(held.id or "") if held else "",
        sharing=sharing.mode.value,
        mig_profile=sharing.profile if isinstance(sharing, MigSharing) else "",
        replicas=sharing.replicas if isinstance(sharing, (TimeSlicing, MpsSharing)) else 1,
        provisioner=pool.provisioner.value,
        min_nodes=pool.min_nodes,
        max_nodes=pool.max_nodes,
        zones=pool.zones,
        disk_gib=pool.disk_gib,
        local_nvme=pool.local_nvme,
        image_streaming=pool.image_streaming,
    )
