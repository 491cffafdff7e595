"""The environment that is recorded, and its load: five models on whole, time-sliced and partitioned simulated GPUs.

It has an embedded cluster of its own, in a temporary folder: no environment that runs on this machine is touched.
Nodes and GPUs are simulated; KEDA, the scheduler, the router, the interceptor and Prometheus are real.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from lightkube import Client, KubeConfig
from lightkube.resources.core_v1 import Pod

from components.labels import COMPONENT, EnvironmentLabels
from components.observability.objects import EnvironmentFacts
from load.replay import Outcome, Prompts, Replay, new_session
from load.trace import TimedRequest
from local import cluster
from local.layout import ClusterFiles
from local.pulumi_cli import Pulumi
from local.recording.prometheus import Prometheus
from stacks.config import load_environment
from stacks.monitoring import environment_facts
from stacks.plan import plan_config

NAME: Final = "recorded"
NAMESPACE: Final = f"inference-{NAME}"
GATEWAY_PORT: Final = 18097
RULES_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.2


class RecordingError(Exception):
    """The run is not what should be kept; the message says why."""


def _model(name: str, source: str, pool: str, **engine: Any) -> dict[str, Any]:  # noqa: ANN401 - configuration
    return {
        "name": name,
        "source": {"hugging_face": source},
        "engine": {"max_model_len": 4096, **engine},
        "node_pool": pool,
        "scaling": {
            "min_replicas": 0,
            "max_replicas": 3 if pool == "whole" else 1,
            "queue_depth": 2,
            "concurrency": 12,
            "polling_interval_seconds": 2,
            "startup_budget_seconds": 20,
            "cooldown_seconds": 70,
            "scale_down_stabilization_seconds": 30,
            "drain_seconds": 60,
        },
        "simulation": {"startup_seconds": 6.0},
    }


def _pool(name: str, instance: str, **sharing: Any) -> dict[str, Any]:  # noqa: ANN401 - configuration
    split = {"sharing": sharing} if sharing else {}
    return {"name": name, "instance_type": instance, "min_nodes": 1, "max_nodes": 1, **split}


CONFIG: Final[dict[str, Any]] = {
    "cloud": "local",
    "node_pools": [
        _pool("whole", "g6.12xlarge"),
        # One GPU for two models.
        _pool("sliced", "g6.xlarge", mode="time-slicing", replicas=2),
        _pool("mig", "p4d.24xlarge", mode="mig", profile="1g.5gb"),
    ],
    "model_deployments": [
        _model("chat", "meta-llama/Llama-3.1-8B-Instruct", "whole"),
        _model("code", "Qwen/Qwen2.5-Coder-7B-Instruct", "whole"),
        _model("rewrite", "Qwen/Qwen3-1.7B", "sliced", gpu_memory_utilization=0.4),
        _model("classify", "Qwen/Qwen3-0.6B", "sliced", gpu_memory_utilization=0.4),
        _model("label", "Qwen/Qwen3-0.6B", "mig"),
    ],
    "gateway": {"host_port": GATEWAY_PORT},
}


@dataclass(frozen=True)
class Phase:
    """Steady load on one model: requests at random times, so many per second, in seconds of the run."""

    model: str
    begins: float
    ends: float
    per_second: float
    prompt_tokens: int
    output_tokens: int


PHASES: Final = (
    Phase("chat", 0, 60, 0.8, 200, 70),
    # More than one replica batches: the autoscaler adds two.
    Phase("chat", 60, 150, 3.5, 250, 80),
    Phase("chat", 150, 240, 0.8, 200, 70),
    Phase("code", 30, 240, 0.6, 400, 120),
    Phase("rewrite", 10, 240, 1.5, 300, 90),
    Phase("classify", 20, 240, 3.0, 250, 12),
    Phase("label", 15, 240, 2.0, 150, 20),
)


def schedule(phases: tuple[Phase, ...] = PHASES, scale: float = 1.0, seed: int = 7) -> list[TimedRequest]:
    """The requests of a run, in order.

    Args:
        phases: of the load.
        scale: factor on all times of the phases; the rates stay.
        seed: of the times between requests and of their lengths.
    """
    draw = random.Random(seed)  # noqa: S311 - a repeatable draw, not a secret
    requests: list[TimedRequest] = []
    for phase in phases:
        at = phase.begins * scale
        while at < phase.ends * scale:
            prompt, output = (
                round(draw.uniform(0.5, 1.5) * mean) for mean in (phase.prompt_tokens, phase.output_tokens)
            )
            requests.append(TimedRequest(at, phase.model, prompt, output))
            at += draw.expovariate(phase.per_second)
    return sorted(requests, key=lambda request: request.at)


def facts(config: dict[str, Any] = CONFIG, name: str = NAME) -> EnvironmentFacts:
    """What the rules of the recorded environment know of it."""
    environment = load_environment(config, name)
    return environment_facts(environment, plan_config(environment, name), EnvironmentLabels(name))


@dataclass(frozen=True)
class Running:
    """The deployed environment.

    Attributes:
        url: of its gateway.
        prometheus: the cluster's.
        client: administrator of the API.
    """

    url: str
    prometheus: Prometheus
    client: Client

    def engines(self) -> int:
        """Pods of engines, those that are ending included."""
        return sum(1 for _ in self.client.list(Pod, namespace=NAMESPACE, labels={COMPONENT: "engine"}))

    def await_rules(self) -> None:
        """Wait until every rule has been evaluated once.

        Raises:
            RecordingError: a rule is missing or broken.
        """
        wait_for(
            lambda: {rule["health"] for rule in self.prometheus.rules()} == {"ok"},
            RULES_SECONDS,
            "all rules loaded and healthy",
        )

    def load(self, requests: list[TimedRequest]) -> list[Outcome]:
        """Send requests and read all answers.

        Raises:
            RecordingError: a request failed.
        """
        replay = Replay(self.url, requests, prompts=Prompts(0))

        async def run() -> None:
            async with new_session() as session:
                await replay.run(session)

        asyncio.run(run())
        failed = [outcome for outcome in replay.outcomes if outcome.failure is not None]
        if failed:
            raise RecordingError(f"{len(failed)} of {len(requests)} requests failed, e.g. {failed[0].failure}")
        return replay.outcomes


def wait_for(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait for a condition.

    Raises:
        RecordingError: the deadline passed.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RecordingError(f"after {seconds:.0f} s still not so: {what}")
        time.sleep(POLL_SECONDS)


@contextmanager
def deployed() -> Iterator[Running]:
    """Cluster and environment, from nothing to nothing.

    Raises:
        cluster.ClusterError: the cluster does not start.
        PulumiError: the environment cannot be deployed.
    """
    # Short: sockets in it have long names.
    root = Path(tempfile.mkdtemp(prefix="ip-"))
    files = ClusterFiles(root / NAME)
    try:
        cluster.up(files, gateway_port=0)
        config = files.root / f"Pulumi.{NAME}.yaml"
        config.write_text(yaml.safe_dump({"config": {"inference-platform:environment": CONFIG}}, sort_keys=False))
        pulumi = Pulumi(NAME, files.root / "pulumi", files.kubeconfig, config_file=config)
        pulumi.prepare()
        pulumi.run("up", "--yes", "--skip-preview", "--stack", NAME)
        ports = cluster.ports(files)
        client = Client(config=KubeConfig.from_file(str(files.kubeconfig)))
        yield Running(f"http://127.0.0.1:{ports.gateway}", Prometheus(ports.prometheus), client)
    finally:
        # The cluster's store goes with its folder: there is nothing to destroy one by one.
        cluster.stop(files)
        shutil.rmtree(root, ignore_errors=True)
