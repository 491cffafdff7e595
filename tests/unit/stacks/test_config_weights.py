"""Weights: offline, pinned revisions, chosen files, room on nodes' disks. Each mistake names its field.

Does not prove that what passes is found by an engine: tests/contract asks Hugging Face's own client.
"""

from __future__ import annotations

from typing import Any

import pytest

from stacks.config import load_environment
from stacks.config.warnings import warnings
from tests.unit.stacks.config_samples import errors, sample

pytestmark = pytest.mark.unit

COMMIT = "0e9e39f249a16976918f6564b8830bc894c89659"
SOURCE, ENGINE = "model_deployments__0__source__", "model_deployments__0__engine__"


def aws(**changes: Any) -> dict[str, Any]:
    raw: dict[str, Any] = sample(cloud="aws", **changes)
    raw.pop("gateway", None)
    raw["model_deployments"][0].pop("simulation", None)
    return raw


@pytest.mark.parametrize(
    ("weights", "offline"),
    [
        ({}, False),
        ({"store": "shared-files"}, False),
        ({"store": "shared-files", "preload": True}, True),
        ({"store": "shared-files", "preload": True, "offline": False}, False),
    ],
)
def test_engines_are_offline_when_their_weights_are_there(weights: dict[str, Any], offline: bool) -> None:
    assert load_environment(aws(weights=weights), "dev").weights.offline is offline


def test_offline_without_a_store_is_an_error() -> None:
    assert errors(aws(weights={"offline": True})) == [
        "weights.offline: with node-disk each pod downloads its own weights, and offline it must not (got True); "
        "choose from shared-files, object-store. Choose one of these as weights.store, with weights.preload: true."
    ]


def test_offline_with_a_store_that_nobody_fills_is_an_error() -> None:
    assert errors(aws(weights={"store": "shared-files", "offline": True})) == [
        "weights.offline: the store is empty when it is made, and nobody fills it (got True). "
        "Set weights.preload: true, or name a volume with the models on it (existing.weights_volume)."
    ]


def test_a_volume_of_the_clusters_owner_may_be_full() -> None:
    raw = aws(weights={"store": "shared-files", "offline": True})
    raw |= {"cloud": "existing", "existing": {"context": "lab", "weights_volume": "models"}}
    assert errors(raw) == []
    raw["existing"] = {"context": "lab", "storage_class": "nfs"}
    assert errors(raw)[0].startswith("weights.offline: the store is empty when it is made")


@pytest.mark.parametrize("revision", ["main", "v1.0", "refs/pr/7", COMMIT])
def test_a_revision_is_a_commit_a_tag_or_a_branch(revision: str) -> None:
    assert errors(sample(**{f"{SOURCE}revision": revision})) == []


@pytest.mark.parametrize("revision", ["", "-x", "../..", "a b", "/v1", "v1/", 7])
def test_anything_else_is_not(revision: object) -> None:
    (line,) = errors(sample(**{f"{SOURCE}revision": revision}))
    assert line.startswith("model_deployments[0].source.revision: ")


def test_tritons_frontend_has_no_revision() -> None:
    raw = aws(
        serving_stack="manifests", **{f"{SOURCE}revision": "v1", "model_deployments__0__engine": {"name": "triton"}}
    )
    assert errors(raw) == [
        "model_deployments[0].source.revision: Triton's frontend reads the tokenizer at the default branch, whatever "
        "revision the model has (got 'v1'). Remove it, or set engine.name: vllm."
    ]


def unpinned(raw: dict[str, Any]) -> list[str]:
    """Warnings about revisions."""
    found = warnings(load_environment(raw, "dev"))
    return [item.line() for item in found if item.path.endswith(".source.revision")]


PRELOADED = {"store": "shared-files", "preload": True}


def test_a_download_without_a_revision_is_a_warning() -> None:
    assert unpinned(aws(weights=PRELOADED)) == [
        "model_deployments[0].source.revision: weights.preload takes meta-llama/Llama-3.1-8B-Instruct at the default "
        "branch as it is on that day: the next store may get other files than those that were tested. Set it to a "
        "commit (40 hexadecimal digits, on the model's page under Files and versions)."
    ]


def test_a_pinned_model_and_one_that_is_not_preloaded_are_none() -> None:
    assert unpinned(aws(weights=PRELOADED, **{f"{SOURCE}revision": COMMIT})) == []
    assert unpinned(aws(weights={"store": "shared-files"})) == []


