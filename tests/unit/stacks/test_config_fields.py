"""Each mistake gives one message that names the field, the value, the choices and what to do.

Shows the exact words; not that a cloud would refuse, or accept, what is checked here.
"""

from __future__ import annotations

import math

import pytest

from tests.unit.stacks.config_samples import MINIMAL, Raw, errors, sample

pytestmark = pytest.mark.unit

POOL, MODEL = "node_pools__0__", "model_deployments__0__"


def one(**changes: object) -> str:
    """The only error of the sample with these changes."""
    (line,) = errors(sample(**changes))
    return line


def without(raw: Raw, key: str) -> Raw:
    return {name: value for name, value in raw.items() if name != key}


def test_the_sample_is_valid() -> None:
    assert errors(sample()) == []


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        (
            "cloud",
            "lokal",
            "cloud: not one of the words that can stand here (got 'lokal'); choose from local, aws, azure, gcp, "
            "existing."
            " Did you mean local?",
        ),
        (
            "gatewy",
            1,
            "gatewy: unknown key (got 1); choose from gateway, cloud, serving_stack, region, cluster, node_pools, "
            "model_deployments, weights, production_stack and 12 more."
            " Did you mean gateway?",
        ),
        (
            "zzz",
            None,
            "zzz: unknown key (got None); choose from cloud, serving_stack, region, cluster, node_pools, "
            "model_deployments, gateway, weights, production_stack and 12 more."
            " Remove it.",
        ),
        (
            "node_pools",
            [],
            "node_pools: must have at least one item (got []).",
        ),
        (
            "node_pools",
            "l4",
            "node_pools: must be a list (got 'l4').",
        ),
        (
            POOL + "name",
            "L4 Pool",
            "node_pools[0].name: must be lower-case letters, digits and dashes, begin with a letter and not end with a "
            "dash (got 'L4 Pool'). For example l4-pool.",
        ),
        (
            POOL + "name",
            "a" * 41,
            f"node_pools[0].name: must have at most 40 characters (got '{'a' * 41}'). For example {'a' * 40}.",
        ),
        (
            POOL + "max_nodes",
            "3",
            "node_pools[0].max_nodes: must be a whole number from 1 to 1000 (got '3'). Remove the quotes.",
        ),
        (
            POOL + "max_nodes",
            0,
            "node_pools[0].max_nodes: must be a whole number from 1 to 1000 (got 0).",
        ),
        (
            POOL + "max_nodes",
            True,
            "node_pools[0].max_nodes: must be a whole number from 1 to 1000 (got True).",
        ),
        (
            POOL + "max_nodes",
            2.5,
            "node_pools[0].max_nodes: must be a whole number from 1 to 1000 (got 2.5).",
        ),
        (
            POOL + "max_nodes",
            math.nan,
            "node_pools[0].max_nodes: must be a whole number from 1 to 1000 (got nan).",
        ),
        pytest.param(
            POOL + "max_nodes",
            10**5000,
            "node_pools[0].max_nodes: must be a whole number from 1 to 1000 (got a number of thousands of digits).",
            id="huge",
        ),
        (
            POOL + "capacity_type",
            "spott",
            "node_pools[0].capacity_type: not one of the words that can stand here (got 'spott'); choose from spot, "
            "on-demand, spot-with-fallback, reserved. Did you mean spot?",
        ),
        (
            POOL + "sharing",
            {"mode": "migg"},
            "node_pools[0].sharing.mode: not one of the words that can stand here (got 'migg'); choose from mig, none, "
            "time-slicing, mps. Did you mean mig?",
        ),
        (
            POOL + "sharing",
            {},
            "node_pools[0].sharing.mode: required, but not given; choose from none, mig, time-slicing, mps. Add it.",
        ),
        (
            POOL + "sharing",
            "mig",
            "node_pools[0].sharing: must be a mapping of keys to values (got 'mig'); choose from mode.",
        ),
        (
            POOL + "sharing",
            {"mode": "mps", "replicas": 49},
            "node_pools[0].sharing.replicas: must be a whole number from 2 to 48 (got 49).",
        ),
        (
            POOL + "sharing",
            {"mode": "none", "replicas": 4},
            "node_pools[0].sharing.replicas: unknown key (got 4); choose from mode. Remove it.",
        ),
        (
            MODEL + "source",
            {"hugging_face": "llama"},
            "model_deployments[0].source.hugging_face: must be organisation/model, as on Hugging Face (got 'llama').",
        ),
        (
            MODEL + "source",
            "meta-llama/Llama-3.1-8B-Instruct",
            "model_deployments[0].source: must be a mapping of keys to values (got "
            "'meta-llama/Llama-3.1-8B-Instruct'); "
            "choose from hugging_face, config_file, token, revision, allow_patterns, ignore_patterns.",
        ),
        (
            MODEL + "engine__gpu_memory_utilization",
            math.inf,
            "model_deployments[0].engine.gpu_memory_utilization: must be a number above 0 and at most 1 (got inf).",
        ),
        (
            MODEL + "engine__gpu_memory_utilization",
            85,
            "model_deployments[0].engine.gpu_memory_utilization: must be a number above 0 and at most 1 (got 85).",
        ),
        (
            MODEL + "engine__extra_args",
            {"--seed": 1},
            "model_deployments[0].engine.extra_args['--seed']: must be the name of a flag, without the leading dashes "
            "(got '--seed'). Write seed.",
        ),
        (
            MODEL + "engine__extra_args",
            {"seed": {"a": 1}},
            "model_deployments[0].engine.extra_args.seed: must be a text, a number, true or false, or a list of these "
            "(got {'a': 1}).",
        ),
        (
            MODEL + "engine__extra_args",
            {"seed": [1, True]},
            "model_deployments[0].engine.extra_args.seed: must be a list of texts or numbers (got [1, True]).",
        ),
        (
            MODEL + "engine__extra_args",
            ["--seed", "1"],
            "model_deployments[0].engine.extra_args: must be a mapping of keys to values (got ['--seed', '1']).",
        ),
        (
            MODEL + "router_policy",
            "round-robin",
            "model_deployments[0].router_policy: not one of the words that can stand here (got 'round-robin'); choose "
            "from round_robin, cache_aware, random, power_of_two, consistent_hash. Did you mean round_robin?",
        ),
        (
            MODEL + "scaling__max_replica",
            3,
            "model_deployments[0].scaling.max_replica: unknown key (got 3); choose from max_replicas, min_replicas, "
            "queue_depth, concurrency, polling_interval_seconds, startup_budget_seconds, cooldown_seconds, "
            "scale_down_stabilization_seconds, drain_seconds and 1 more. Did you mean max_replicas?",
        ),
        (
            MODEL + "simulation",
            {"speedup": 0},
            "model_deployments[0].simulation.speedup: must be a number above 0 and at most 1000 (got 0).",
        ),
        (
            MODEL + "slo",
            {"error_ratio": 2},
            "model_deployments[0].slo.error_ratio: must be a number above 0 and below 1 (got 2).",
        ),
        ("budget_per_hour", -1, "budget_per_hour: must be a number above 0 (got -1)."),
        ("paused", "yes", "paused: must be true or false (got 'yes')."),
        ("region", "US East", "region: must be a region in the cloud's own words, such as us-east-1 (got 'US East')."),
        (MODEL + "source__config_file", "", "model_deployments[0].source.config_file: must not be empty (got '')."),
        (
            "tags",
            {"Team": "ml"},
            "tags.Team: a name that cannot stand here: it must have the form ^[a-z][a-z0-9_-]*$ (got 'Team').",
        ),
        (
            "tenancy",
            {"pod_security": "priviledged"},
            "tenancy.pod_security: not one of the words that can stand here (got 'priviledged'); choose from "
            "restricted, baseline.",
        ),
        (
            "gateway__host_port",
            70_000,
            "gateway.host_port: must be a whole number from 1 to 65535 (got 70000).",
        ),
    ],
)
def test_one_field(path: str, value: object, line: str) -> None:
    assert one(**{path: value}) == line


