"""What a Google Cloud project may hold: GPU quota, and the zones that offer machines and GPUs.

Quotas are those of Compute Engine's regions.get and projects.get, in GPUs. Spot and flex-start machines draw on the
preemptible ones. Google publishes no history of spot prices, and what is in stock nobody says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from google.api_core import exceptions, retry
from google.auth import credentials as auth
from google.auth import exceptions as auth_exceptions
from google.cloud import compute_v1

from components.clouds.gcp.machines import accelerator_type
from components.clouds.gcp.rules import DEFAULT_REGION
from components.clouds.gcp.settings import GcpSettings
from components.clouds.rules import CloudSettings, PoolWish
from stacks.preflight import OfferRow, Preflight, PreflightError, PreflightReport, QuotaRow

METRICS: Final[Mapping[str, str]] = {
    "nvidia-tesla-t4": "NVIDIA_T4_GPUS",
    "nvidia-l4": "NVIDIA_L4_GPUS",
    "nvidia-tesla-a100": "NVIDIA_A100_GPUS",
    "nvidia-a100-80gb": "NVIDIA_A100_80GB_GPUS",
    "nvidia-h100-80gb": "NVIDIA_H100_GPUS",
    "nvidia-h100-mega-80gb": "NVIDIA_H100_MEGA_GPUS",
    "nvidia-h200-141gb": "NVIDIA_H200_GPUS",
    "nvidia-b200": "NVIDIA_B200_GPUS",
}
"""Name of a GPU's quota in a region, by Google's name of the GPU; source: `gcloud compute regions describe`."""

ALL_REGIONS: Final = "GPUS_ALL_REGIONS"
TIMEOUT: Final = 20.0
"""Seconds for one answer; a project with every service enabled takes about one."""

CREDENTIALS_HINT: Final = "run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS"
NO_PRICES: Final = (
    "Google publishes no history of spot prices; today's are at https://cloud.google.com/spot-vms/pricing"
)
OWN_USAGE: Final = "used counts all of the project: what this environment runs already is in it"


@dataclass(frozen=True, kw_only=True)
class GcpPreflight:
    """Reads a project by Compute Engine's own clients.

    Attributes:
        credentials: None for those that Google's library finds (Application Default Credentials).
        endpoint: of the API; None for Google's.
    """

    credentials: auth.Credentials | None = None
    endpoint: str | None = None

    def read(
        self,
        region: str,
        wishes: Sequence[PoolWish],
        settings: CloudSettings | None,
        environment: str,  # noqa: ARG002 - Google's quotas do not say who uses what
    ) -> PreflightReport:
        """Read the project; changes nothing.

        Raises:
            PreflightError: no project is named, no credentials, not allowed to look, or nobody answers.
        """
        chosen = settings if isinstance(settings, GcpSettings) else GcpSettings()
        if chosen.project is None:
            raise PreflightError("gcp.project is missing: the project whose quota counts")
        place = region or DEFAULT_REGION
        with told_simply(chosen.project):
            limits, zones = self._region(chosen.project, place)
            limits |= self._project(chosen.project)
            machines = self._zones(compute_v1.MachineTypesClient, chosen.project, {w.instance_type for w in wishes})
            gpus = self._zones(compute_v1.AcceleratorTypesClient, chosen.project, {gpu_of(wish) for wish in wishes})
        offers = [offer(wish, chosen, zones, machines, gpus) for wish in wishes]
        quotas = list(quota_rows(wishes, place, limits))
        return PreflightReport(
            cloud="gcp",
            region=place,
            account=chosen.project,
            quotas=quotas,
            offers=offers,
            notes=list(notes(wishes, offers, quotas, zones)),
        )

    def _client(self, kind: Callable[..., Any]) -> Any:  # noqa: ANN401 - each kind of client is a type of its own
        options = {"api_endpoint": self.endpoint} if self.endpoint else None
        return kind(credentials=self.credentials, transport="rest", client_options=options)

    def _region(self, project: str, region: str) -> tuple[dict[str, Limit], tuple[str, ...]]:
        client = self._client(compute_v1.RegionsClient)
        found = client.get(project=project, region=region, retry=NO_RETRY, timeout=TIMEOUT)
        return limits_of(found.quotas), tuple(sorted(last(zone) for zone in found.zones))

    def _project(self, project: str) -> dict[str, Limit]:
        client = self._client(compute_v1.ProjectsClient)
        return limits_of(client.get(project=project, retry=NO_RETRY, timeout=TIMEOUT).quotas)

    def _zones(self, kind: Callable[..., Any], project: str, names: set[str]) -> dict[str, set[str]]:
        """Zones that have these machine or accelerator types, by type."""
        request = {"project": project, "filter": " OR ".join(f"(name = {name})" for name in sorted(names))}
        found: dict[str, set[str]] = {name: set() for name in names}
        pages = self._client(kind).aggregated_list(request=request, retry=NO_RETRY, timeout=TIMEOUT)
        for place, scoped in pages:
            for item in (*getattr(scoped, "machine_types", ()), *getattr(scoped, "accelerator_types", ())):
                if item.name in found:
                    found[item.name].add(last(place))
        return found


NO_RETRY: Final = retry.Retry(predicate=retry.if_exception_type(exceptions.ServiceUnavailable), timeout=TIMEOUT)
"""Ask again only where Google says that it could not answer."""


@dataclass(frozen=True)
class Limit:
    """A quota: the most, and what is used of it."""

    limit: float
    used: float


def limits_of(quotas: Iterable[Any]) -> dict[str, Limit]:
    """Quotas by metric."""
    return {str(quota.metric): Limit(quota.limit, quota.usage) for quota in quotas}


def last(path: str) -> str:
    """Last part of a URL or path: zones/us-central1-a is us-central1-a."""
    return path.rpartition("/")[2]


def gpu_of(wish: PoolWish) -> str:
    """Google's name of a pool's GPU."""
    return accelerator_type(wish.accelerator, wish.instance_type)


def quotas_of(wish: PoolWish) -> tuple[str, ...]:
    """Quotas that a pool draws on; both with spot-with-fallback, which may be all of one or all of the other."""
    regular = METRICS[gpu_of(wish)]
    preemptible = f"PREEMPTIBLE_{regular}"
    match wish.capacity_type:
        case "spot":
            return (preemptible,)
        case "spot-with-fallback":
            return preemptible, regular
        case "reserved" if wish.reservation_kind in {"flex-start", "queued"}:
            return (preemptible,)
        case _:
            return (regular,)


def quota_rows(wishes: Sequence[PoolWish], region: str, limits: Mapping[str, Limit]) -> Iterator[QuotaRow]:
    """A row per quota that a pool draws on, and one for the project's quota of all GPUs."""
    pools: dict[str, list[PoolWish]] = {}
    for wish in wishes:
        for metric in quotas_of(wish):
            pools.setdefault(metric, []).append(wish)
    for metric, drawing in pools.items():
        yield quota_row(metric, region, drawing, limits)
    yield quota_row(ALL_REGIONS, "all regions", list(wishes), limits)


