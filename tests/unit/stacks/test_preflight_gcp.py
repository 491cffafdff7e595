"""Reading a Google Cloud project with Google's own client, over answers in the form of the API's REST reference.

The answers are written after the reference (compute v1: regions, projects, machineTypes, acceleratorTypes), not taken
from an account. Does not prove that a real project's quota has these names, nor that anything is in stock.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from google.auth.credentials import AnonymousCredentials

from components.clouds.gcp.machines import ACCELERATOR_TYPES, MEGA_ACCELERATOR
from components.clouds.gcp.settings import GcpSettings
from components.clouds.rules import PoolWish
from stacks.preflight import PreflightError, PreflightReport
from stacks.preflight import gcp as reader
from stacks.preflight.gcp import METRICS, GcpPreflight

pytestmark = pytest.mark.unit

URL = "https://www.googleapis.com/compute/v1/projects/acme-inference"
ZONES = ["us-central1-a", "us-central1-b", "us-central1-c"]
SETTINGS = GcpSettings(project="acme-inference")

L4 = PoolWish(name="l4", instance_type="g2-standard-48", accelerator="l4", gpus_per_node=4, max_nodes=3)
H100 = PoolWish(
    name="h100",
    instance_type="a3-highgpu-8g",
    accelerator="h100",
    gpus_per_node=8,
    max_nodes=2,
    capacity_type="reserved",
    reservation_kind="flex-start",
)


def quota(metric: str, limit: float, usage: float = 0.0) -> dict[str, Any]:
    return {"metric": metric, "limit": limit, "usage": usage}


def aggregated(kind: str, field: str, found: dict[str, list[str]]) -> dict[str, Any]:
    """An aggregated list; places without any of these say so by a warning."""
    items: dict[str, Any] = {}
    for zone in [*ZONES, "europe-west4-b"]:
        here = [{"name": name, "zone": zone} for name, zones in found.items() if zone in zones]
        items[f"zones/{zone}"] = {field: here} if here else {"warning": {"code": "NO_RESULTS_ON_PAGE"}}
    return {"kind": f"compute#{kind}AggregatedList", "items": items}


ANSWERS: dict[str, Any] = {
    "/regions/us-central1": {
        "name": "us-central1",
        "zones": [f"{URL}/zones/{zone}" for zone in ZONES],
        "quotas": [
            quota("CPUS", 500, 3),
            quota("NVIDIA_L4_GPUS", 16, 4),
            quota("PREEMPTIBLE_NVIDIA_L4_GPUS", 2),
            quota("PREEMPTIBLE_NVIDIA_H100_GPUS", 16),
        ],
    },
    "": {"name": "acme-inference", "quotas": [quota("NETWORKS", 5, 1), quota("GPUS_ALL_REGIONS", 32, 4)]},
    "/aggregated/machineTypes": aggregated(
        "machineType",
        "machineTypes",
        {"g2-standard-48": ZONES, "a3-highgpu-8g": ["us-central1-a", "us-central1-c", "europe-west4-b"]},
    ),
    "/aggregated/acceleratorTypes": aggregated(
        "acceleratorType",
        "acceleratorTypes",
        {"nvidia-l4": ZONES, "nvidia-h100-80gb": ["us-central1-a", "us-central1-c", "europe-west4-b"]},
    ),
}


class Replay(BaseHTTPRequestHandler):
    """Gives the recorded answers, and keeps what was asked."""

    asked: list[tuple[str, dict[str, list[str]]]]
    answers: dict[str, Any]
    status = 200

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        path = parts.path.removeprefix("/compute/v1/projects/acme-inference")
        type(self).asked.append((path, parse_qs(parts.query)))
        error = {"error": {"code": self.status, "message": "Required 'compute.regions.get' permission"}}
        body = json.dumps(self.answers[path] if self.status == 200 else error).encode()
        self.send_response(self.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def google() -> Iterator[tuple[GcpPreflight, type[Replay]]]:
    """Google's client, talking to the recording."""
    handler = type("Recording", (Replay,), {"asked": [], "answers": dict(ANSWERS)})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        yield GcpPreflight(credentials=AnonymousCredentials(), endpoint=endpoint), handler  # type: ignore[no-untyped-call]
        server.shutdown()
        thread.join()


def read(google: tuple[GcpPreflight, type[Replay]], *wishes: PoolWish, **settings: Any) -> PreflightReport:
    return google[0].read("us-central1", wishes, SETTINGS.model_copy(update=settings), "prod")


