"""The steps of a user's CI on a real cluster: preview, deploy, and see what somebody has changed by hand.

Runs in a fresh clone on an embedded cluster of its own. Hosted runners and clouds are not shown.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from lightkube import Client, KubeConfig
from lightkube.models.core_v1 import Taint
from lightkube.resources.core_v1 import ConfigMap
from lightkube.resources.policy_v1 import PodDisruptionBudget
from lightkube.types import PatchType

from local import cluster
from local.layout import REPOSITORY, ClusterFiles
from tests.clone import Clone
from tests.local.platform_team import node

pytestmark = [
    pytest.mark.local,
    pytest.mark.skipif(
        not (REPOSITORY / "build" / "policy-venv").exists(), reason="the pack's environment: make policy-venv"
    ),
]

NAMESPACE = "inference-dev"


def environment(kubeconfig: Path) -> dict[str, object]:
    return {
        "cloud": "existing",
        "serving_stack": "manifests",
        "existing": {
            "kubeconfig": str(kubeconfig),
            "provides": ["device-plugin", "dcgm-exporter", "prometheus", "grafana", "keda", "keda-http-add-on"],
        },
        "node_pools": [{"name": "l4", "instance_type": "g6.12xlarge", "max_nodes": 1}],
        "model_deployments": [
            {
                "name": "batch",
                "source": {"hugging_face": "meta-llama/Llama-3.1-8B-Instruct"},
                "node_pool": "l4",
                "scaling": {"startup_budget_seconds": 5, "cooldown_seconds": 60},
            }
        ],
    }


@pytest.fixture
def files() -> Iterator[ClusterFiles]:
    """A cluster with a node for engines and one for all else."""
    root = Path(tempfile.mkdtemp(prefix="ip-"))
    files = ClusterFiles(root / "ci")
    try:
        cluster.up(files, gateway_port=0)
        client = Client(config=KubeConfig.from_file(str(files.kubeconfig)))
        gpus = {"cpu": "48", "memory": "192Gi", "nvidia.com/gpu": "4", "pods": "110"}
        taints = [Taint(key="nvidia.com/gpu", value="present", effect="NoSchedule")]
        client.create(node("gpu", "l4", gpus, taints))
        client.create(node("cpu", "system", {"cpu": "16", "memory": "64Gi", "pods": "110"}, []))
        yield files
    finally:
        cluster.stop(files)
        shutil.rmtree(root)


def test_what_is_merged_is_deployed_and_what_is_changed_by_hand_is_found(files: ClusterFiles, tmp_path: Path) -> None:
    clone = Clone.make(tmp_path, files.kubeconfig)
    clone.describe(environment(files.kubeconfig))

    proposed = clone.run("ci/pull_request.sh", "dev", "prod", "HEAD")
    assert proposed.returncode == 0, proposed.stdout + proposed.stderr
    assert "can be deployed" in clone.result("comment.md")
    client = Client(config=KubeConfig.from_file(str(files.kubeconfig)))
    assert list(client.list(ConfigMap, namespace=NAMESPACE)) == [], "a pull request changes nothing"

    deployed = clone.run("ci/deploy.sh", "dev", "prod")
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    assert client.get(ConfigMap, "gateway", namespace=NAMESPACE)

    same = clone.run("ci/drift.sh", "dev")
    assert same.returncode == 0, same.stdout + same.stderr

    # Somebody takes the engines' protection away.
    changed = {"spec": {"maxUnavailable": 5}}
    client.patch(PodDisruptionBudget, "batch-engine", changed, namespace=NAMESPACE, patch_type=PatchType.MERGE)
    drifted = clone.run("ci/drift.sh", "dev")
    assert drifted.returncode == 1, drifted.stdout + drifted.stderr
    assert "batch-engine" in clone.result("drift.txt")
    assert "maxUnavailable" in clone.result("drift.txt")
