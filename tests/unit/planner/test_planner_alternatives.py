"""The ways that are proposed for a model that does not fit do fit.

Shows: each proposal, taken up, fits by the same sizing; not that it is what a user would like best.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.alternatives import Placement, nearest_ways, nearest_ways_on
from planner.catalog import gpus, instances, models
from planner.sizing import DoesNotFitError, derive_engine_limits, mig_memory_gib

pytestmark = pytest.mark.unit

ALL_CLOUDS = frozenset({"aws", "azure", "gcp"})


def placement(model: str, instance: str, length: int | None = None, mig_profile: str | None = None) -> Placement:
    gpu = gpus()[instances()[instance].gpu]
    memory = gpu.memory_gib if mig_profile is None else mig_memory_gib(gpu.mig_profiles[mig_profile])
    return Placement(
        model=models()[model],
        instance=instances()[instance],
        memory_gib=memory,
        tensor_parallel=1,
        gpu_memory_utilization=0.85,
        max_model_len=length,
        mig_profile=mig_profile,
        clouds=ALL_CLOUDS,
    )


@pytest.mark.parametrize(
    ("asked", "ways"),
    [
        (
            placement("meta-llama/Llama-3.1-8B-Instruct", "g6.12xlarge", 65_536),
            (
                "engine.max_model_len 23840",
                "engine.tensor_parallel 2 (the instance has 4 GPUs)",
                "a checkpoint with 8-bit weights (8.5 GiB)",
            ),
        ),
        (
            placement("meta-llama/Llama-3.1-70B-Instruct", "g6.12xlarge"),
            (
                "a checkpoint with 8-bit weights (67.7 GiB) and engine.tensor_parallel 4",
                "a node pool of p4de.24xlarge (8 x NVIDIA A100 80GB) with engine.tensor_parallel 2 "
                "($6.86/h per replica)",
                "a checkpoint with 4-bit weights (36.8 GiB) and engine.tensor_parallel 4",
            ),
        ),
        (
            placement("Qwen/Qwen2.5-7B-Instruct", "p4d.24xlarge", mig_profile="1g.5gb"),
            (
                "MIG profile 3g.20gb (2 per GPU)",
                "a node pool of g2-standard-4 (1 x NVIDIA L4) with engine.tensor_parallel 1 ($0.76/h per replica)",
            ),
        ),
        # 812 GB: eight of the largest GPUs.
        (
            placement("meta-llama/Llama-3.1-405B-Instruct", "g6.xlarge"),
            (
                "a node pool of p5en.48xlarge (8 x NVIDIA H200 141GB SXM) with engine.tensor_parallel 8 "
                "($63.30/h per replica)",
            ),
        ),
    ],
)
def test_ways(asked: Placement, ways: tuple[str, ...]) -> None:
    assert nearest_ways(asked) == ways


def take(asked: Placement, way: str) -> tuple[Placement, str | None]:
    """What was asked for, changed as proposed; and the quantization of the checkpoint."""
    number = {name: int(value) for name, value in re.findall(r"engine\.(\w+) (\d+)", way)}
    quantization = {"8": "int8", "4": "int4"}.get((re.findall(r"(\d)-bit", way) or [""])[0])
    taken = dataclasses.replace(asked, **number)  # type: ignore[arg-type]
    if pool := re.search(r"a node pool of (\S+)", way):
        instance = instances()[pool[1]]
        taken = dataclasses.replace(taken, instance=instance, memory_gib=gpus()[instance.gpu].memory_gib)
    if profile := re.search(r"MIG profile (\S+)", way):
        memory = mig_memory_gib(gpus()[asked.instance.gpu].mig_profiles[profile[1]])
        taken = dataclasses.replace(taken, memory_gib=memory)
    return taken, quantization


@given(
    st.sampled_from(sorted(models())),
    st.sampled_from(sorted(instances())),
    st.one_of(st.none(), st.integers(1, 131_072)),
)
def test_every_proposal_fits_and_every_model_of_the_catalogue_has_one(
    model: str, instance: str, length: int | None
) -> None:
    asked = placement(model, instance, length)
    ways = nearest_ways(asked)
    assert len(ways) <= 3
    for way in ways:
        taken, quantization = take(asked, way)
        assert taken.fits(quantization=quantization), way
        assert taken.tensor_parallel <= taken.instance.gpus, way
    assert asked.fits() or ways


@pytest.mark.parametrize(
    ("model", "gpu", "options", "ways"),
    [
        (
            "meta-llama/Llama-3.3-70B-Instruct",
            "h100",
            {},
            ("--tensor-parallel 4", "--quantization int4", "--gpu b200"),
        ),
        # Eight GPUs are too few: a pipeline of two nodes, or a larger GPU.
        (
            "deepseek-ai/DeepSeek-R1",
            "h100",
            {"tensor_parallel": 8},
            ("--tensor-parallel 8 --pipeline-parallel 2", "--gpu h200"),
        ),
        (
            "meta-llama/Llama-3.1-8B-Instruct",
            "l4",
            {"max_model_len": 65_536},
            ("--max-model-len 23840", "--tensor-parallel 2", "--quantization fp8"),
        ),
        (
            "meta-llama/Llama-3.1-8B-Instruct",
            "a100-40",
            {"mig_profile": "2g.10gb"},
            ("--mig-profile 3g.20gb", "the whole GPU", "--quantization int4"),
        ),
        (
            "meta-llama/Llama-3.1-8B-Instruct",
            "l4",
            {"share": 0.5},
            ("the whole GPU", "--quantization int4", "--gpu a10g as a whole"),
        ),
    ],
)
def test_ways_without_an_instance(model: str, gpu: str, options: dict[str, Any], ways: tuple[str, ...]) -> None:
    row, card = models()[model], gpus()[gpu]
    found = nearest_ways_on(row, card, **options)
    assert found == ways
    given: dict[str, Any] = {"max_model_len": options.get("max_model_len"), "mig_profile": options.get("mig_profile")}
    given |= {"tensor_parallel": options.get("tensor_parallel", 1), "share": options.get("share", 1.0)}
    with pytest.raises(DoesNotFitError):
        derive_engine_limits(row, card, **given)
    for way in found:
        changed: dict[str, Any] = dict(given)
        names = re.findall(r"--([a-z-]+) (\S+)", way)
        if "whole" in way:
            changed |= {"mig_profile": None, "share": 1.0}
        taken = gpus()[dict(names).get("gpu", gpu)]
        changed |= {name.replace("-", "_"): value for name, value in names if name != "gpu"}
        for name in ("max_model_len", "tensor_parallel", "pipeline_parallel"):
            if isinstance(changed.get(name), str):
                changed[name] = int(changed[name])
        derive_engine_limits(row, taken, **changed)