def test_triton_which_takes_no_revision_is_not_warned_of() -> None:
    assert unpinned(aws(serving_stack="manifests", weights=PRELOADED, **{f"{ENGINE}name": "triton"})) == []


def test_the_platform_writes_the_revisions_flag_itself() -> None:
    (line,) = errors(sample(model_deployments__0__engine={"extra_args": {"revision": "v1"}}))
    assert line.endswith("the platform writes --revision itself (got 'v1'). Remove it: set source.revision.")


def test_files_are_chosen_for_a_download_only() -> None:
    patterns = {"allow_patterns": ["*.json", "*Q4_K_M.gguf"]}
    raw = aws(**{f"{SOURCE}allow_patterns": patterns["allow_patterns"]})
    assert errors(raw) == [
        "model_deployments[0].source.allow_patterns: says what weights.preload fetches, and it is false: engines "
        "choose files themselves. Set weights.preload: true, or remove it."
    ]
    assert errors({**raw, "weights": {"store": "shared-files", "preload": True}}) == []


@pytest.mark.parametrize("pattern", ["/etc/*", "a//b", "", "x y"])
def test_a_pattern_stays_in_the_repository(pattern: str) -> None:
    raw = aws(weights={"store": "shared-files", "preload": True}, **{f"{SOURCE}allow_patterns": [pattern]})
    assert errors(raw)[0].startswith("model_deployments[0].source.allow_patterns[0]: ")


def big(**changes: Any) -> dict[str, Any]:
    """A model of 131 GiB on a machine with eight GPUs."""
    raw = aws(**changes)
    raw["node_pools"][0] |= {"instance_type": "p5.48xlarge", "disk_gib": 100, "capacity_type": "on-demand"}
    raw["model_deployments"][0] |= {
        "source": {"hugging_face": "meta-llama/Llama-3.3-70B-Instruct"},
        "engine": {"tensor_parallel": 8},
    }
    return raw


def test_a_disk_that_the_weights_would_fill() -> None:
    assert errors(big()) == [
        "node_pools[0].disk_gib: meta-llama/Llama-3.3-70B-Instruct has 131 GiB of weights, which with node-disk lie on "
        "the node's disk beside 10 GiB of the engine's image: its pods would be evicted while they load (got 100). "
        "Set it to 151 or more, or keep weights in a store (weights.store)."
    ]


def test_it_matters_only_where_weights_lie_on_a_disk_that_is_made() -> None:
    assert errors(big(weights={"store": "shared-files"})) == []
    enough, nvme = big(), big()
    enough["node_pools"][0]["disk_gib"] = 151
    nvme["node_pools"][0]["local_nvme"] = True
    assert (errors(enough), errors(nvme)) == ([], [])
    found = {**big(), "cloud": "existing", "existing": {"context": "lab"}}
    assert errors(found) == []


STORES = {
    "aws": ({"shared_files": "fsx-lustre", "lustre_gib": 1200}, "aws.lustre_gib", 1200),
    "azure": ({}, "azure.weights_gib", 512),
    "gcp": ({"project": "acme-inference"}, "gcp.filestore_capacity_gib", 1024),
}


def full(cloud: str, models: int) -> dict[str, Any]:
    """So many revisions of a model of 131 GiB in a store of a fixed size, each on eight GPUs."""
    section, _, _ = STORES[cloud]
    raw = sample(cloud=cloud, serving_stack="manifests", weights={"store": "shared-files", "preload": True})
    raw[cloud] = section
    raw["node_pools"] = [{"name": "h100", "accelerator": "h100", "gpus_per_node": 8, "max_nodes": 12}]
    name = "meta-llama/Llama-3.3-70B-Instruct"
    raw["model_deployments"] = [
        {
            "name": f"v{index}",
            "source": {"hugging_face": name, "revision": f"v{index}"},
            "engine": {"tensor_parallel": 8},
            "node_pool": "h100",
        }
        for index in range(models)
    ]
    return raw


@pytest.mark.parametrize("cloud", STORES)
def test_a_store_of_a_fixed_size_holds_all_models(cloud: str) -> None:
    _, field, capacity = STORES[cloud]
    fitting = int(capacity // 131.5)
    assert errors(full(cloud, fitting)) == []
    (line,) = errors(full(cloud, fitting + 1))
    assert line.startswith(f"{field}: the models that it is to hold have ")
    assert f" (got {capacity}). Set it to " in line


def test_one_model_in_two_deployments_is_stored_once() -> None:
    raw = full("azure", 4)
    for item in raw["model_deployments"]:
        item["source"]["revision"] = "main"
    assert errors(raw) == []