def test_a_mig_profile_of_the_wrong_form() -> None:
    sharing = {"mode": "mig", "profile": "small"}
    assert one(node_pools__0__instance_type="p4d.24xlarge", node_pools__0__sharing=sharing) == (
        "node_pools[0].sharing.profile: must be a MIG profile such as 1g.10gb (got 'small')."
    )


def test_required_keys() -> None:
    assert errors(without(dict(MINIMAL), "cloud")) == [
        "cloud: required, but not given (Where the cluster runs); choose from local, aws, azure, gcp, existing. Add it."
    ]
    pool = without(MINIMAL["node_pools"][0], "max_nodes")
    assert one(node_pools=[pool]) == "node_pools[0].max_nodes: required, but not given (Most nodes). Add it."


def test_the_whole_is_not_a_mapping() -> None:
    raws: tuple[object, ...] = (None, [], "local", 3)
    for raw in raws:
        (line,) = errors(raw)
        assert line == (
            f"environment: must be a mapping of keys to values (got {raw!r}); choose from cloud, serving_stack, "
            "region, cluster, node_pools, model_deployments, gateway, weights, production_stack and 12 more."
        )


@pytest.mark.parametrize("stack", ["Dev", "a_b", "-a", "a" * 54])
def test_the_stack_names_the_namespace(stack: str) -> None:
    assert errors(sample(), stack) == [
        "stack: must be lower-case letters, digits and dashes, at most 53: it becomes part of the namespace "
        f"inference-<stack> (got '{stack}'). Rename the stack: pulumi stack rename."
    ]


def test_keys_that_yaml_does_not_read_as_text() -> None:
    raw: Raw = {**MINIMAL, True: 1, "gateway": {7: 8}}  # type: ignore[dict-item]
    assert errors(raw) == [
        "environment: the key true (YAML reads on and yes so, too) is not a text. Put it in quotes.",
        "gateway: the key 7 is not a text. Put it in quotes.",
    ]


def test_encrypted_values() -> None:
    raw = sample(**{MODEL + "engine__extra_args": {"api-key": {"secure": "v1:abc:def"}}})
    (line,) = errors(raw)
    assert line == (
        "model_deployments[0].engine.extra_args['api-key']: is an encrypted value: the environment object is shown in "
        "plans and outputs, so no secret belongs in it. Declare it in secrets, keep its value under "
        "inference-platform:secrets (docs/security.md), and refer to it by name."
    )
    assert "v1:abc" not in line
