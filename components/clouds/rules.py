"""What a cloud says about a configuration before anything is built: pure functions, no SDK.

Each cloud has one `CloudRules` object in `components/clouds/<cloud>/rules.py`. It knows which
settings the cloud takes and which wishes it cannot fulfil, and why.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from pydantic import BaseModel, ConfigDict


class CloudSettings(BaseModel):
    """Base of what only one cloud can be told: strict, unchangeable, without secrets.

    Every field of a cloud's section has a default: where a part of it is broken, the defaults stand in for the whole
    while the rest of the configuration is checked.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), defer_build=True)


@dataclass(frozen=True, kw_only=True)
class PoolWish:
    """A node pool as the configuration asks for it; every word is from the configuration's vocabulary.

    Attributes:
        name: of the pool.
        instance_type: the cloud's name of its machine.
        accelerator: key of the GPU in the catalogue, e.g. h100.
        gpus_per_node: whole GPUs of a node.
        capacity_type: on-demand, spot, spot-with-fallback or reserved.
        reservation_kind: how reserved nodes are held (`ReservationKind`); "" if nothing is said.
        reservation_id: the cloud's id of the reservation; "" if nothing is said.
        sharing: none, mig, time-slicing or mps.
        mig_profile: "" unless sharing is mig.
        replicas: pods per GPU with time-slicing and MPS, else 1.
        provisioner: node-group or auto.
        min_nodes: fewest.
        max_nodes: most.
        zones: empty: the cloud's choice.
        disk_gib: of a node.
        local_nvme: use the machine's own disks for images and weights.
        image_streaming: start containers before their image is whole.
    """

    name: str
    instance_type: str
    accelerator: str
    gpus_per_node: int
    capacity_type: str = "on-demand"
    reservation_kind: str = ""
    reservation_id: str = ""
    sharing: str = "none"
    mig_profile: str = ""
    replicas: int = 1
    provisioner: str = "node-group"
    min_nodes: int = 0
    max_nodes: int = 1
    zones: Sequence[str] = ()
    disk_gib: int = 200
    local_nvme: bool = False
    image_streaming: bool = False


@dataclass(frozen=True)
class TaintFacts:
    """A taint, before anything of Kubernetes is imported: rules are read by commands that must be quick."""

    key: str
    value: str
    effect: str


@dataclass(frozen=True, kw_only=True)
class Objection:
    """Something that the cloud cannot do.

    Attributes:
        field: path below the pool or the environment, e.g. ``sharing.mode``.
        value: what stands there.
        message: why not; a clause that follows the value.
        choices: what would do.
        fix: what to do, a sentence.
    """

    field: str
    value: object
    message: str
    choices: tuple[str, ...] = ()
    fix: str = ""


@dataclass(frozen=True, kw_only=True)
class EnvironmentWish:
    """What the configuration says about the cluster as a whole.

    Attributes:
        name: of the environment.
        region: "" where the cloud's default is meant.
        weights_store: where model weights are kept (`WeightsStore`).
        preload: a Job puts them there.
        models_gib: size of all models of known size together, GiB.
        pools: all of them.
        settings: the cloud's own section; None if there is none.
    """

    name: str
    region: str
    weights_store: str
    preload: bool = False
    models_gib: float = 0.0
    pools: Sequence[PoolWish] = ()
    settings: CloudSettings | None = None


def too_small_for_the_models(field: str, capacity_gib: int, environment: EnvironmentWish) -> Iterator[Objection]:
    """A store of a fixed size, GiB, which `field` of the cloud's section says, must hold all models."""
    if environment.weights_store == "shared-files" and capacity_gib < environment.models_gib:
        message = f"the models that it is to hold have {environment.models_gib:.0f} GiB"
        fix = f"Set it to {math.ceil(environment.models_gib)} or more, with room for the next version of a model."
        yield Objection(field=field, value=capacity_gib, message=message, fix=fix)


class CloudRules(Protocol):
    """What a cloud says about a configuration."""

    settings: type[CloudSettings] | None
    """Its own section of the configuration."""

    default_region: str
    """Where an environment goes that names no region; "" where there are none."""

    installs: bool
    """Whether it creates machines, so that instance types must be its own."""

    spot_grace_seconds: int | None
    """What a pod gets, at most, from the notice that its spot node goes until it is killed; None where nobody says."""

    def gpu_resource(self, pool: PoolWish) -> str:
        """The extended resource that pods of the pool ask for, where the cloud's own device plugin names it.

        "": the names of the device plugin that we install (`components.scheduling.Sharing.resource_name`).
        """
        ...

    def extra_taints(self, pool: PoolWish) -> Sequence[TaintFacts]:
        """Taints that the cloud adds by itself to the pool's nodes, besides the GPU taint."""
        ...

    def check_pool(self, pool: PoolWish, environment: EnvironmentWish) -> Iterator[Objection]:
        """What of a pool it cannot do; fields are paths below the pool."""
        ...

    def check_environment(self, environment: EnvironmentWish) -> Iterator[Objection]:
        """What of the environment it cannot do; fields are paths below the environment."""
        ...
