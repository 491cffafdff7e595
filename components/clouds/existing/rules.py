"""What can be said of a cluster that is there before it is asked: node pools are not made, only found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from components.clouds.existing.settings import SYSTEM, ExistingSettings
from components.clouds.rules import CloudRules, CloudSettings, EnvironmentWish, Objection, PoolWish, TaintFacts

NOT_MADE: Final = "the nodes of an existing cluster are not made by this environment"
FIX: Final = "Remove it; whoever makes the nodes decides."


class ExistingRules:
    """Wishes about nodes that nobody here makes are refused, rather than left without effect."""

    settings: type[CloudSettings] | None = ExistingSettings
    default_region = ""
    installs = False
    spot_grace_seconds: int | None = None

    def gpu_resource(self, pool: PoolWish) -> str:
        """The device plugin's names; the section `existing.node_pools` may say otherwise."""
        return ""

    def extra_taints(self, pool: PoolWish) -> Sequence[TaintFacts]:
        """None; the section `existing.node_pools` may say otherwise."""
        return ()

    def check_pool(self, pool: PoolWish, environment: EnvironmentWish) -> Iterator[Objection]:
        """Whatever only the maker of nodes can do."""
        wishes = {
            "reservation.id": pool.reservation_id,
            "zones": list(pool.zones),
            "local_nvme": pool.local_nvme,
            "image_streaming": pool.image_streaming,
        }
        for field, value in wishes.items():
            if value:
                yield Objection(field=field, value=value, message=NOT_MADE, fix=FIX)
        if pool.provisioner != "node-group":
            yield Objection(
                field="provisioner", value=pool.provisioner, message=NOT_MADE, choices=("node-group",), fix=FIX
            )

    def check_environment(self, environment: EnvironmentWish) -> Iterator[Objection]:
        """A cluster is named, its pools are those of the environment, and weights have a place."""
        settings = environment.settings
        if not isinstance(settings, ExistingSettings):
            fix = "Add the section existing with kubeconfig, context or stack."
            yield Objection(
                field="existing", value=None, message="required, but not given: it says which cluster", fix=fix
            )
            return
        yield from _check_pools(settings, environment)
        yield from _check_weights(settings, environment)


def _check_pools(settings: ExistingSettings, environment: EnvironmentWish) -> Iterator[Objection]:
    known = (*(pool.name for pool in environment.pools), SYSTEM)
    seen: set[str] = set()
    selected: dict[str, int] = {}
    for index, nodes in enumerate(settings.node_pools):
        field = f"existing.node_pools[{index}].name"
        if nodes.name not in known:
            yield Objection(field=field, value=nodes.name, message="no node pool has this name", choices=known)
        elif nodes.name in seen:
            yield Objection(field=field, value=nodes.name, message="said twice", fix="Remove one of the two.")
        seen.add(nodes.name)
        labels = dict(sorted(nodes.node_selector.items()))
        other = selected.setdefault(str(labels), index)
        if labels and other != index:
            message = f"the same labels as existing.node_pools[{other}]: pods of both would land on either's nodes"
            fix = "Choose labels that only one pool's nodes carry."
            yield Objection(field=f"existing.node_pools[{index}].node_selector", value=labels, message=message, fix=fix)
        if nodes.name == SYSTEM and nodes.taints:
            message = "gateway and routers tolerate no taints"
            value = [taint.key for taint in nodes.taints]
            yield Objection(
                field=f"existing.node_pools[{index}].taints", value=value, message=message, fix="Remove it."
            )


def _check_weights(settings: ExistingSettings, environment: EnvironmentWish) -> Iterator[Objection]:
    store, named = environment.weights_store, (settings.storage_class, settings.weights_volume)
    if store == "object-store" and settings.weights_volume is None:
        message = "how a bucket is mounted is the cluster's affair, and no volume of it is named"
        yield Objection(field="weights.store", value=store, message=message, fix="Set existing.weights_volume.")
    elif store == "shared-files" and named == (None, None):
        message = "no place in the cluster is named for shared files"
        fix = "Set existing.storage_class (ReadWriteMany) or existing.weights_volume."
        yield Objection(field="weights.store", value=store, message=message, fix=fix)


RULES: Final[CloudRules] = ExistingRules()
