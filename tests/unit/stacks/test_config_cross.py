"""Each mistake between fields gives one message that says why, and what to do.

Shows the exact words; not that a cloud would refuse, or accept, what is checked here.
"""

from __future__ import annotations

import pytest

from planner.catalog import instances
from stacks.config.vocabulary import Cloud
from tests.unit.stacks.config_samples import MINIMAL, errors, sample

pytestmark = pytest.mark.unit

POOL, MODEL = "node_pools__0__", "model_deployments__0__"
QUICK = {"startup_budget_seconds": 10, "cooldown_seconds": 20}


def one(**changes: object) -> str:
    """The only error of the sample with these changes."""
    (line,) = errors(sample(**changes))
    return line


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        (
            "serving_stack",
            "kserve",
            "serving_stack: is not built yet (got 'kserve'); choose from manifests, production-stack. "
            "Built so far: manifests, production-stack.",
        ),
        (
            MODEL + "engine__name",
            "trtllm",
            "model_deployments[0].engine.name: is not built yet (got 'trtllm'); choose from custom, sglang, tgi, "
            "triton, vllm. Built so far: custom, sglang, tgi, triton, vllm.",
        ),
    ],
)
def test_what_is_not_built_yet(path: str, value: object, line: str) -> None:
    assert one(**{path: value}) == line


def test_a_cloud_that_is_not_built_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stacks.config.checks.BUILT_CLOUDS", frozenset({Cloud.LOCAL}))
    assert one(cloud="aws") == "cloud: is not built yet (got 'aws'); choose from local. Built so far: local."


def test_names_are_unique() -> None:
    pool, model = MINIMAL["node_pools"][0], MINIMAL["model_deployments"][0]
    assert errors(sample(node_pools=[pool, pool], model_deployments=[model, model])) == [
        "node_pools[1].name: already the name of node_pools[0] (got 'l4'). Give each its own name.",
        "model_deployments[1].name: already the name of model_deployments[0] (got 'chat'). Give each its own name.",
    ]


def test_pools() -> None:
    pool = {"name": "system", "instance_type": "g6.12xlrge", "min_nodes": 4, "max_nodes": 2}
    assert errors(sample(node_pools=[*MINIMAL["node_pools"], pool])) == [
        "node_pools[1].name: the name of the CPU nodes that every environment has (got 'system'). Choose another name, "
        "for example after the GPU.",
        "node_pools[1].min_nodes: is more than max_nodes, 2 (got 4). Lower min_nodes to 2 or raise max_nodes to 4.",
        "node_pools[1].instance_type: no instance type of the catalogue (got 'g6.12xlrge'); choose from g6.12xlarge, "
        "g6e.12xlarge, g6.2xlarge, g5.12xlarge, g6.16xlarge, g6.24xlarge, g6e.2xlarge, g6.xlarge, g6e.16xlarge and "
        f"{len(instances()) - 9} more. Did you mean g6.12xlarge? The catalogue is planner/catalog/instances.toml.",
    ]


def test_capacity_that_is_not_to_be_had() -> None:
    assert one(**{POOL + "instance_type": "p5.48xlarge", POOL + "capacity_type": "spot-with-fallback"}) == (
        "node_pools[0].capacity_type: p5.48xlarge is not to be had as spot (got 'spot-with-fallback'); choose from "
        "reserved, on-demand. Use capacity blocks."
    )


def test_an_instance_type_of_another_cloud() -> None:
    assert (
        "node_pools[0].instance_type: an instance type of aws, but cloud is gcp (got 'g6.12xlarge'); choose from "
        "g2-standard-4, g2-standard-8, g2-standard-12, g2-standard-16, g2-standard-24, g2-standard-32, g2-standard-48, "
        "g2-standard-96. Choose a type of this cloud."
    ) in errors(sample(cloud="gcp"))


def test_mig() -> None:
    l4 = one(**{POOL + "sharing": {"mode": "mig", "profile": "1g.5gb"}})
    assert l4 == (
        "node_pools[0].sharing.mode: NVIDIA L4 (g6.12xlarge) has no MIG (got 'mig'); choose from none, time-slicing, "
        "mps. GPUs with MIG: a100-40, a100-80, b200, h100, h100-nvl, h200."
    )
    a100 = one(**{POOL + "instance_type": "p4d.24xlarge", POOL + "sharing": {"mode": "mig", "profile": "1g.6gb"}})
    assert a100 == (
        "node_pools[0].sharing.profile: no MIG profile of the NVIDIA A100 40GB (got '1g.6gb'); choose from 1g.5gb, "
        "1g.10gb, 2g.10gb, 3g.20gb, 4g.20gb, 7g.40gb. Did you mean 1g.5gb?"
    )


