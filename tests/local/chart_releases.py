"""Releases of the chart vllm-stack, of values as a newcomer writes them and as ours, and readers of what is in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from pulumi_kubernetes import Provider

from components.labels import EnvironmentLabels
from components.serving.base import ModelDeploymentArgs, ServingContext
from components.serving.production_stack.render import chart_values
from components.serving.production_stack.values.check import overlay
from tests.local.chart_template import HelmTemplate, Rendered
from tests.unit.components.samples import CHAT, cluster

MODEL = {
    "name": "one",
    "repository": "vllm/vllm-openai",
    "tag": "v0.32.0",
    "modelURL": "a/b",
    "replicaCount": 2,
    "requestCPU": 1,
    "requestMemory": "1Gi",
    "requestGPU": 1,
    "vllmConfig": {"enablePrefixCaching": True},
}
DEPLOYMENT, OURS = "naive-one-deployment-vllm", "chat-engine-deployment-vllm"


def naive(template: HelmTemplate, top: Mapping[str, Any] | None = None, **model: Any) -> Rendered:
    """A release of one model, whose other values are `top`. A key of the model that is None is left out."""
    spec = {key: value for key, value in {**MODEL, **model}.items() if value is not None}
    return template("naive", overlay({"servingEngineSpec": {"modelSpec": [spec]}}, top or {}))


def ours(
    template: HelmTemplate,
    args: ModelDeploymentArgs = CHAT,
    context: ServingContext | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Rendered:
    """The release that the platform makes of a model deployment."""
    values = chart_values(context or platform(), args, runtime_class="", extra=extra or {})
    return template(args.name, values.render())


def platform(**changes: Any) -> ServingContext:
    """Nothing is registered: a provider is not needed."""
    made = cluster(cast("Provider", None))
    labels = EnvironmentLabels("dev")
    return replace(ServingContext(cluster=made, labels=labels, gateway_host="gateway"), **changes)


def kinds(objects: Rendered, kind: str) -> Rendered:
    return [item for item in objects if item["kind"] == kind]


def one(objects: Rendered, kind: str, name: str) -> dict[str, Any]:
    (found,) = (item for item in kinds(objects, kind) if item["metadata"]["name"] == name)
    return found


def pod(objects: Rendered, name: str = OURS) -> dict[str, Any]:
    spec: dict[str, Any] = one(objects, "Deployment", name)["spec"]["template"]["spec"]
    return spec


def container(objects: Rendered, name: str = OURS) -> dict[str, Any]:
    made: dict[str, Any] = pod(objects, name)["containers"][0]
    return made


def variables(objects: Rendered, name: str = OURS) -> dict[str, str]:
    return {item["name"]: item["value"] for item in container(objects, name)["env"] if "value" in item}
