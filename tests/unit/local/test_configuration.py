"""What the cluster's configuration files say.

The stages are KWOK's own where the tools are built, else those tests are skipped with a word.
Does not prove that the programs accept the files; the embedded cluster's tests do.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from local import configuration
from local.layout import ClusterFiles, share

pytestmark = pytest.mark.unit

needs_tools = pytest.mark.skipif(not share("kwok").exists(), reason="the toolchain is not built: `make tools`")


@needs_tools
def test_kwok_leaves_pods_whose_image_a_process_stands_for() -> None:
    pods = [stage for stage in configuration.kwok_stages() if stage["spec"]["resourceRef"]["kind"] == "Pod"]
    assert [stage["metadata"]["name"] for stage in pods] == ["pod-ready", "pod-complete", "pod-delete"]
    for stage in pods:
        last = stage["spec"]["selector"]["matchExpressions"][-1]
        assert (last["operator"], last["values"]) == ("NotIn", ["true"])
        assert 'IN("haproxy", "lmsysorg/sglang", "vllm/vllm-openai", "vllm/vllm-router")' in last["key"]


@needs_tools
def test_nodes_take_their_capacity_from_the_pools_annotation() -> None:
    template = configuration.kwok_stages()[0]["spec"]["next"]["statusTemplate"]
    assert "1Ti" not in template
    assert template.count("inference.platform/capacity") == 2


def test_prometheus_drops_the_series_that_grow_with_every_retry(tmp_path: Path) -> None:
    job = configuration.prometheus_configuration(ClusterFiles(tmp_path))["scrape_configs"][0]
    assert job["metric_relabel_configs"] == [
        {
            "source_labels": ["__name__"],
            "regex": "vllm_router_retry_backoff_duration_seconds.*",
            "action": "drop",
        }
    ]