def test_a_shared_gpu() -> None:
    changes = {
        POOL + "sharing": {"mode": "time-slicing", "replicas": 3},
        MODEL + "engine__tensor_parallel": 2,
        MODEL + "engine__gpu_memory_utilization": 0.85,
    }
    assert errors(sample(**changes)) == [
        "model_deployments[0].engine.tensor_parallel: a replica cannot span GPUs of the pool l4, whose GPUs are shared "
        "(time-slicing) (got 2). Set it to 1.",
        "model_deployments[0].engine.gpu_memory_utilization: 3 pods share each GPU of the pool l4 (time-slicing) and "
        "each sees all of its memory: 3 x 0.85 is more than 1 (got 0.85). Set it to 0.33 or less.",
    ]


def test_an_unknown_pool() -> None:
    assert one(**{MODEL + "node_pool": "l40"}) == (
        "model_deployments[0].node_pool: no node pool has this name (got 'l40'); choose from l4. Did you mean l4?"
    )
    assert one(**{MODEL + "node_pool": "gpu"}) == (
        "model_deployments[0].node_pool: no node pool has this name (got 'gpu'); choose from l4. Add such a pool to "
        "node_pools, or name one that is there."
    )


def test_scaling() -> None:
    scaling = {"min_replicas": 6, "max_replicas": 5, "startup_budget_seconds": 600, "cooldown_seconds": 300}
    assert one(**{MODEL + "scaling": scaling}) == (
        "model_deployments[0].scaling.min_replicas: is more than max_replicas, 5 (got 6). Lower min_replicas to 5 or "
        "raise max_replicas to 6."
    )
    assert one(**{MODEL + "scaling": {**scaling, "min_replicas": 0}}) == (
        "model_deployments[0].scaling.cooldown_seconds: is less than startup_budget_seconds, 600: a model that is "
        "still "
        "loading would be taken away, and never answer (got 300). Set cooldown_seconds to 600 or more, or lower "
        "startup_budget_seconds to 300."
    )
    assert one(**{MODEL + "scaling": {**QUICK, "polling_interval_seconds": 15}}) == (
        "model_deployments[0].scaling.cooldown_seconds: is less than two looks of KEDA (polling_interval_seconds 15): "
        "traffic between two looks would not be seen (got 20). Set cooldown_seconds to 30 or more."
    )


def test_the_cooldown_does_not_matter_where_a_replica_always_stays() -> None:
    assert errors(sample(**{MODEL + "scaling": {"min_replicas": 1, "cooldown_seconds": 1}})) == []


def test_simulation() -> None:
    lines = errors(sample(cloud="aws", **{MODEL + "simulation": {}}))
    assert lines[-1] == (
        "model_deployments[0].simulation: engines are simulated on the local cloud only, and cloud is aws. Remove it."
    )
    assert one(**{MODEL + "simulation": {"startup_seconds": 11}, MODEL + "scaling": QUICK}) == (
        "model_deployments[0].simulation.startup_seconds: is more than scaling.startup_budget_seconds, 10: the engine "
        "would be given up while it starts (got 11.0). Lower it to 10 or less, or raise scaling.startup_budget_seconds."
    )


def test_the_gateway_port_is_for_the_local_cloud() -> None:
    assert errors(sample(cloud="aws", gateway={"host_port": 9000}))[-1] == (
        "gateway.host_port: the gateway has a port on the host on the local cloud only, and cloud is aws (got 9000). "
        "Remove it."
    )


def test_flags_that_the_platform_writes() -> None:
    args = {"port": 80, "max_model_len": 5, "api-key": "s3cret", "seed": 1, "pipeline-parallel-size": 2}
    assert errors(sample(**{MODEL + "engine__extra_args": args})) == [
        "model_deployments[0].engine.extra_args.port: the platform writes --port itself (got 80). Remove it: every "
        "engine listens on 8000.",
        "model_deployments[0].engine.extra_args.max_model_len: the platform writes --max-model-len itself (got 5). "
        "Remove it: set engine.max_model_len.",
        "model_deployments[0].engine.extra_args.api-key: --api-key is not supported. Remove it: secrets do not belong "
        "in the configuration.",
        "model_deployments[0].engine.extra_args.pipeline-parallel-size: --pipeline-parallel-size is not supported. "
        "Remove it: a pod gets engine.tensor_parallel GPUs, no more.",
    ]


def test_lists_of_values() -> None:
    """Each value is checked as the one value of a flag would be; what begins like a flag would end the list."""
    path = "model_deployments[0].engine.extra_args"
    fine = {"cudagraph-capture-sizes": [1, 2, 4], "allowed-media-domains": ["a.example"]}
    assert errors(sample(**{MODEL + "engine__extra_args": fine})) == []
    wrong = {
        "cudagraph-capture-sizes": [1, "two"],
        "collect-detailed-traces": ["model", "wrker"],
        "seed": [7],
        "allowed-media-domains": [],
        "logits-processors": ["a.b", "--x"],
    }
    found = errors(sample(**{MODEL + "engine__extra_args": wrong}))
    assert found == [
        f"{path}.cudagraph-capture-sizes: must be a whole number (got 'two').",
        f"{path}.collect-detailed-traces: is none of the choices (got 'wrker'); choose from worker, model, all. "
        "Did you mean worker?",
        f"{path}.seed: --seed takes one value, no list (got [7]); choose from 0. Write the one value.",
        f"{path}.allowed-media-domains: --allowed-media-domains takes one value or more (got []). Leave it out.",
        f"{path}.logits-processors: --x begins like a flag: the engine would read it as one (got ['a.b', '--x']). "
        "Give it as a flag of its own.",
    ]


