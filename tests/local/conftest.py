"""One embedded cluster and one environment for all tests of this folder.

The cluster is the tests' own, with its own folder, ports and stack: a dev environment that
runs on the same machine is not touched. Delays are short so that the suite is quick; what
they are in a real environment is a matter of configuration, not of code.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightkube import Client, KubeConfig
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import Pod

from local import cluster
from local.layout import ClusterFiles
from local.pulumi_cli import Pulumi

NAME = "test"
NAMESPACE = f"inference-{NAME}"
STARTUP_SECONDS = 1.5
COOLDOWN_SECONDS = 5

CONFIG: dict[str, Any] = {
    "cloud": "local",
    "node_pools": [
        {"name": "l4", "instance_type": "g6.12xlarge", "capacity_type": "on-demand", "min_nodes": 3, "max_nodes": 3}
    ],
    "model_deployments": [
        {
            "name": name,
            "source": {"hugging_face": source},
            "engine": {"name": "vllm", "max_model_len": 8192},
            "node_pool": "l4",
            "scaling": {
                "min_replicas": 0,
                "max_replicas": 5,
                "queue_depth": 2,
                "polling_interval_seconds": 1,
                "startup_budget_seconds": 5,
                "cooldown_seconds": COOLDOWN_SECONDS,
                "scale_down_stabilization_seconds": 5,
                "drain_seconds": 10,
            },
            "simulation": {"startup_seconds": STARTUP_SECONDS, "speedup": 20.0},
        }
        for name, source in (
            ("chat", "meta-llama/Llama-3.1-8B-Instruct"),
            ("code", "Qwen/Qwen2.5-Coder-7B-Instruct"),
        )
    ],
    "gateway": {"host_port": 18099},
}


def until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait for a condition; fail with ``what`` when the deadline passes."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"after {seconds:.0f} s still not so: {what}")
        time.sleep(0.05)


def engine_labels(model: str) -> dict[str, Any]:
    """Select the engine of one model."""
    return {"inference.platform/component": "engine", "inference.platform/model": model}


@dataclass(frozen=True)
class Environment:
    """A deployed environment.

    Attributes:
        files: the cluster's folders.
        pulumi: the engine for its stack.
        url: of the gateway.
        client: administrator of the API.
        namespace: of the workloads.
    """

    files: ClusterFiles
    pulumi: Pulumi
    url: str
    client: Client
    namespace: str = NAMESPACE

    def replicas(self, model: str) -> tuple[int, int]:
        """Wanted and ready replicas of a model's engine."""
        (engine,) = self.client.list(Deployment, namespace=self.namespace, labels=engine_labels(model))
        assert engine.spec is not None
        return engine.spec.replicas or 0, (engine.status.readyReplicas if engine.status else 0) or 0

    def engine_pods(self, model: str) -> list[Pod]:
        """Pods of a model's engine, those that are ending included."""
        return list(self.client.list(Pod, namespace=self.namespace, labels=engine_labels(model)))

    def await_zero(self, *models: str, seconds: float = 60) -> None:
        """Wait until these models have no pod left."""
        until(
            lambda: all(self.replicas(m)[0] == 0 and not self.engine_pods(m) for m in models or ("chat", "code")),
            seconds,
            f"{models or 'all models'} at zero",
        )


@pytest.fixture(scope="session")
def files() -> Iterator[ClusterFiles]:
    """Folder of the tests' cluster; short, since sockets in it have long names."""
    root = Path(tempfile.mkdtemp(prefix="ip-"))
    made = ClusterFiles(root / NAME)
    yield made
    cluster.stop(made)
    shutil.rmtree(root)


@pytest.fixture(scope="session")
def running_cluster(files: ClusterFiles) -> ClusterFiles:
    """A cluster that is ready."""
    cluster.up(files, gateway_port=0)
    return files


def write_config(files: ClusterFiles, config: Mapping[str, Any]) -> Path:
    """Write the configuration of a cluster's stack."""
    path = files.root / f"Pulumi.{files.root.name}.yaml"
    path.write_text(yaml.safe_dump({"config": {"inference-platform:environment": dict(config)}}, sort_keys=False))
    return path


def deploy(files: ClusterFiles, config: Mapping[str, Any]) -> Environment:
    """Deploy an environment to a running cluster, by the real engine with the real program."""
    name = files.root.name
    pulumi = Pulumi(name, files.root / "pulumi", files.kubeconfig, config_file=write_config(files, config))
    pulumi.prepare()
    pulumi.run("up", "--yes", "--skip-preview", "--stack", name)
    client = Client(config=KubeConfig.from_file(str(files.kubeconfig)))
    url = f"http://127.0.0.1:{cluster.ports(files).gateway}"
    return Environment(files, pulumi, url, client, f"inference-{name}")


@pytest.fixture(scope="session")
def environment(running_cluster: ClusterFiles) -> Iterator[Environment]:
    """The environment of most tests."""
    deployed = deploy(running_cluster, CONFIG)
    yield deployed
    deployed.pulumi.run("destroy", "--yes", "--skip-preview", "--stack", NAME)