def quota_row(metric: str, region: str, wishes: Sequence[PoolWish], limits: Mapping[str, Limit]) -> QuotaRow:
    """What pools may take of a quota together."""
    found = limits.get(metric)
    return QuotaRow(
        cloud="gcp",
        region=region,
        quota=metric,
        instance_type=", ".join(dict.fromkeys(wish.instance_type for wish in wishes)),
        gpu=", ".join(dict.fromkeys(wish.accelerator for wish in wishes)),
        limit=found.limit if found else None,
        used=found.used if found else 0.0,
        unit="GPU",
        needed=float(sum(wish.max_nodes * wish.gpus_per_node for wish in wishes)),
    )


def offer(
    wish: PoolWish,
    settings: GcpSettings,
    zones: Iterable[str],
    machines: Mapping[str, set[str]],
    gpus: Mapping[str, set[str]],
) -> OfferRow:
    """Zones of the region that have a pool's machine and its GPU."""
    both = machines[wish.instance_type] & gpus[gpu_of(wish)]
    wanted = tuple(wish.zones) or ((settings.zone,) if settings.zone else ())
    return OfferRow(instance_type=wish.instance_type, zones=tuple(z for z in zones if z in both), wanted=wanted)


def notes(
    wishes: Sequence[PoolWish], offers: Sequence[OfferRow], quotas: Sequence[QuotaRow], zones: Sequence[str]
) -> Iterator[str]:
    """What the numbers do not say."""
    yield OWN_USAGE
    if any("spot" in wish.capacity_type for wish in wishes):
        yield NO_PRICES
    for row in quotas:
        if row.limit is None:
            yield f"the project has no quota {row.quota}: Google grants it on request, or counts this GPU elsewhere"
    for wish, offered in zip(wishes, offers, strict=True):
        if not offered.wanted and offered.zones and len(offered.zones) < len(zones):
            yield (
                f"node pool {wish.name}: {wish.instance_type} is in {', '.join(offered.zones)} only: name these as its "
                "zones, or GKE may try others"
            )


@contextmanager
def told_simply(project: str) -> Iterator[None]:
    """Google's errors as one message each."""
    try:
        yield
    except auth_exceptions.DefaultCredentialsError:
        raise PreflightError(f"there are no credentials for Google Cloud: {CREDENTIALS_HINT}") from None
    except auth_exceptions.GoogleAuthError as error:
        raise PreflightError(f"Google Cloud does not take the credentials ({error}): {CREDENTIALS_HINT}") from error
    except (exceptions.Forbidden, exceptions.NotFound) as error:
        message = f"the project {project} cannot be read ({error.message}): the role roles/compute.viewer is needed"
        raise PreflightError(message) from error
    except exceptions.Unauthorized as error:
        raise PreflightError(f"Google Cloud does not take the credentials: {CREDENTIALS_HINT}") from error
    except (exceptions.GoogleAPIError, OSError) as error:
        raise PreflightError(f"Google Cloud does not answer as it should ({error})") from error


PREFLIGHT: Final[Preflight] = GcpPreflight()
