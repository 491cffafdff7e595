"""What Google Cloud says about a configuration: what GKE cannot do, and why. Sources: see `machines.py`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import ip_network
from itertools import combinations
from typing import Final

from components.clouds.gcp.machines import LOCAL_SSDS, NEVER_ON_DEMAND, SPOT_OR_FLEX_START_ONLY
from components.clouds.gcp.names import COMPUTE_CLASS, compute_class_name
from components.clouds.gcp.settings import FilestoreTier, GcpSettings
from components.clouds.rules import (
    CloudRules,
    CloudSettings,
    EnvironmentWish,
    Objection,
    PoolWish,
    TaintFacts,
    too_small_for_the_models,
)

GPU_RESOURCE: Final = "nvidia.com/gpu"
"""What GKE's device plugin calls all of them: whole GPUs, MIG slices and shares of a GPU."""

DEFAULT_REGION: Final = "us-central1"
SPOT_TAINT: Final = TaintFacts("cloud.google.com/gke-spot", "true", "NoSchedule")
QUEUED_TAINT: Final = TaintFacts("cloud.google.com/gke-queued", "true", "NoSchedule")
KINDS: Final = ("reservation", "flex-start", "queued")
BASIC_SSD_GIB: Final = 2560


class GcpRules:
    """The rules of GKE Standard."""

    settings: type[CloudSettings] | None = GcpSettings
    default_region = DEFAULT_REGION
    installs = True
    spot_grace_seconds: int | None = 15
    """Of the 30 s of Compute Engine's notice, the kubelet's graceful shutdown keeps half for system pods; a longer
    terminationGracePeriodSeconds has no effect (GKE: Spot VMs)."""

    def gpu_resource(self, pool: PoolWish) -> str:
        """GKE's one name: which slice or share it is, the pool's nodes say."""
        return GPU_RESOURCE

    def extra_taints(self, pool: PoolWish) -> Sequence[TaintFacts]:
        """Of nodes that GKE makes for a ComputeClass, and of queued ones. Spot node pools of our own carry none."""
        taints = []
        if pool.provisioner == "auto":
            taints.append(TaintFacts(COMPUTE_CLASS, compute_class_name(pool.name), "NoSchedule"))
            if pool.capacity_type in {"spot", "spot-with-fallback"}:
                taints.append(SPOT_TAINT)
        if pool.reservation_kind == "queued":
            taints.append(QUEUED_TAINT)
        return taints

    def check_pool(self, pool: PoolWish, environment: EnvironmentWish) -> Iterator[Objection]:
        """Ways of buying, sharing and making nodes that GKE does not have."""
        settings = _settings(environment)
        yield from _check_capacity(pool)
        yield from _check_reservation(pool, settings)
        yield from _check_sharing(pool)
        yield from _check_auto(pool)
        if pool.local_nvme and pool.instance_type not in LOCAL_SSDS:
            message = f"{pool.instance_type} takes no local SSD"
            yield Objection(field="local_nvme", value=True, message=message, choices=("false",))
        region = environment.region or DEFAULT_REGION
        for index, zone in enumerate(pool.zones):
            if not zone.startswith(f"{region}-"):
                message = f"no zone of the region {region}"
                yield Objection(field=f"zones[{index}]", value=zone, message=message, fix="Change it or the region.")

    def check_environment(self, environment: EnvironmentWish) -> Iterator[Objection]:
        """The project is named, places and addresses fit together."""
        settings = _settings(environment)
        if settings.project is None:
            message = "required, but not given: the project that everything is made in"
            yield Objection(field="gcp.project", value=None, message=message, fix="Set it to the project's id.")
        region = environment.region or DEFAULT_REGION
        if settings.zone is not None and not settings.zone.startswith(f"{region}-"):
            message = f"no zone of the region {region}"
            yield Objection(field="gcp.zone", value=settings.zone, message=message, fix="Change it or the region.")
        if settings.system_min_nodes > settings.system_max_nodes:
            message = f"is more than system_max_nodes, {settings.system_max_nodes}"
            fix = f"Lower it to {settings.system_max_nodes} or raise system_max_nodes."
            yield Objection(field="gcp.system_min_nodes", value=settings.system_min_nodes, message=message, fix=fix)
        yield from _check_networks(settings)
        yield from _check_weights(environment, settings)
        yield from too_small_for_the_models("gcp.filestore_capacity_gib", settings.filestore_capacity_gib, environment)
        if settings.kms_key is not None and settings.project_number is None:
            message = "required with kms_key: GKE itself must be allowed to use the key"
            yield Objection(field="gcp.project_number", value=None, message=message, fix="Set it.")


def _settings(environment: EnvironmentWish) -> GcpSettings:
    return environment.settings if isinstance(environment.settings, GcpSettings) else GcpSettings()


def _check_capacity(pool: PoolWish) -> Iterator[Objection]:
    flex_start = pool.capacity_type == "reserved" and pool.reservation_kind in {"flex-start", "queued"}
    if pool.instance_type in SPOT_OR_FLEX_START_ONLY and pool.capacity_type != "spot" and not flex_start:
        message = f"Google Cloud gives {pool.instance_type} as spot or flex-start only"
        fix = "Choose one of these (reserved with reservation.kind flex-start), or gpus_per_node: 8."
        yield Objection(
            field="capacity_type", value=pool.capacity_type, message=message, choices=("spot", "reserved"), fix=fix
        )
    if pool.instance_type in NEVER_ON_DEMAND and pool.capacity_type in {"on-demand", "spot-with-fallback"}:
        message = f"Google Cloud gives {pool.instance_type} reserved, as flex-start or as spot, never on demand"
        yield Objection(field="capacity_type", value=pool.capacity_type, message=message, choices=("reserved", "spot"))


