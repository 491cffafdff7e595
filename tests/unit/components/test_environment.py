"""A whole environment from its configuration, and the program itself.

Does not prove the order in which things are made and destroyed, nor that anything of it runs: engine and local tests.
"""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml
from typer.testing import CliRunner

from stacks.cli import app
from stacks.config import load_environment
from stacks.environment import EnvironmentOutputs, build_environment
from tests.imported import imported_with
from tests.unit.conftest import Engine

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]

SCALING = {"startup_budget_seconds": 10, "cooldown_seconds": 15, "drain_seconds": 20, "polling_interval_seconds": 2}


def model(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "source": {"hugging_face": "meta-llama/Llama-3.1-8B-Instruct"},
        "engine": {"max_model_len": 8192},
        "node_pool": "l4",
        "scaling": SCALING,
        **changes,
    }


def config(*models: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "cloud": "local",
        "node_pools": [{"name": "l4", "instance_type": "g6.12xlarge", "max_nodes": 2}],
        "model_deployments": list(models) or [model("chat"), model("code")],
        **changes,
    }


@pytest.fixture
def kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cluster that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        file = tmp_path / "kubeconfig"
        address = f"https://127.0.0.1:{server.getsockname()[1]}"
        file.write_text(yaml.safe_dump({"clusters": [{"name": "local", "cluster": {"server": address}}]}))
        monkeypatch.setenv("INFERENCE_PLATFORM_KUBECONFIG", str(file))
        yield file


def build(engine: Engine, raw: dict[str, Any], environment: str = "test") -> EnvironmentOutputs:
    return engine.run(lambda: build_environment(load_environment(raw, environment), environment))


@pytest.mark.usefixtures("kubeconfig")
def test_exactly_these_components(engine: Engine) -> None:
    build(engine, config())
    assert engine.components() == Counter(
        {
            ("inference-platform:local:LocalCluster", "test"): 1,
            ("inference-platform:local:SystemNodePool", "test-system"): 1,
            ("inference-platform:local:GpuNodePool", "test-l4"): 1,
            ("inference-platform:observability:Monitoring", "monitoring"): 1,
            ("inference-platform:tenancy:Tenancy", "tenancy"): 1,
            ("inference-platform:gateway:Gateway", "gateway"): 1,
            ("inference-platform:serving:ModelDeployment", "chat"): 1,
            ("inference-platform:serving:ModelDeployment", "code"): 1,
        }
    )


@pytest.mark.usefixtures("kubeconfig")
def test_how_many_resources_a_model_adds(engine: Engine) -> None:
    counts = []
    for number in (1, 2, 10):
        engine.seen.clear()
        build(engine, config(*(model(f"m{i}") for i in range(number))))
        counts.append((sum(engine.children().values()), sum(engine.components().values())))
    # Provider, namespace, a system node, two GPU nodes, four of the gateway, four network policies, five of rules,
    # five dashboards; eleven per model and one component.
    assert counts == [(13 + 10 + 11 * n, 6 + n) for n in (1, 2, 10)]


