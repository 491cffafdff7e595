"""Kinds of workers, adapters and shared routers: what is refused and why, what the plan counts, what components get.

Does not prove that a router does what the reasons say: those were measured, and the local tests run the real one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from components.serving.topologies import Aggregated, Disaggregated
from planner.lora import LoraSlots
from stacks.config import EnvironmentConfig, load_environment, load_stack_file
from stacks.config.vocabulary import RouterKind
from stacks.environment import model_deployment_args
from stacks.errors import ConfigError
from stacks.node_pools import gpu_pool
from stacks.plan import plan_config
from stacks.summary import summarize
from tests.unit.stacks.config_samples import errors, loaded, sample

pytestmark = pytest.mark.unit

MODEL = "model_deployments__0__"
ADAPTERS = MODEL + "engine__lora_adapters"
SQL = {"name": "sql", "source": {"hugging_face": "somebody/sql"}}
LEGAL = {"name": "legal", "source": {"hugging_face": "somebody/legal"}, "rank": 40}
APART = {"kind": "disaggregated", "prefill": {"max_replicas": 2}, "decode": {"min_replicas": 2, "queue_depth": 9}}
BASE = "meta-llama/Llama-3.1-8B-Instruct"
PATH = "model_deployments[0]"


def args_of(config: EnvironmentConfig) -> Any:
    pool = config.node_pools[0]
    return model_deployment_args(config.model_deployments[0], pool, {pool.name: gpu_pool(pool, None)}, simulated=False)


def test_without_any_of_it_nothing_is_made() -> None:
    config = loaded()
    assert config.router is RouterKind.PER_MODEL
    args = args_of(config)
    assert (args.topology, args.engine.lora) == (Aggregated(), None)
    (model,) = plan_config(config, "dev").models
    assert (model.roles, model.kv_transfer_ms, model.prefill_workers_per_decode_worker) == ((), None, None)
    assert model.gpu_memory is not None
    assert "adapters_gib" not in model.gpu_memory


def test_adapters_reach_the_engine() -> None:
    config = loaded(**{ADAPTERS: [SQL, LEGAL]})
    assert config.model_deployments[0].names == ("chat", "sql", "legal")
    lora = args_of(config).engine.lora
    assert lora.arguments() == [
        "--enable-lora",
        "--max-loras=2",
        "--max-lora-rank=64",
        "--lora-modules",
        "sql=somebody/sql",
        "legal=somebody/legal",
    ]


def test_adapters_that_share_a_slot_wait_in_main_memory() -> None:
    config = loaded(**{ADAPTERS: [SQL, LEGAL], MODEL + "engine__max_loras": 1})
    assert args_of(config).engine.lora.sizes == {"max-loras": 1, "max-lora-rank": 64, "max-cpu-loras": 2}


def test_adapters_take_memory_from_the_kv_cache() -> None:
    plain, with_adapters = (plan_config(loaded(**changes), "dev").models[0] for changes in ({}, {ADAPTERS: [SQL]}))
    assert plain.gpu_memory is not None
    assert with_adapters.gpu_memory is not None
    # An adapter of rank 16 on all linear layers of Llama 3.1 8B has 41,943,040 weights of 2 bytes.
    assert with_adapters.gpu_memory["adapters_gib"] == round(41_943_040 * 2 / 2**30, 2)
    assert (plain.kv_cache_tokens or 0) > (with_adapters.kv_cache_tokens or 0)


@pytest.mark.parametrize(("rank", "choice"), [(1, 1), (2, 8), (16, 16), (17, 32), (512, 512)])
def test_ranks_are_rounded_up_to_what_vllm_takes(rank: int, choice: int) -> None:
    assert LoraSlots(1, rank).max_rank == choice


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {ADAPTERS: [{**SQL, "name": "chat"}]},
            f"{PATH}.engine.lora_adapters[0].name: already taken by {PATH}.name: a request's model would mean both "
            "(got 'chat'). Give each its own name.",
        ),
        (
            {ADAPTERS: [SQL, SQL]},
            f"{PATH}.engine.lora_adapters[1].name: already taken by {PATH}.engine.lora_adapters[0].name: a request's "
            "model would mean both (got 'sql'). Give each its own name.",
        ),
        (
            {ADAPTERS: [{**SQL, "base_model": "Qwen/Qwen3-8B"}]},
            f"{PATH}.engine.lora_adapters[0].base_model: the adapter was trained for Qwen/Qwen3-8B, and the model "
            f"deployment serves {BASE} (got 'Qwen/Qwen3-8B'). Put it under a model deployment of its base model.",
        ),
        (
            {ADAPTERS: [SQL], MODEL + "engine__max_loras": 2},
            f"{PATH}.engine.max_loras: is more than the 1 adapters: memory would be taken for nothing (got 2). Lower "
            "it, or leave it out.",
        ),
        (
            {ADAPTERS: [SQL], MODEL + "engine__extra_args": {"enable-lora": True}},
            f"{PATH}.engine.extra_args.enable-lora: lora_adapters gives the engine --enable-lora already (got True). "
            "Remove one of the two.",
        ),
        (
            {MODEL + "topology": {"kind": "disaggregated", "decode": {"min_replicas": 0}}},
            f"{PATH}.topology.decode.min_replicas: the router of disaggregated workers answers 503 at once while a "
            "kind of worker is missing, so a model at zero would lose the request that should wake it (got 0). Set it "
            "to 1 or more, or use topology aggregated.",
        ),
        (
            {MODEL + "topology": {"kind": "disaggregated", "prefill": {"min_replicas": 3, "max_replicas": 2}}},
            f"{PATH}.topology.prefill.min_replicas: is more than max_replicas, 2 (got 3). Lower min_replicas to 2 or "
            "raise max_replicas to 3.",
        ),
        (
            {MODEL + "topology": APART, MODEL + "scaling__max_replicas": 4},
            f"{PATH}.scaling.max_replicas: prefill and decode workers have their own (got 4). Remove it: set "
            "topology.prefill.max_replicas and topology.decode.max_replicas.",
        ),
        (
            {MODEL + "topology": APART, MODEL + "engine__extra_args": {"kv_offloading_size": 8}},
            f"{PATH}.engine.extra_args.kv_offloading_size: it puts another connector in the place of NIXL's: no block "
            "would come from prefill workers (got 8). Remove it, or set topology: {kind: aggregated}.",
        ),
        (
            {"router": "shared"},
            f"{PATH}.scaling.min_replicas: router: shared sends a request for a model without a worker to another "
            "model's, which answers 404. Set it to 1 or more, or set router: per-model.",
        ),
        (
            {"router": "shared", MODEL + "scaling__min_replicas": 1},
            f"{PATH}.rollout: with one replica a rollout leaves none for a while, and router: shared sends a request "
            "for a model without a worker to another model's, which answers 404 (got 'rolling'); choose from surge. "
            "Set rollout: surge, or scaling.min_replicas to 2 or more.",
        ),
        (
            {"router": "shared", MODEL + "topology": APART},
            f"{PATH}.topology.kind: router: shared sends requests to one worker, not to a prefill and a decode worker "
            "(got 'disaggregated'). Set router: per-model.",
        ),
        (
            {"router": "shared", MODEL + "scaling__min_replicas": 2, ADAPTERS: [SQL]},
            f"{PATH}.engine.lora_adapters: router: shared knows models by the first name that an engine serves, and no "
            "adapters. Set router: per-model.",
        ),
    ],
)
def test_what_is_refused(changes: dict[str, Any], line: str) -> None:
    assert errors(sample(**changes)) == [line]


def test_a_shared_router_has_one_policy() -> None:
    first = sample()["model_deployments"][0]
    both = [
        {**first, "name": name, "router_policy": policy, "scaling": {"min_replicas": 2}}
        for name, policy in (("one", "random"), ("two", "round_robin"))
    ]
    lines = errors(sample(router="shared", model_deployments=both))
    assert [line.partition(":")[0] for line in lines] == [f"model_deployments[{n}].router_policy" for n in (0, 1)]
    assert errors(sample(router="shared", model_deployments=[both[0], {**both[1], "router_policy": "random"}])) == []


def test_an_adapter_that_its_own_file_contradicts(tmp_path: Path) -> None:
    import yaml

    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "Qwen/Qwen3-8B", "r": 32}))
    adapter = {**SQL, "source": {"hugging_face": "somebody/sql", "config_file": "."}}
    file = tmp_path / "Pulumi.dev.yaml"

    def written(**changes: Any) -> list[str]:
        environment = sample(**{ADAPTERS: [{**adapter, **changes}]})
        file.write_text(yaml.safe_dump({"config": {"inference-platform:environment": environment}}))
        try:
            load_stack_file(file)
        except ConfigError as error:
            return [item.path.rpartition(".lora_adapters[0].")[2] for item in error.errors]
        return []

    assert written() == ["source.config_file", "rank"]
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": BASE, "r": 32}))
    assert written(rank=32) == []
    (tmp_path / "adapter_config.json").write_text("[]")
    assert written() == ["source.config_file"]


def test_workers_of_each_kind_have_their_own_scaling() -> None:
    config = loaded(**{MODEL + "topology": APART, MODEL + "scaling__queue_depth": 3})
    deployment = config.model_deployments[0]
    assert deployment.replica_bounds == (3, 7)
    topology = args_of(config).topology
    assert isinstance(topology, Disaggregated)
    prefill, decode = topology.prefill, topology.decode
    assert (prefill.min_replicas, prefill.max_replicas, prefill.queue_depth) == (1, 2, 3)
    assert (decode.min_replicas, decode.max_replicas, decode.queue_depth) == (2, 5, 9)
    assert prefill.drain_seconds == decode.drain_seconds == deployment.scaling.drain_seconds


def test_the_plan_counts_both_kinds_of_workers() -> None:
    aggregated = plan_config(loaded(), "dev").models[0]
    config = loaded(**{MODEL + "topology": APART})
    apart = plan_config(config, "dev").models[0]
    price = apart.price_per_replica_hour or 0
    assert [(item.role, item.replicas_min, item.replicas_max, item.gpus_max) for item in apart.roles] == [
        ("prefill", 1, 2, 2),
        ("decode", 2, 5, 5),
    ]
    assert [item.hourly_max for item in apart.roles] == [pytest.approx(2 * price), pytest.approx(5 * price)]
    assert (apart.replicas_min, apart.replicas_max, apart.estimate) == (3, 7, True)
    # 1,154.7 prompt tokens of 128 KiB at 10 GB/s, and 2 ms.
    assert apart.kv_transfer_ms == pytest.approx(1154.7 * 131_072 / 1e10 * 1000 + 2, abs=0.1)
    assert (apart.ttft_ms or 0) == pytest.approx((aggregated.ttft_ms or 0) + (apart.kv_transfer_ms or 0), abs=0.15)
    beside = apart.prefill_workers_per_decode_worker or 0
    assert beside > 0
    ratio = (apart.cost_per_million_output_tokens or 0) / (aggregated.cost_per_million_output_tokens or 1)
    assert ratio == pytest.approx(1 + beside, rel=0.01)
    assert json.loads(json.dumps(plan_config(config, "dev").to_json()))["models"][0]["roles"][1]["gpus_max"] == 5


def test_the_summary_counts_all_workers() -> None:
    (row,) = summarize(load_environment(sample(**{MODEL + "topology": APART}), "dev"), "dev").models
    assert (row.replicas_min, row.replicas_max) == (3, 7)
