"""A model's row from its config.json: published architectures, files beside it, and what is refused.

The configs below state the architecture of public checkpoints; the counts that they must come to are those of the
catalogue, which are held to the published ones. Not proven here: that an engine loads such a checkpoint.
"""

from __future__ import annotations

import contextlib
import json
import struct
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.__main__ import main
from planner.catalog import Model, gpus, models
from planner.checkpoint import CheckpointError, read_model
from planner.memory import GIB, kv_bytes_per_token, weights_gib
from planner.sizing import DoesNotFitError, SizingError, derive_engine_limits

pytestmark = pytest.mark.unit

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}
DEEPSEEK: dict[str, Any] = {
    "model_type": "deepseek_v3",
    "hidden_size": 7168,
    "intermediate_size": 18432,
    "moe_intermediate_size": 2048,
    "num_attention_heads": 128,
    "num_hidden_layers": 61,
    "num_key_value_heads": 128,
    "vocab_size": 129280,
    "max_position_embeddings": 163840,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "num_experts_per_tok": 8,
    "first_k_dense_replace": 3,
    "q_lora_rank": 1536,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "torch_dtype": "bfloat16",
    "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]},
}
GLM = {
    **DEEPSEEK,
    "model_type": "glm_moe_dsa",
    "hidden_size": 6144,
    "intermediate_size": 12288,
    "num_attention_heads": 64,
    "num_hidden_layers": 78,
    "num_key_value_heads": 64,
    "vocab_size": 154880,
    "max_position_embeddings": 202752,
    "q_lora_rank": 2048,
    "qk_nope_head_dim": 192,
    "v_head_dim": 256,
    "index_head_dim": 128,
    "index_n_heads": 32,
    "index_topk": 2048,
}
HYBRID: dict[str, Any] = {
    "model_type": "qwen3_5_moe",
    "vision_config": {"depth": 27},
    "tie_word_embeddings": False,
    "text_config": {
        "model_type": "qwen3_5_moe_text",
        "attn_output_gate": True,
        "dtype": "bfloat16",
        "head_dim": 256,
        "hidden_size": 4096,
        "layer_types": ["linear_attention", "linear_attention", "linear_attention", "full_attention"] * 15,
        "linear_conv_kernel_dim": 4,
        "linear_key_head_dim": 128,
        "linear_num_key_heads": 16,
        "linear_num_value_heads": 64,
        "linear_value_head_dim": 128,
        "max_position_embeddings": 262144,
        "moe_intermediate_size": 1024,
        "num_attention_heads": 32,
        "num_experts": 512,
        "num_experts_per_tok": 10,
        "num_hidden_layers": 60,
        "num_key_value_heads": 2,
        "shared_expert_intermediate_size": 1024,
        "vocab_size": 248320,
    },
}
OSS: dict[str, Any] = {
    "model_type": "gpt_oss",
    "attention_bias": True,
    "head_dim": 64,
    "hidden_size": 2880,
    "intermediate_size": 2880,
    "layer_types": ["sliding_attention", "full_attention"] * 18,
    "max_position_embeddings": 131072,
    "num_attention_heads": 64,
    "num_experts_per_tok": 4,
    "num_hidden_layers": 36,
    "num_key_value_heads": 8,
    "num_local_experts": 128,
    "sliding_window": 128,
    "tie_word_embeddings": False,
    "vocab_size": 201088,
    "quantization_config": {
        "quant_method": "mxfp4",
        "modules_to_not_convert": ["model.layers.*.self_attn", "model.layers.*.mlp.router", "lm_head"],
    },
}


