"""A model that a configuration brings itself, and what the plan takes from the configuration: budget, weights, region.

Not proven here: that an engine loads the model; the sizes follow from the same rules as the catalogue's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from planner import catalog
from planner.catalog import models
from stacks.config import checks
from stacks.config.load import load_stack_file
from stacks.config.vocabulary import Cloud
from stacks.errors import ConfigError
from stacks.plan import plan_config

pytestmark = pytest.mark.unit

OWN = {
    "model_type": "qwen3",
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "num_attention_heads": 16,
    "num_hidden_layers": 28,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 151936,
    "max_position_embeddings": 40960,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
}
"""The architecture of Qwen3-1.7B under another name."""


@pytest.fixture(autouse=True)
def on_any_cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """All clouds count as built, whichever are; and no test learns another's models."""
    monkeypatch.setattr(checks, "BUILT_CLOUDS", frozenset(Cloud))
    yield
    catalog._own_models.clear()
    models.cache_clear()


def write(folder: Path, cloud: str = "aws", **changes: Any) -> None:
    environment = {
        "cloud": cloud,
        "node_pools": [{"name": "l4", "instance_type": "g6.xlarge", "max_nodes": 2}],
        "model_deployments": [
            {
                "name": "own",
                "source": {"hugging_face": "me/own-model", "config_file": "own"},
                "node_pool": "l4",
                "scaling": {"startup_budget_seconds": 1200},
            }
        ],
        **changes,
    }
    text = yaml.safe_dump({"config": {"inference-platform:environment": environment}})
    (folder / "Pulumi.own.yaml").write_text(text)
    (folder / "own").mkdir(exist_ok=True)
    (folder / "own" / "config.json").write_text(json.dumps(OWN))


def errors(folder: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_stack_file("own", folder)
    return [error.line() for error in caught.value.errors]


def test_the_plan_knows_a_model_that_the_environment_brings(tmp_path: Path) -> None:
    write(tmp_path)
    plan = plan_config(load_stack_file("own", tmp_path), "own")
    like = models()["Qwen/Qwen3-1.7B"]
    (model,) = plan.models
    assert (model.model, model.weights_gib) == ("me/own-model", round(like.parameters * 2 / 2**30, 2))
    assert model.kv_cache_tokens is not None
    assert model.kv_cache_tokens > 100_000


def test_it_is_checked_like_any_other(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "own" / "config.json").write_text(json.dumps({**OWN, "num_hidden_layers": 2800}))
    disk, memory = errors(tmp_path)
    assert disk.startswith("node_pools[0].disk_gib: me/own-model has 263 GiB of weights")
    assert "does not fit 1 x NVIDIA L4" in memory


def test_a_broken_file_is_named_and_the_simulated_engine_cannot_have_one(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "own" / "config.json").unlink()
    (line,) = errors(tmp_path)
    assert line.startswith("model_deployments[0].source.config_file: cannot be read: ")
    assert "No such file" in line
    write(tmp_path, cloud="local")
    assert "not in the catalogue, and the simulated engine takes its sizes from there" in errors(tmp_path)[0]


def test_the_plan_takes_budget_weights_and_region_from_the_configuration(tmp_path: Path) -> None:
    write(tmp_path, budget_per_hour=1.0, region="eu-west-1", weights={"store": "object-store", "preload": True})
    config = load_stack_file("own", tmp_path)
    plan = plan_config(config, "own")
    assert (plan.budget_per_hour, plan.within_budget) == (1.0, False)
    assert plan_config(config, "own", budget_per_hour=100).within_budget
    assert plan.notes == (
        "list prices are those of us-east-1, the environment runs in eu-west-1: give your own (--prices)",
    )
    stored = plan.models[0].cold_start
    write(tmp_path)
    downloaded = plan_config(load_stack_file("own", tmp_path), "own")
    assert downloaded.notes == ()
    assert stored is not None
    assert downloaded.models[0].cold_start is not None
    # 3.2 GiB at 3.51 and at 0.12 GiB per second.
    assert stored["weights_s"] == pytest.approx(0.9, abs=0.05)
    assert downloaded.models[0].cold_start["weights_s"] == pytest.approx(26.7, abs=0.1)
