"""Everything that serves one model, and its number.

Does not prove parents and dependencies: the mocks do not see them.
"""

from __future__ import annotations

import json
from collections import Counter

import pytest

from components.serving.base import SecretKey
from components.serving.manifests import Manifests, ModelDeployment
from tests.unit.components.samples import CHAT, context, deployment
from tests.unit.conftest import Engine

pytestmark = pytest.mark.unit


def test_exactly_these_resources(engine: Engine) -> None:
    engine.run(lambda: Manifests(context()).deploy(CHAT))
    assert engine.components() == Counter({("inference-platform:serving:ModelDeployment", "chat"): 1})
    assert engine.children() == Counter(
        {
            ("pulumi:providers:kubernetes", "dev-provider"): 1,
            ("kubernetes:core/v1:ServiceAccount", "chat-engine"): 1,
            ("kubernetes:apps/v1:Deployment", "chat-engine"): 1,
            ("kubernetes:core/v1:Service", "chat-engine"): 1,
            ("kubernetes:policy/v1:PodDisruptionBudget", "chat-engine"): 1,
            ("kubernetes:core/v1:ServiceAccount", "chat-router"): 1,
            ("kubernetes:rbac.authorization.k8s.io/v1:Role", "chat-router"): 1,
            ("kubernetes:rbac.authorization.k8s.io/v1:RoleBinding", "chat-router"): 1,
            ("kubernetes:apps/v1:Deployment", "chat-router"): 1,
            ("kubernetes:core/v1:Service", "chat-router"): 1,
            ("kubernetes:http.keda.sh/v1beta1:InterceptorRoute", "chat-route"): 1,
            ("kubernetes:keda.sh/v1alpha1:ScaledObject", "chat-scaling"): 1,
        }
    )


def test_what_it_tells_the_layers_above(engine: Engine) -> None:
    made = engine.run(lambda: ModelDeployment("chat", context(), CHAT))
    assert (made.model, made.engine_deployment, made.service) == ("chat", "chat-engine", "chat-router")


def test_everything_carries_the_environment_and_the_model(engine: Engine) -> None:
    engine.run(lambda: ModelDeployment("chat", context(), CHAT))
    for item in engine.seen:
        if item.type.startswith("kubernetes:"):
            labels = item.inputs["metadata"]["labels"]
            assert labels["inference.platform/environment"] == "dev", item
            assert labels["inference.platform/model"] == "chat", item
            assert item.inputs["metadata"]["namespace"] == "inference-dev", item


def test_a_secret_is_referred_to_and_never_written(engine: Engine) -> None:
    token = SecretKey("hugging-face", "token")
    with_token = deployment(engine=CHAT.engine.__class__(model=CHAT.engine.model, hugging_face_token=token))
    engine.run(lambda: ModelDeployment("chat", context(), with_token))
    (container,) = engine.one("v1:Deployment", "chat-engine")["spec"]["template"]["spec"]["containers"]
    variables = {variable["name"]: variable for variable in container["env"]}
    assert variables["HF_TOKEN"] == {
        "name": "HF_TOKEN",
        "valueFrom": {"secretKeyRef": {"name": "hugging-face", "key": "token"}},
    }
    assert not [item for item in engine.seen if item.type == "kubernetes:core/v1:Secret"]


def test_without_a_token_there_is_no_variable(engine: Engine) -> None:
    engine.run(lambda: ModelDeployment("chat", context(), CHAT))
    assert "HF_TOKEN" not in json.dumps([item.inputs for item in engine.seen])


def test_no_pod_binds_all_addresses_and_no_image_floats(engine: Engine) -> None:
    engine.run(lambda: ModelDeployment("chat", context(), CHAT))
    for item in engine.seen:
        assert "0.0.0.0" not in json.dumps(item.inputs), item  # noqa: S104
        assert ":latest" not in json.dumps(item.inputs), item