def _check_reservation(pool: PoolWish, settings: GcpSettings) -> Iterator[Objection]:
    if pool.capacity_type != "reserved":
        return
    kind = pool.reservation_kind
    if kind not in KINDS:
        message = "capacity blocks are of AWS" if kind else "required with capacity_type reserved, but not given"
        yield Objection(field="reservation.kind", value=kind or None, message=message, choices=KINDS)
        return
    if kind == "reservation":
        if not pool.reservation_id:
            message = "required with this kind, but not given"
            fix = "Give the reservation's name, or projects/P/reservations/R of another project."
            yield Objection(field="reservation.id", value=None, message=message, fix=fix)
        if not pool.zones:
            message = "required with a reservation, but not given: it holds machines in one zone"
            yield Objection(field="zones", value=None, message=message, fix="Name the reservation's zone.")
        return
    if pool.reservation_id:
        message = f"{kind} takes machines when there are some and has no reservation"
        yield Objection(field="reservation.id", value=pool.reservation_id, message=message, fix="Remove it.")
    if pool.min_nodes:
        message = f"{kind} nodes come for waiting pods and live a week at most: none can be kept"
        yield Objection(field="min_nodes", value=pool.min_nodes, message=message, choices=("0",))
    if kind == "queued" and not settings.provisioning_requests:
        message = "queued nodes come for ProvisioningRequests, which a served model's pods do not make"
        fix = (
            "Use flex-start, which brings the same machines to waiting pods; or, with Kueue in the cluster, set "
            "gcp.provisioning_requests."
        )
        yield Objection(field="reservation.kind", value=kind, message=message, choices=("flex-start",), fix=fix)


def _check_sharing(pool: PoolWish) -> Iterator[Objection]:
    if pool.sharing == "mig" and pool.mig_profile.startswith("4g."):
        message = "GKE cuts whole GPUs into equal slices, of which 4g is none"
        fix = "Choose the GPU's profile 3g or 7g."
        yield Objection(field="sharing.profile", value=pool.mig_profile, message=message, fix=fix)
    if pool.sharing == "mps":
        message = "GKE's MPS is reached over the node's IPC namespace, which pods of an environment may not share"
        fix = "Pod security `baseline` forbids it: use time-slicing."
        yield Objection(field="sharing.mode", value=pool.sharing, message=message, choices=("time-slicing",), fix=fix)


def _check_auto(pool: PoolWish) -> Iterator[Objection]:
    if pool.provisioner != "auto":
        return
    if pool.min_nodes:
        message = "a ComputeClass makes nodes for waiting pods and keeps none"
        fix = "Set it to 0 and keep replicas instead (scaling.min_replicas), or use provisioner: node-group."
        yield Objection(field="min_nodes", value=pool.min_nodes, message=message, choices=("0",), fix=fix)
    if pool.reservation_kind == "queued":
        message = "a ComputeClass takes no ProvisioningRequests"
        yield Objection(field="provisioner", value=pool.provisioner, message=message, choices=("node-group",))


def _check_networks(settings: GcpSettings) -> Iterator[Objection]:
    found = {}
    for field in ("nodes_cidr", "pods_cidr", "services_cidr"):
        value = str(getattr(settings, field))
        try:
            found[field] = ip_network(value)
        except ValueError as error:
            fix = "Give its first address and its size, such as 10.0.0.0/20."
            yield Objection(field=f"gcp.{field}", value=value, message=f"is no network ({error})", fix=fix)
    for (field, network), (other, second) in combinations(found.items(), 2):
        if network.overlaps(second):
            message = f"overlaps with {field}, {network}"
            yield Objection(field=f"gcp.{other}", value=str(second), message=message, fix="Choose networks apart.")


def _check_weights(environment: EnvironmentWish, settings: GcpSettings) -> Iterator[Objection]:
    if environment.weights_store == "object-store" and settings.project_number is None:
        message = "required with weights.store object-store: the bucket's policy names the cluster's pods by it"
        yield Objection(field="gcp.project_number", value=None, message=message, fix="Set it.")
    if environment.weights_store != "shared-files" or settings.filestore_tier is FilestoreTier.REGIONAL:
        return
    if settings.zone is None:
        message = "is in one zone, and gcp.zone names none"
        yield Objection(
            field="gcp.filestore_tier", value=settings.filestore_tier, message=message, choices=("REGIONAL",)
        )
    if settings.filestore_tier is FilestoreTier.BASIC_SSD and settings.filestore_capacity_gib < BASIC_SSD_GIB:
        message = f"BASIC_SSD has {BASIC_SSD_GIB} GiB or more"
        value, fix = settings.filestore_capacity_gib, f"Set it to {BASIC_SSD_GIB} or choose another gcp.filestore_tier."
        yield Objection(field="gcp.filestore_capacity_gib", value=value, message=message, fix=fix)


RULES: Final[CloudRules] = GcpRules()