def write(folder: Path, config: object, name: str = "config.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(config), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("config", "key"),
    [
        (LLAMA, "meta-llama/Llama-3.1-8B-Instruct"),
        (DEEPSEEK, "deepseek-ai/DeepSeek-R1"),
        (GLM, "zai-org/GLM-5-FP8"),
        (HYBRID, "Qwen/Qwen3.5-397B-A17B"),
        (OSS, "openai/gpt-oss-120b"),
    ],
)
def test_a_config_gives_the_catalogue_row(tmp_path: Path, config: dict[str, Any], key: str) -> None:
    found, row = read_model(write(tmp_path, config), key), models()[key]
    assert found.parameters == pytest.approx(row.parameters, rel=4e-4)
    if row.active_parameters is not None:
        assert found.active_parameters == pytest.approx(row.active_parameters, rel=2e-3)
    same = [name for name in vars(row) if name not in {"source", "as_of", "parameters", "active_parameters", "qk_norm"}]
    differing = {name for name in same if getattr(found, name) != getattr(row, name)}
    # The catalogue says "every other layer" of a window; the config lists the same 18.
    assert differing <= {"sliding_layers"}
    assert found.layers_with_window == row.layers_with_window
    assert weights_gib(found) == pytest.approx(weights_gib(row), rel=0.01)
    assert kv_bytes_per_token(found, 8) == kv_bytes_per_token(row, 8)


