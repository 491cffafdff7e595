"""The catalogue's rows agree with each other and with the architectures that they state.

Shows: every row has its source and date, parameter counts follow from the architecture, a broken file is named.
Not that a price or a data-sheet figure is right today: that is what source and as_of are for.
"""

from __future__ import annotations

import datetime
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from planner import catalog
from planner.catalog import CatalogError, Gpu, Instance, Model, gpus, instances, models

pytestmark = pytest.mark.unit


def parameters(model: Model) -> int:
    """Weights of a decoder with gated feed-forward layers (Llama, Qwen, Mistral, Mixtral, Gemma)."""
    query, keys = model.heads * model.head_dim, model.kv_heads * model.head_dim
    attention = 2 * model.hidden * query + 2 * model.hidden * keys
    attention += (query + 2 * keys) if model.attention_bias else 0
    attention += 2 * model.head_dim if model.qk_norm else 0
    forward = 3 * model.hidden * model.intermediate * max(1, model.experts) + model.hidden * model.experts
    layer = attention + forward + model.norms_per_layer * model.hidden
    embeddings = model.vocab * model.hidden * (1 if model.tied_embeddings else 2)
    return embeddings + model.layers * layer + model.hidden


# Norms, biases, multi-latent attention and shared experts differ by model: these are held to the published counts.
PUBLISHED = {
    "MiniMaxAI/MiniMax-M2.5": 228.7,
    "Qwen/Qwen3-235B-A22B-FP8": 235.1,
    "Qwen/Qwen3.5-397B-A17B": 396.8,  # 397 less the vision tower
    "deepseek-ai/DeepSeek-R1": 671.0,
    "deepseek-ai/DeepSeek-V3": 671.0,
    "moonshotai/Kimi-K2.5": 1026.4,
    "openai/gpt-oss-120b": 116.83,
    "zai-org/GLM-5-FP8": 744.0,
}


@pytest.mark.parametrize("key", PUBLISHED)
def test_large_mixtures_have_the_published_parameters(key: str) -> None:
    row = models()[key]
    assert row.parameters / 1e9 == pytest.approx(PUBLISHED[key], rel=0.0015)
    assert 0.9 * row.parameters < row.expert_parameters < row.parameters


@pytest.mark.parametrize("key", sorted(set(models()) - set(PUBLISHED)))
def test_parameters_follow_from_the_architecture(key: str) -> None:
    assert models()[key].parameters == parameters(models()[key])


@pytest.mark.parametrize(
    ("key", "billions"),
    [
        # What the model cards state.
        ("meta-llama/Llama-3.1-8B-Instruct", 8.03),
        ("meta-llama/Llama-3.1-70B-Instruct", 70.6),
        ("Qwen/Qwen2.5-Coder-7B-Instruct", 7.62),
        ("Qwen/Qwen2.5-72B-Instruct", 72.7),
        ("Qwen/Qwen3-30B-A3B", 30.5),
        ("mistralai/Mistral-7B-Instruct-v0.3", 7.25),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", 46.7),
        ("google/gemma-2-9b-it", 9.24),
    ],
)
def test_parameters_agree_with_the_model_card(key: str, billions: float) -> None:
    assert models()[key].parameters / 1e9 == pytest.approx(billions, rel=0.005)


def test_only_mixtures_of_experts_have_fewer_active_parameters() -> None:
    active = {key: row.active_parameters for key, row in models().items() if row.active_parameters is not None}
    assert sorted(active) == sorted([*PUBLISHED, "Qwen/Qwen3-30B-A3B", "mistralai/Mixtral-8x7B-Instruct-v0.1"])
    # "A3B" and the 12.9 billion of Mixtral's model card.
    assert active["Qwen/Qwen3-30B-A3B"] == pytest.approx(3.3e9, rel=0.03)
    assert active["mistralai/Mixtral-8x7B-Instruct-v0.1"] == pytest.approx(12.9e9, rel=0.01)


