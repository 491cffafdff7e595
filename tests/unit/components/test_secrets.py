"""Secrets of an environment, and everything that uses them by reference.

Does not prove that the engine encrypts the state: the local tests read it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pulumi
import pytest
from pulumi_kubernetes import Provider

from components.gateway.gateway import Gateway
from components.labels import EnvironmentLabels
from components.pods import ENGINE_POD_SECURITY
from components.secrets import EnvironmentSecrets, EnvironmentSecretsArgs, ExternalArgs, SecretArgs
from components.serving.base import SecretKey
from components.serving.engine import create_engines
from components.serving.manifests import Manifests
from components.serving.production_stack.render import chart_values
from components.serving.weights_download import create_download
from stacks.config import load_environment
from stacks.config.pod_security import needs_baseline, pod_security
from stacks.config.vocabulary import EngineName
from tests.unit.components.samples import context, deployment
from tests.unit.components.test_gateway import arguments as gateway_arguments
from tests.unit.conftest import Engine
from tests.unit.stacks.config_samples import sample

pytestmark = pytest.mark.unit

LABELS = EnvironmentLabels("dev")
MODEL = "model_deployments__0__"
SECRET_MARK, SECRET_VALUE = "4dabf18193072939515e22adb298388d", "1b47061264138c4ac30d75fd1eb44270"
"""How Pulumi's protocol marks a secret."""


def build(engine: Engine, *secrets: SecretArgs) -> EnvironmentSecrets:
    def program() -> EnvironmentSecrets:
        opts = pulumi.ResourceOptions(provider=Provider("provider", kubeconfig="/somewhere"))
        return EnvironmentSecrets("secrets", EnvironmentSecretsArgs(labels=LABELS, secrets=secrets), opts)

    return engine.run(program)


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        (("token",), "Opaque"),
        (("tls.crt", "tls.key"), "kubernetes.io/tls"),
        ((".dockerconfigjson",), "kubernetes.io/dockerconfigjson"),
    ],
)
def test_a_secret_is_what_its_keys_say(engine: Engine, keys: tuple[str, ...], kind: str) -> None:
    values = {key: pulumi.Output.from_input(f"value of {key}") for key in keys}
    made = build(engine, SecretArgs(name="one", keys=keys, values=values))
    secret = engine.one("core/v1:Secret", "secrets-one")
    assert secret["type"] == kind
    assert secret["metadata"]["namespace"] == "inference-dev"
    assert secret["stringData"].pop(SECRET_MARK) == SECRET_VALUE, "not marked: it would be in the state in plain text"
    assert secret["stringData"] == {"value": {key: f"value of {key}" for key in keys}}
    assert len(made.resources) == 1


def test_an_external_secret_has_no_value(engine: Engine) -> None:
    source = ExternalArgs(store="vault", store_kind="ClusterSecretStore", entry="ml/hugging-face")
    build(engine, SecretArgs(name="one", keys=("token", "other"), values={}, external=source))
    made = engine.one("external-secrets.io/v1:ExternalSecret", "secrets-one")
    assert made["spec"] == {
        "refreshInterval": "1h",
        "secretStoreRef": {"name": "vault", "kind": "ClusterSecretStore"},
        "target": {"name": "one", "creationPolicy": "Owner"},
        "data": [
            {"secretKey": "token", "remoteRef": {"key": "ml/hugging-face", "property": "token"}},
            {"secretKey": "other", "remoteRef": {"key": "ml/hugging-face", "property": "other"}},
        ],
    }


def with_token() -> Any:
    chat = deployment()
    return replace(chat, engine=replace(chat.engine, hugging_face_token=SecretKey("hugging-face", "token")))


def test_the_chart_gets_the_tokens_name(engine: Engine) -> None:
    values: list[dict[str, Any]] = []
    engine.run(lambda: values.append(chart_values(context(), with_token(), runtime_class="", extra={}).render()))
    (model,) = values[0]["servingEngineSpec"]["modelSpec"]
    assert model["hf_token"] == {"secretName": "hugging-face", "secretKey": "token"}


