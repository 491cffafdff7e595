"""What a spot node's notice does to answers, said before anything is built; not that a cloud keeps to its notice."""

from __future__ import annotations

import pytest

from components.clouds import CLOUDS, load_rules
from components.timing import PRE_STOP_SECONDS
from stacks.config import load_environment
from stacks.config.warnings import warnings
from tests.unit.stacks.config_samples import sample

pytestmark = pytest.mark.unit

MACHINES = {"aws": "g6.12xlarge", "azure": "Standard_NC24ads_A100_v4", "gcp": "g2-standard-24"}
SECTIONS = {
    "aws": {},
    "azure": {},
    "gcp": {"gcp": {"project": "acme-inference", "project_number": 123456789}},
}


def drain_warnings(cloud: str, capacity_type: str, drain_seconds: int) -> list[str]:
    raw = sample(
        cloud=cloud,
        node_pools__0__instance_type=MACHINES[cloud],
        node_pools__0__capacity_type=capacity_type,
        model_deployments__0__scaling__drain_seconds=drain_seconds,
        **SECTIONS[cloud],
    )
    raw["model_deployments"] = raw["model_deployments"][:1]
    raw["model_deployments"][0].pop("simulation", None)
    found = warnings(load_environment(raw, "dev"))
    return [item.line() for item in found if item.path.endswith("drain_seconds")]


@pytest.mark.parametrize(("cloud", "grace"), [("aws", 120), ("azure", 30), ("gcp", 15)])
@pytest.mark.parametrize("capacity_type", ["spot", "spot-with-fallback"])
def test_a_drain_that_the_cloud_does_not_wait_for(cloud: str, grace: int, capacity_type: str) -> None:
    left = grace - PRE_STOP_SECONDS
    assert drain_warnings(cloud, capacity_type, left) == []
    assert drain_warnings(cloud, capacity_type, left + 1) == [
        f"model_deployments[0].scaling.drain_seconds: {left + 1} s to finish answers, but {cloud} kills pods {grace} s "
        f"after it takes back a spot node: answers that need more than {left} s are then cut off, and clients must ask "
        "again."
    ]


@pytest.mark.parametrize("cloud", MACHINES)
def test_nodes_that_stay_drain_for_as_long_as_they_like(cloud: str) -> None:
    assert drain_warnings(cloud, "on-demand", 3600) == []


def test_every_cloud_says_how_long_it_waits() -> None:
    known = {cloud: rules.spot_grace_seconds for cloud in CLOUDS if (rules := load_rules(cloud)) is not None}
    assert known == {"aws": 120, "azure": 30, "gcp": 15, "existing": None, "local": None}