def test_what_fits(google: tuple[GcpPreflight, type[Replay]]) -> None:
    report = read(google, L4, H100)
    assert report.fits
    assert [(row.quota, row.limit, row.used, row.needed, row.unit) for row in report.quotas] == [
        ("NVIDIA_L4_GPUS", 16, 4, 12, "GPU"),
        # Flex-start draws on the preemptible quota.
        ("PREEMPTIBLE_NVIDIA_H100_GPUS", 16, 0, 16, "GPU"),
        ("GPUS_ALL_REGIONS", 32, 4, 28, "GPU"),
    ]
    assert [(row.instance_type, row.zones) for row in report.offers] == [
        ("g2-standard-48", tuple(ZONES)),
        ("a3-highgpu-8g", ("us-central1-a", "us-central1-c")),
    ]
    assert report.notes == [
        "used counts all of the project: what this environment runs already is in it",
        "node pool h100: a3-highgpu-8g is in us-central1-a, us-central1-c only: name these as its zones, or GKE may "
        "try others",
    ]
    (filters,) = [query["filter"] for path, query in google[1].asked if path == "/aggregated/machineTypes"]
    assert filters == ["(name = a3-highgpu-8g) OR (name = g2-standard-48)"]


def test_too_many(google: tuple[GcpPreflight, type[Replay]]) -> None:
    report = read(google, replace(L4, max_nodes=4))
    assert not report.fits
    assert [row.fits for row in report.quotas] == [False, True]


def test_spot_with_fallback_draws_on_both(google: tuple[GcpPreflight, type[Replay]]) -> None:
    report = read(google, replace(L4, capacity_type="spot-with-fallback"))
    assert [(row.quota, row.fits) for row in report.quotas] == [
        ("PREEMPTIBLE_NVIDIA_L4_GPUS", False),
        ("NVIDIA_L4_GPUS", True),
        ("GPUS_ALL_REGIONS", True),
    ]
    assert reader.NO_PRICES in report.notes
    assert report.spot_prices == ()


def test_a_zone_that_does_not_offer_the_machine(google: tuple[GcpPreflight, type[Replay]]) -> None:
    assert [row.fits for row in read(google, replace(H100, zones=("us-central1-b",))).offers] == [False]
    assert [row.fits for row in read(google, H100, zone="us-central1-b").offers] == [False]
    assert [row.fits for row in read(google, replace(H100, zones=("us-central1-c",))).offers] == [True]


def test_a_gpu_that_is_attached_must_be_in_the_zone_too(google: tuple[GcpPreflight, type[Replay]]) -> None:
    t4 = PoolWish(name="t4", instance_type="n1-standard-4", accelerator="t4", gpus_per_node=1)
    google[1].answers["/aggregated/machineTypes"] = aggregated("m", "machineTypes", {"n1-standard-4": ZONES})
    google[1].answers["/aggregated/acceleratorTypes"] = aggregated(
        "a", "acceleratorTypes", {"nvidia-tesla-t4": ["us-central1-b"]}
    )
    report = read(google, t4)
    assert report.offers[0].zones == ("us-central1-b",)
    # No quota of this name: unknown, which is said and is no refusal.
    assert report.quotas[0].limit is None
    assert any("has no quota NVIDIA_T4_GPUS" in note for note in report.notes)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (403, r"acme-inference cannot be read .*permission.*roles/compute\.viewer is needed"),
        (404, r"acme-inference cannot be read"),
        (401, "run `gcloud auth application-default login`"),
        (400, r"does not answer as it should"),
    ],
)
def test_errors_are_one_message(google: tuple[GcpPreflight, type[Replay]], status: int, message: str) -> None:
    google[1].status = status
    with pytest.raises(PreflightError, match=message):
        read(google, L4)


def test_nobody_answers() -> None:
    silent = GcpPreflight(credentials=AnonymousCredentials(), endpoint="http://127.0.0.1:9")  # type: ignore[no-untyped-call]
    with pytest.raises(PreflightError, match="does not answer as it should"):
        silent.read("us-central1", [L4], SETTINGS, "prod")


def test_no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(PreflightError, match="no credentials for Google Cloud: run `gcloud auth application-default"):
        GcpPreflight().read("us-central1", [L4], SETTINGS, "prod")


def test_no_project() -> None:
    with pytest.raises(PreflightError, match=r"gcp\.project is missing"):
        GcpPreflight().read("us-central1", [L4], None, "prod")


def test_every_gpu_has_a_quota() -> None:
    assert set(METRICS) == {*ACCELERATOR_TYPES.values(), MEGA_ACCELERATOR}