def tensors(folder: Path, name: str, **shapes: tuple[str, tuple[int, ...], int]) -> None:
    """A safetensors file with a header and no data: the reader looks at the header alone."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    place = 0
    for tensor, (dtype, shape, size) in shapes.items():
        header[tensor] = {"dtype": dtype, "shape": list(shape), "data_offsets": [place, place + size]}
        place += size
    text = json.dumps(header).encode()
    (folder / name).write_bytes(struct.pack("<Q", len(text)) + text)


def test_headers_give_the_number_and_the_bytes_of_the_weights(tmp_path: Path) -> None:
    write(tmp_path, LLAMA)
    tensors(tmp_path, "model-00001-of-00002.safetensors", a=("BF16", (1000, 1000), 2_000_000))
    tensors(tmp_path, "model-00002-of-00002.safetensors", b=("F32", (10, 10), 400))
    tensors(tmp_path, "adapter.safetensors", c=("BF16", (9, 9), 162))
    index = {
        "metadata": {"total_size": 1},
        "weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"},
    }
    write(tmp_path, index, "model.safetensors.index.json")
    found = read_model(tmp_path)
    assert (found.parameters, found.stored_bytes) == (1_000_100, 2_000_400)
    assert weights_gib(found) == 2_000_400 / GIB
    # Told to quantize, the engine stores something else than the checkpoint has.
    assert weights_gib(found, "fp8") != weights_gib(found)


def test_packed_weights_count_and_their_scales_do_not(tmp_path: Path) -> None:
    write(tmp_path, {**LLAMA, "quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 128}})
    tensors(
        tmp_path,
        "model.safetensors",
        **{
            "layer.qweight": ("I32", (4096, 512), 4096 * 512 * 4),
            "layer.scales": ("F16", (32, 4096), 32 * 4096 * 2),
            "embed": ("BF16", (10, 10), 200),
        },
    )
    found = read_model(tmp_path)
    assert found.quantization == "int4"
    assert found.parameters == 4096 * 512 * 8 + 100
    assert found.stored_bytes == 4096 * 512 * 4 + 32 * 4096 * 2 + 200


def test_an_index_alone_gives_the_bytes(tmp_path: Path) -> None:
    write(tmp_path, LLAMA)
    write(
        tmp_path, {"metadata": {"total_size": 16_060_522_496}, "weight_map": {"a": "x"}}, "model.safetensors.index.json"
    )
    found = read_model(tmp_path)
    assert found.parameters == models()["meta-llama/Llama-3.1-8B-Instruct"].parameters
    assert weights_gib(found) == pytest.approx(14.9575, abs=1e-3)


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, "int4"),
        ({"quant_method": "gptq", "bits": 8}, "int8"),
        ({"quant_method": "fbgemm_fp8"}, "fp8"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "int4"),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"group_0": {"weights": {"num_bits": 4, "type": "int", "group_size": 32}}},
            },
            "int4-g32",
        ),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {
                    "group_0": {"weights": {"num_bits": 4, "type": "float", "group_size": 16}},
                    "group_1": {"weights": {"num_bits": 8, "type": "float"}},
                },
            },
            "fp8",
        ),
    ],
)
def test_quantizations(tmp_path: Path, given: dict[str, Any], kind: str) -> None:
    assert read_model(write(tmp_path, {**LLAMA, "quantization_config": given})).quantization == kind


def test_nvidias_quantization_is_beside_the_config(tmp_path: Path) -> None:
    plain = {key: value for key, value in DEEPSEEK.items() if key != "quantization_config"}
    write(tmp_path, plain)
    write(tmp_path, {"quantization": {"quant_algo": "NVFP4", "exclude_modules": ["lm_head"]}}, "hf_quant_config.json")
    assert read_model(tmp_path).quantization == "nvfp4"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({**LLAMA, "hidden_size": None}, "has no 'hidden_size'; is it the config.json of a language model?"),
        ({**LLAMA, "num_hidden_layers": "many"}, "num_hidden_layers is 'many'; it must be a whole number of 0 or more"),
        ({**LLAMA, "num_attention_heads": 0}, "num_attention_heads is 0; it must be 1 or more"),
        ({**LLAMA, "model_type": "nemotron_h"}, "model_type 'nemotron_h' has no sizing rule here; known: deepseek_v3"),
        ({**LLAMA, "torch_dtype": "float8"}, "dtype 'float8' is not known; known: bfloat16"),
        ({**LLAMA, "quantization_config": {"quant_method": "magic"}}, "quantization_config 'magic' is not known"),
        ([], "is not a JSON object"),
    ],
)
def test_what_makes_no_sense_is_named(tmp_path: Path, config: object, message: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        read_model(write(tmp_path, config))
    assert message in str(caught.value)
    assert "config.json" in str(caught.value)


def test_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json: No such file"):
        read_model(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config\.json: is not JSON"):
        read_model(tmp_path)
    write(tmp_path, LLAMA)
    for content in (b"", b"\0" * 4, struct.pack("<Q", 2**40), struct.pack("<Q", 5) + b"nojso"):
        (tmp_path / "model.safetensors").write_bytes(content)
        with pytest.raises(CheckpointError, match=r"model\.safetensors: "):
            read_model(tmp_path)


def test_the_command_line_takes_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, LLAMA)
    assert main(["size", str(tmp_path), "--gpu", "l4", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["model"], shown["kv_cache_tokens"]) == (tmp_path.name, 23_840)
    assert main(["rank", str(tmp_path / "config.json"), "--top", "1"]) == 0
    capsys.readouterr()
    assert main(["size", str(tmp_path / "nothing"), "--gpu", "l4"]) == 2
    assert "is neither in the catalogue nor a folder or config.json here" in capsys.readouterr().err


VALUES = st.one_of(
    *(st.none(), st.booleans(), st.integers(-5, 300_000), st.floats()),
    *(st.text(max_size=5), st.lists(st.integers(), max_size=2)),
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([LLAMA, DEEPSEEK, GLM, HYBRID["text_config"], OSS]), st.data())
def test_any_config_is_a_row_or_one_clear_message(config: dict[str, Any], data: st.DataObject) -> None:
    changed = {**config, data.draw(st.sampled_from(sorted(config))): data.draw(VALUES)}
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), changed)
        try:
            found = read_model(path)
        except CheckpointError as error:
            assert "\n" not in str(error)
            return
    assert isinstance(found, Model)
    assert found.parameters > 0
    derive_or_refuse(found)


def derive_or_refuse(model: Model) -> None:
    with contextlib.suppress(DoesNotFitError, SizingError):
        assert derive_engine_limits(model, gpus()["b300"], 8).kv_cache_tokens > 0