@pytest.mark.usefixtures("kubeconfig")
def test_no_two_objects_have_the_same_name(engine: Engine) -> None:
    build(engine, config(*(model(name) for name in ("gateway", "system", "chat", "chat-router", "chat-engine"))))
    names = Counter(
        (item.type, item.inputs["metadata"].get("namespace"), item.inputs["metadata"]["name"])
        for item in engine.seen
        if item.type.startswith("kubernetes:")
    )
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.usefixtures("kubeconfig")
def test_everything_of_the_environment_is_labelled_and_in_its_namespace(engine: Engine) -> None:
    build(engine, config())
    for item in engine.seen:
        if not item.type.startswith("kubernetes:") or item.type.endswith(":Node"):
            continue
        metadata = item.inputs["metadata"]
        assert metadata["labels"]["inference.platform/environment"] == "test", item
        if item.type.endswith(":Namespace"):
            assert metadata["name"] == "inference-test"
            assert metadata["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
        else:
            assert metadata["namespace"] == "inference-test", item


@pytest.mark.usefixtures("kubeconfig")
def test_every_selector_names_its_environment(engine: Engine) -> None:
    build(engine, config())
    selectors = [
        item.inputs["spec"]["selector"]
        for item in engine.seen
        if item.type.endswith((":Service", ":Deployment", ":PodDisruptionBudget"))
    ]
    assert len(selectors) == 1 + 1 + 2 * 5
    for selector in selectors:
        labels = selector.get("matchLabels", selector)
        assert labels["inference.platform/environment"] == "test"
        assert labels["inference.platform/component"]


@pytest.mark.usefixtures("kubeconfig")
def test_pods_ask_for_what_nodes_offer(engine: Engine) -> None:
    sharing = {"mode": "mig", "profile": "1g.10gb"}
    pool = {"name": "a100", "instance_type": "p4de.24xlarge", "max_nodes": 1, "sharing": sharing}
    small = model("small", node_pool="a100", source={"hugging_face": "Qwen/Qwen3-0.6B"}, engine={})
    build(engine, config(small, node_pools=[pool]))
    node = engine.one(":Node", "test-a100-0")
    capacity = json.loads(node["metadata"]["annotations"]["inference.platform/capacity"])
    spec = engine.one(":Deployment", "small-engine")["spec"]["template"]["spec"]
    limits = spec["containers"][0]["resources"]["limits"]
    assert limits["nvidia.com/mig-1g.10gb"] == "1"
    assert capacity["nvidia.com/mig-1g.10gb"] == "56"
    assert spec["nodeSelector"].items() <= node["metadata"]["labels"].items()


@pytest.mark.usefixtures("kubeconfig")
def test_the_planner_fills_in_what_nobody_gave(engine: Engine) -> None:
    build(engine, config(model("chat", engine={})))
    (container,) = engine.one(":Deployment", "chat-engine")["spec"]["template"]["spec"]["containers"]
    lengths = [word for word in container["args"] if word.startswith(("--max-model-len=", "--max-num-seqs="))]
    assert len(lengths) == 2
    assert all(int(word.partition("=")[2]) > 0 for word in lengths)


@pytest.mark.usefixtures("kubeconfig")
def test_engines_are_simulated_with_the_pools_gpu(engine: Engine) -> None:
    given = model("code", simulation={"startup_seconds": 1.5, "speedup": 20.0})
    build(engine, config(model("chat"), given))

    def told(name: str) -> dict[str, str]:
        annotations = engine.one(":Deployment", name)["spec"]["template"]["metadata"]["annotations"]
        prefix = "simulation.inference.platform/"
        return {key.removeprefix(prefix): value for key, value in annotations.items() if key.startswith(prefix)}

    assert told("chat-engine") == {"startup-seconds": "3", "speedup": "1", "gpu": "l4"}
    assert told("code-engine") == {"startup-seconds": "1.5", "speedup": "20", "gpu": "l4"}


@pytest.mark.usefixtures("kubeconfig")
def test_the_gateway_is_as_patient_as_the_slowest_model(engine: Engine) -> None:
    slow = model("slow", scaling={"startup_budget_seconds": 900, "drain_seconds": 120})
    build(engine, config(model("chat"), slow))
    text = engine.one(":ConfigMap", "gateway-config")["data"]["haproxy.cfg"]
    assert f"timeout server {900 + 30 + 1800}s" in text
    assert "hard-stop-after 120s" in text


@pytest.mark.usefixtures("kubeconfig")
def test_the_gateways_host_is_the_one_in_the_routes(engine: Engine) -> None:
    build(engine, config())
    text = engine.one(":ConfigMap", "gateway-config")["data"]["haproxy.cfg"]
    (rule,) = engine.one("InterceptorRoute", "chat-route")["spec"]["rules"]
    assert f"http-request set-header host {rule['hosts'][0]}\n" in text


@pytest.mark.usefixtures("kubeconfig")
def test_nothing_secret_is_registered(engine: Engine) -> None:
    build(engine, config())
    assert not [item for item in engine.seen if item.type.endswith(":Secret")]
    assert "client-key-data" not in json.dumps([item.inputs for item in engine.seen])


def test_the_outputs(engine: Engine, kubeconfig: Path) -> None:
    urls: list[str] = []

    def program() -> EnvironmentOutputs:
        made = build_environment(load_environment(config(gateway={"host_port": 8099}), "test"), "test")
        made.url.apply(urls.append)
        return made

    outputs = engine.run(program)
    assert urls == ["http://127.0.0.1:8099"]
    assert outputs.models == ("chat", "code")
    assert outputs.namespace == "inference-test"
    assert outputs.kubeconfig == str(kubeconfig)


@pytest.mark.usefixtures("kubeconfig")
def test_the_plan_is_an_output_with_the_numbers_of_the_command_line(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(pulumi, "info", said.append)
    outputs = build(engine, config())
    document = {"config": {"inference-platform:environment": config()}}
    (tmp_path / "Pulumi.test.yaml").write_text(yaml.safe_dump(document))
    done = CliRunner().invoke(app, ["plan", "-s", "test", "-C", str(tmp_path), "--json"])
    assert json.loads(done.stdout) == outputs.plan
    assert said[0] == "test: $0.00 to $9.20 per hour (list prices), simulated here"
    assert [line.partition(":")[0] for line in said] == ["test", "chat", "code"]


@pytest.mark.usefixtures("kubeconfig")
def test_what_is_probably_not_meant_is_said_at_the_preview(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(pulumi, "warn", said.append)
    build(engine, config(model("chat"), node_pools=[{"name": "l4", "instance_type": "g6.12xlarge", "max_nodes": 1}]))
    fields = [line.partition(":")[0] for line in said]
    assert fields == ["node_pools[0].max_nodes", "model_deployments[0].scaling.concurrency"]
    assert said[0].startswith("node_pools[0].max_nodes: chat at max_replicas need 5 GPUs or slices, and 1 nodes have 4")


def run_program(engine: Engine, raw: dict[str, Any]) -> None:
    pulumi.runtime.set_all_config({"inference-platform:environment": json.dumps(raw)})
    engine.run_program(ROOT)


@pytest.mark.usefixtures("kubeconfig")
def test_the_program_builds_the_stacks_environment(engine: Engine) -> None:
    run_program(engine, config())
    assert engine.one(":Namespace", "inference-test")["metadata"]["name"] == "inference-test"


@pytest.mark.usefixtures("kubeconfig")
def test_wrong_configuration_is_all_errors_without_a_traceback(engine: Engine) -> None:
    """The language host prints a RunError's message alone and ends with a status that is not zero."""
    wrong = config(model("chat", node_pool="h100"), cloud="lokal")
    with pytest.raises(pulumi.RunError) as caught:
        run_program(engine, wrong)
    assert "cloud" in str(caught.value)
    assert "model_deployments[0].node_pool" in str(caught.value)
    assert engine.seen == []


def test_a_missing_cluster_is_one_message(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFERENCE_PLATFORM_KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(pulumi.RunError, match="make up"):
        run_program(engine, config())
    assert engine.seen == []


def test_the_program_is_short() -> None:
    assert len((ROOT / "__main__.py").read_text().splitlines()) <= 60


def test_the_cluster_comes_before_the_types_of_pods() -> None:
    """What the program needs for the cluster's provider; the rest is imported while the engine starts that."""
    needed = ("stacks.cluster", "stacks.node_pools", "stacks.secret_values", "components.clouds.local.cloud")
    slow = ("pulumi_kubernetes.core.v1", "grafana", "components.serving", "planner.plan")
    assert imported_with(needed, beginning=slow) == []
    assert "pulumi_kubernetes.core.v1" in imported_with(["stacks.environment"], beginning=slow)