def engine_pod(engine: Engine, *, as_root: bool) -> dict[str, Any]:
    engine.seen.clear()

    def program() -> None:
        from components.base import Component

        where = replace(context(), engines_as_root=as_root)
        parent = Component("serving", "chat")
        create_engines(parent, "chat", where, with_token())
        create_download(parent, "chat", replace(where, weights_claim="weights"), with_token())

    engine.run(program)
    job = engine.one("batch/v1:Job", "chat-weights")["spec"]["template"]["spec"]
    pod: dict[str, Any] = engine.one("apps/v1:Deployment", "chat-engine")["spec"]["template"]["spec"]
    assert job.get("securityContext") == pod.get("securityContext")
    reference = {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hugging-face", "key": "token"}}}
    assert all(reference in item["containers"][0]["env"] for item in (job, pod))
    return pod


def test_engines_run_as_the_images_own_user(engine: Engine) -> None:
    """The same in our Deployments and in the chart's."""
    assert engine_pod(engine, as_root=False)["securityContext"] == ENGINE_POD_SECURITY
    assert engine_pod(engine, as_root=True).get("securityContext") is None


def test_images_of_a_private_registry(engine: Engine) -> None:
    """Every account that our pods run with names the Secret, the download's pod itself; without one, nobody does."""

    def build(secrets: tuple[str, ...]) -> set[str]:
        engine.seen.clear()

        def program() -> None:
            where = replace(context(), image_pull_secrets=secrets, weights_claim="weights", preload=True)
            Manifests(where).deploy(deployment())
            Gateway("gateway", replace(gateway_arguments(), image_pull_secrets=secrets))

        engine.run(program)
        accounts = [item for item in engine.seen if item.type.endswith(":ServiceAccount")]
        pod = engine.one("batch/v1:Job", "chat-weights")["spec"]["template"]["spec"]
        owners = {**{item.name: item.inputs for item in accounts}, "download": pod}
        assert set(owners) == {"chat-engine", "chat-router", "gateway", "download"}
        return {name for name, made in owners.items() if made.get("imagePullSecrets") == [{"name": "registry"}]}

    assert build(("registry",)) == {"chat-engine", "chat-router", "gateway", "download"}
    assert build(()) == set()


@pytest.mark.parametrize(
    ("changes", "level"),
    [
        ({}, "restricted"),
        ({"cloud": "aws", "weights": {"store": "shared-files"}}, "baseline"),
        (
            {"cloud": "aws", "weights": {"store": "shared-files"}, "tenancy": {"pod_security": "restricted"}},
            "restricted",
        ),
        ({"tenancy": {"pod_security": "baseline"}}, "baseline"),
        (
            {
                "serving_stack": "production-stack",
                MODEL + "chart_values": {"servingEngineSpec": {"modelSpec": {"lmcacheConfig": {"enabled": True}}}},
            },
            "baseline",
        ),
        (
            {
                "serving_stack": "production-stack",
                MODEL + "chart_values": {"servingEngineSpec": {"modelSpec": {"podAnnotations": {"a": "b"}}}},
            },
            "restricted",
        ),
    ],
)
def test_the_level_of_the_namespace(changes: dict[str, Any], level: str) -> None:
    raw = sample(**changes)
    if changes.get("cloud") == "aws":
        raw["node_pools"] = [{**raw["node_pools"][0], "instance_type": "g6.12xlarge"}]
        for item in raw["model_deployments"]:
            item.pop("simulation", None)
        raw.pop("gateway", None)
    assert pod_security(load_environment(raw, "dev")) == level


def test_engines_whose_image_knows_only_root() -> None:
    config = load_environment(sample(), "dev")
    (model, *_) = config.model_deployments
    other = model.model_copy(update={"engine": model.engine.model_copy(update={"name": EngineName.SGLANG})})
    assert needs_baseline(other)
    assert not needs_baseline(model)
