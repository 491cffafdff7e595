"""One configuration for all clouds: instance types from GPU names, and what contradicts them.

Says nothing of whether a cloud has such a machine free, or offers it in a region: that is preflight's.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.catalog import gpus, instances
from stacks.config import load_environment
from stacks.config.resolve import accelerators_of, resolve_instance
from stacks.config.vocabulary import CLOUDS_WITH_INSTANCES
from stacks.errors import ConfigError
from tests.unit.stacks.config_samples import sample

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("cloud", "accelerator", "count", "expected"),
    [
        ("aws", "l4", None, "g6.2xlarge"),  # g6.xlarge is cheaper and has 16 GiB for a GPU with 22
        ("gcp", "l4", None, "g2-standard-8"),
        ("azure", "t4", 4, "Standard_NC64as_T4_v3"),
        ("aws", "h100", None, "p5.4xlarge"),
        ("aws", "h100", 8, "p5.48xlarge"),
        ("aws", "h200", None, "p5en.48xlarge"),  # p5e has no on-demand price
        ("azure", "l4", None, None),
        ("aws", "l4", 3, None),
    ],
)
def test_the_cheapest_machine_whose_memory_suffices(
    cloud: str, accelerator: str, count: int | None, expected: str | None
) -> None:
    row = resolve_instance(cloud, accelerator, count)
    assert (row and row.key) == expected


@given(st.sampled_from([*sorted(CLOUDS_WITH_INSTANCES), "local", "existing"]), st.sampled_from(sorted(gpus())))
def test_every_offer_can_be_resolved(cloud: str, accelerator: str) -> None:
    for count in accelerators_of(cloud).get(accelerator, []):
        row = resolve_instance(cloud, accelerator, count)
        assert row is not None
        assert (row.gpu, row.gpus) == (accelerator, count)
        assert cloud not in CLOUDS_WITH_INSTANCES or row.cloud == cloud


def pool(**fields: object) -> dict[str, object]:
    return {"name": "l4", "max_nodes": 1, **fields}


def test_the_loaded_configuration_names_the_machine() -> None:
    config = load_environment(sample(node_pools=[pool(accelerator="l4", gpus_per_node=4)]), "dev")
    assert config.node_pools[0].instance_type in instances()
    assert config.node_pools[0].accelerator == "l4"


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({}, "node_pools[0].accelerator: required, but not given, where instance_type is not"),
        ({"accelerator": "l44"}, "node_pools[0].accelerator: no GPU of the catalogue (got 'l44')"),
        ({"accelerator": "l4", "gpus_per_node": 3}, "node_pools[0].gpus_per_node: no machine has so many l4"),
        ({"accelerator": "t4", "instance_type": "g6.xlarge"}, "node_pools[0].accelerator: g6.xlarge has the GPU l4"),
        (
            {"accelerator": "l4", "gpus_per_node": 2, "instance_type": "g6.xlarge"},
            "node_pools[0].gpus_per_node: g6.xlarge has 1 GPUs",
        ),
    ],
)
def test_what_cannot_be_resolved(fields: dict[str, object], line: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_environment(sample(node_pools=[pool(**fields)]), "dev")
    assert [item.line() for item in error.value.errors if item.line().startswith(line)], error.value