def test_one_flag_written_in_two_ways() -> None:
    assert one(**{MODEL + "engine__extra_args": {"enforce-eager": True, "enforce_eager": False}}) == (
        "model_deployments[0].engine.extra_args.enforce_eager: the same flag as enforce-eager (got False). Remove one "
        "of them."
    )


def test_a_model_that_the_simulator_does_not_know() -> None:
    line = one(**{MODEL + "source": {"hugging_face": "meta-llama/Llama-3.1-8B-Instruct2"}})
    assert line.startswith(
        "model_deployments[0].source.hugging_face: not in the catalogue, and the simulated engine takes its sizes from "
        "there (got 'meta-llama/Llama-3.1-8B-Instruct2'); choose from meta-llama/Llama-3.1-8B-Instruct, "
    )
    assert line.endswith(" Did you mean meta-llama/Llama-3.1-8B-Instruct? Or add a row to planner/catalog/models.toml.")


def test_a_context_that_the_model_was_not_trained_for() -> None:
    assert one(**{MODEL + "engine__max_model_len": 131_073}) == (
        "model_deployments[0].engine.max_model_len: is more than the 131072 tokens that "
        "meta-llama/Llama-3.1-8B-Instruct was trained for: vLLM refuses to start (got 131073). Set it to 131072 or "
        "less."
    )


def test_tensor_parallel() -> None:
    assert one(**{MODEL + "engine__tensor_parallel": 8}) == (
        "model_deployments[0].engine.tensor_parallel: is more than the 4 GPUs of a g6.12xlarge, and a replica runs on "
        "one node (got 8). Set it to 4 or less, or choose a larger type."
    )
    assert one(**{MODEL + "engine__tensor_parallel": 3}) == (
        "model_deployments[0].engine.tensor_parallel: does not divide the 32 heads (8 KV heads) of "
        "meta-llama/Llama-3.1-8B-Instruct (got 3); choose from 1, 2, 4. Choose one of them."
    )


def test_a_model_that_does_not_fit() -> None:
    assert one(**{MODEL + "source": {"hugging_face": "meta-llama/Llama-3.1-70B-Instruct"}}) == (
        "model_deployments[0].source.hugging_face: does not fit 1 x NVIDIA L4: each GPU gives the engine 18.7 GiB; "
        "weights take 131.4 GiB, the runtime 1.1 GiB: room for 0 tokens of KV cache, 2048 are needed (got "
        "'meta-llama/Llama-3.1-70B-Instruct'). What fits: a checkpoint with 8-bit weights (67.7 GiB) and "
        "engine.tensor_parallel 4; a node pool of p4de.24xlarge (8 x NVIDIA A100 80GB) with "
        "engine.tensor_parallel 2 ($6.86/h per replica); a checkpoint with 4-bit weights (36.8 GiB) and "
        "engine.tensor_parallel 4."
    )


def test_a_context_that_does_not_fit_a_slice() -> None:
    changes = {
        POOL + "instance_type": "p4d.24xlarge",
        POOL + "sharing": {"mode": "mig", "profile": "3g.20gb"},
        MODEL + "engine__max_model_len": 65_536,
    }
    assert one(**changes) == (
        "model_deployments[0].source.hugging_face: does not fit 1 x NVIDIA A100 40GB 3g.20gb slice: each GPU gives the "
        "engine 16.7 GiB; weights take 15.0 GiB, the runtime 0.9 GiB: room for 7056 tokens of KV cache, 65536 are "
        "needed (got 'meta-llama/Llama-3.1-8B-Instruct'). What fits: engine.max_model_len 7056; MIG profile 7g.40gb (1 "
        "per GPU); a checkpoint with 4-bit weights (5.3 GiB)."
    )


def test_quantization_and_cache_type_of_the_engine_count() -> None:
    wide = {MODEL + "engine__max_model_len": 65_536}
    assert "room for 23840 tokens" in one(**wide)
    assert "room for 47696 tokens" in one(**wide, **{MODEL + "engine__extra_args": {"kv_cache_dtype": "fp8"}})
    assert errors(sample(**wide, **{MODEL + "engine__extra_args": {"quantization": "fp8"}})) == []


def test_bfloat16_on_a_t4() -> None:
    t4 = {POOL + "instance_type": "g4dn.xlarge", MODEL + "source": {"hugging_face": "Qwen/Qwen3-1.7B"}}
    assert one(**t4) == (
        "model_deployments[0].engine.extra_args.dtype: Qwen/Qwen3-1.7B is stored in bfloat16, which the NVIDIA T4 "
        "cannot compute; choose from half. Add dtype: half, or choose a pool with a newer GPU."
    )
    assert errors(sample(**t4, **{MODEL + "engine__extra_args": {"dtype": "half"}})) == []