def test_every_row_says_where_it_comes_from_and_when() -> None:
    rows: list[Gpu | Instance | Model] = [*gpus().values(), *instances().values(), *models().values()]
    for row in rows:
        assert row.source, row.key
        assert datetime.date(2026, 1, 1) <= row.as_of, row.key


def test_gpus_are_possible() -> None:
    for row in gpus().values():
        assert 10 < row.memory_gib < 300, row.key
        assert row.bf16_tflops or row.fp16_tflops, row.key
        assert (row.compute_capability >= 8.0) == (row.bf16_tflops is not None), row.key
        assert (row.compute_capability >= 8.9) == (row.fp8_tflops is not None), row.key
        for profile in row.mig_profiles.values():
            if profile.memory_gib is not None:
                assert profile.memory_gib * profile.per_gpu <= row.memory_gib * 1.01, (row.key, profile.name)


def test_instances_are_possible() -> None:
    assert {row.cloud for row in instances().values()} == {"aws", "azure", "gcp"}
    for row in instances().values():
        assert row.gpus in {1, 2, 4, 8, 16}, row.key
        assert row.price_per_hour is None or 0.1 < row.price_per_hour / row.gpus < 20, row.key
        assert row.vcpu >= 4, row.key
        assert row.memory_gib >= 15, row.key  # n1-standard-4


def test_the_pool_of_the_dev_stack() -> None:
    row = instances()["g6.12xlarge"]
    assert (row.cloud, row.gpu, row.gpus, row.vcpu, row.memory_gib) == ("aws", "l4", 4, 48, 192)
    assert (row.price_per_hour, row.region, row.as_of.isoformat()) == (4.6016, "us-east-1", "2026-07-20")


def test_p5_is_not_to_be_had_as_spot() -> None:
    assert sorted(key for key, row in instances().items() if not row.spot) == ["p5.48xlarge", "p5.4xlarge"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(catalog, "CATALOG_FOLDER", tmp_path)
    for cached in (gpus, instances, models):
        cached.cache_clear()
    yield tmp_path
    for cached in (gpus, instances, models):
        cached.cache_clear()


def test_a_missing_file_is_named(folder: Path) -> None:
    with pytest.raises(CatalogError, match=r"models\.toml: .*No such file"):
        models()
    assert list(folder.iterdir()) == []


def test_a_broken_file_is_named(folder: Path) -> None:
    (folder / "gpus.toml").write_text("[gpus.x\n")
    with pytest.raises(CatalogError, match=r"gpus\.toml: .*line 1"):
        gpus()


def test_an_unknown_key_of_a_row_is_named(folder: Path) -> None:
    (folder / "gpus.toml").write_text('[gpus.x]\nname = "X"\nmemory = 3\n')
    with pytest.raises(CatalogError, match=r"gpus\.toml: row 'x' has unknown keys \['memory'\]; known: .*'memory_gib'"):
        gpus()


def test_a_missing_key_of_a_row_is_named(folder: Path) -> None:
    (folder / "models.toml").write_text('[models."a/b"]\nlayers = 3\n')
    with pytest.raises(CatalogError, match=r"models\.toml: row 'a/b': .*missing .*'parameters'"):
        models()


def test_an_instance_with_an_unknown_gpu_is_named(folder: Path) -> None:
    (folder / "gpus.toml").write_text("[gpus]\n")
    (folder / "instances.toml").write_text(
        '[aws]\nregion = "r"\nsource = "s"\nas_of = 2026-01-01\n[aws.instances]\n'
        'i = { gpu = "x", gpus = 1, vcpu = 4, memory_gib = 16 }\n'
    )
    with pytest.raises(CatalogError, match=r"instances\.toml: row 'i' names the unknown GPU 'x'"):
        instances()


def test_the_planner_imports_neither_pulumi_nor_stacks() -> None:
    code = (
        "import sys, planner.alternatives\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'pulumi', 'stacks', 'socket', 'pydantic'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
