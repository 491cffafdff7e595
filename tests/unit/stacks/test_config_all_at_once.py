"""All errors come at once, in the order of the configuration; a broken field hides nothing that can be checked."""

from __future__ import annotations

import pytest

from stacks.config import EnvironmentConfig, NodePool, Scaling, load_environment
from stacks.config.salvage import has, salvage
from stacks.errors import MISSING, ConfigError, FieldError, short
from tests.unit.stacks.config_samples import MINIMAL, Raw, sample

pytestmark = pytest.mark.unit

BROKEN: Raw = {
    "cloud": "lokal",
    "gatewy": {},
    "node_pools": [
        {"name": "L4 Pool", "instance_type": "g6.12xlrge", "max_nodes": "3"},
        {"name": "a", "instance_type": "g6.xlarge", "sharing": {"mode": "mig", "profile": "1g.5gb"}, "max_nodes": 0},
        {"name": "a", "instance_type": "g6.xlarge", "min_nodes": 4, "max_nodes": 2, "labels": {}},
        {"sharing": {"mode": "migg"}},
        7,
        {"name": "b", "instance_type": "g6.xlarge", "max_nodes": 1},
    ],
    "model_deployments": [
        {
            "name": "x",
            "source": {"hugging_face": "meta-llama/Llama-3.1-70B-Instruct"},
            "node_pool": "a",
            "scaling": {"min_replicas": 7, "max_replicas": 3, "cooldown_seconds": 5, "queue": 3},
        },
        {
            "name": "x",
            "source": {"hugging_face": "meta-llama/Llama-3.1-8B-Instruct"},
            "node_pool": "b",
            "engine": {"max_model_len": 65_536, "extra_args": {"port": 80}, "max_num_seqs": 0},
            "simulation": {"startup_seconds": 700.5},
            "topology": {"kind": "disaggregated", "prefill": {"min_replicas": 0}},
            "scaling": {"max_replicas": "five"},
        },
    ],
}


def paths(raw: object, stack: str = "dev") -> list[str]:
    with pytest.raises(ConfigError) as error:
        load_environment(raw, stack)
    return [item.path for item in error.value.errors]


def test_every_mistake_is_found_in_order() -> None:
    assert paths(BROKEN, "Dev") == [
        "stack",
        "cloud",
        "node_pools[0].name",
        "node_pools[0].max_nodes",
        "node_pools[0].instance_type",
        "node_pools[1].max_nodes",
        "node_pools[1].sharing.mode",
        "node_pools[2].labels",
        "node_pools[2].name",
        "node_pools[2].min_nodes",
        "node_pools[3].name",
        "node_pools[3].sharing.mode",
        "node_pools[3].max_nodes",
        "node_pools[3].accelerator",
        "node_pools[4]",
        "model_deployments[0].scaling.queue",
        "model_deployments[0].scaling.min_replicas",
        "model_deployments[0].source.hugging_face",
        "model_deployments[1].engine.max_num_seqs",
        "model_deployments[1].scaling.max_replicas",
        "model_deployments[1].name",
        "model_deployments[1].simulation.startup_seconds",
        "model_deployments[1].engine.extra_args.port",
        "model_deployments[1].source.hugging_face",
        "model_deployments[1].topology.prefill.min_replicas",
        "gatewy",
    ]


def test_the_text_has_a_heading_and_a_line_for_each() -> None:
    with pytest.raises(ConfigError) as error:
        load_environment(sample(cloud=1, gateway=2), "dev")
    assert str(error.value).splitlines() == [
        "Pulumi.dev.yaml: 2 errors",
        "  cloud: not one of the words that can stand here (got 1); choose from local, aws, azure, gcp, existing.",
        "  gateway: must be a mapping of keys to values (got 2); choose from host_port, replicas, host, tls, limits.",
    ]


def test_a_pool_with_a_broken_name_may_be_the_one_that_is_meant() -> None:
    raw = sample(node_pools__0__name="L4", model_deployments__0__node_pool="l4")
    assert paths(raw) == ["node_pools[0].name"]


def test_a_broken_startup_budget_says_nothing_of_the_cooldown() -> None:
    raw = sample(model_deployments__0__scaling={"startup_budget_seconds": "10"})
    assert paths(raw) == ["model_deployments[0].scaling.startup_budget_seconds"]


def test_secrets_hide_the_rest() -> None:
    raw = {**BROKEN, "token": {"secure": "v1:x"}}
    assert paths(raw) == ["token"]


def test_salvage_leaves_out_what_is_broken_and_keeps_the_rest() -> None:
    scaling = salvage(Scaling, {"min_replicas": 3, "max_replicas": "x", "startup_budget_seconds": 0})
    assert has(scaling, "min_replicas", "queue_depth")
    assert scaling.min_replicas == 3
    assert [name for name in Scaling.model_fields if not has(scaling, name)] == [
        "max_replicas",
        "startup_budget_seconds",
        # It would follow from the start-up budget.
        "cooldown_seconds",
    ]


def test_salvage_keeps_the_index_of_items() -> None:
    raw = {**MINIMAL, "node_pools": [3, {"name": "a", "sharing": {"mode": "mps", "replicas": 99}}]}
    config = salvage(EnvironmentConfig, raw)
    broken, pool = config.node_pools
    assert isinstance(broken, NodePool)
    assert not has(broken, "name")
    assert has(pool, "name", "sharing")
    assert not has(pool.sharing, "replicas")
    assert not has(salvage(EnvironmentConfig, {**MINIMAL, "node_pools": "l4"}), "node_pools")


def test_an_error_as_json() -> None:
    error = FieldError("a.b", 3.5, "is wrong", ("x", "y"), "Change it.")
    assert error.to_json() == {
        "path": "a.b",
        "value": "3.5",
        "message": "is wrong",
        "choices": ["x", "y"],
        "fix": "Change it.",
    }
    assert FieldError("a", MISSING, "is missing").to_json()["value"] is None
    assert FieldError("a", "text", "is wrong").to_json()["value"] == "text"


def test_values_are_shown_in_one_short_line() -> None:
    assert short("a\nb") == r"'a\nb'"
    assert len(short("x" * 10_000)) < 70
    assert len(short([[["deep"] * 100] * 100] * 100)) == 120
    assert short(10**5000) == "a number of thousands of digits"
