"""The example environments: the production ones are one environment three times, and all of them are valid.

Does not prove that they can be deployed: tests/engine does, over the provider double.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from stacks.config import load_stack_file
from stacks.config.load import ENVIRONMENT_KEY
from stacks.plan import plan_config

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]
CLOUDS = ("aws", "azure", "gcp")
EXAMPLES = sorted(path.name.split(".")[1] for path in ROOT.glob("Pulumi.*.yaml"))


def environment(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / f"Pulumi.{name}.yaml").read_text())
    found: dict[str, Any] = document["config"][ENVIRONMENT_KEY]
    return found


def test_the_production_examples_differ_in_cloud_region_and_the_clouds_own_section_only() -> None:
    common = [
        {key: value for key, value in environment(f"{cloud}-prod").items() if key not in {"cloud", "region", cloud}}
        for cloud in CLOUDS
    ]
    assert common[0] == common[1] == common[2]


def test_their_plans_have_the_same_shape() -> None:
    plans = [plan_config(load_stack_file(f"{cloud}-prod", ROOT), f"{cloud}-prod").to_json() for cloud in CLOUDS]
    shapes = [
        (
            sorted(plan),
            [(item["name"], item["gpu"], item["gpus_per_replica"]) for item in plan["models"]],
            [(pool["name"], pool["nodes_min"], pool["nodes_max"]) for pool in plan["pools"]],
        )
        for plan in plans
    ]
    assert shapes[0] == shapes[1] == shapes[2]


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_is_valid(name: str) -> None:
    assert load_stack_file(name, ROOT).model_deployments
