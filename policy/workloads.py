"""Pods, engines and Helm values, wherever a resource has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from policy.view import Resource, at, items, known, mapping, text

POD_TEMPLATES: Final[Mapping[str, tuple[str, ...]]] = {
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
    "Pod": (),
}
"""Where a pod's metadata and spec are, by kind."""

GPU_RESOURCES: Final = ("nvidia.com/", "amd.com/gpu")
ENGINE_IMAGES: Final = ("vllm-openai", "sglang", "tritonserver", "text-generation-inference", "trtllm", "lmcache-vllm")
COMPONENT: Final = "inference.platform/component"
MODEL: Final = "inference.platform/model"
NODE_POOL: Final = "inference.platform/node-pool"
CAPACITY_TYPE: Final = "inference.platform/capacity-type"
ENGINE: Final = "engine"


@dataclass(frozen=True)
class Pod:
    """A pod or the template of one.

    Attributes:
        labels: of the pod.
        annotations: of the pod.
        spec: its PodSpec.
        path: of the PodSpec in the resource's inputs.
    """

    labels: Mapping[str, Any]
    annotations: Mapping[str, Any]
    spec: Mapping[str, Any]
    path: str

    def containers(self, *, init: bool = False) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Containers with their path; init containers too if asked for."""
        for field in ("containers", *(("initContainers",) if init else ())):
            for index, container in enumerate(items(self.spec.get(field))):
                yield f"{self.path}.{field}[{index}]", mapping(container)

    @property
    def model(self) -> str:
        """Name of the model deployment; "" if it says none."""
        return text(self.labels.get(MODEL))

    def engines(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Containers that are inference engines: by the label, by their image or because they hold a GPU."""
        labelled = text(self.labels.get(COMPONENT)) == ENGINE
        for path, container in self.containers():
            image = text(container.get("image"))
            if labelled or gpus_of(container) or any(word in image for word in ENGINE_IMAGES):
                yield path, container


def pod_of(resource: Resource) -> Pod | None:
    """The pod that a resource is or makes; None if it makes none."""
    if not resource.in_kubernetes or resource.kind not in POD_TEMPLATES:
        return None
    path = POD_TEMPLATES[resource.kind]
    template = resource.at(*path) if path else resource.inputs
    metadata = mapping(at(template, "metadata"))
    return Pod(
        labels=mapping(metadata.get("labels")),
        annotations=mapping(metadata.get("annotations")),
        spec=mapping(at(template, "spec")),
        path=".".join((*path, "spec")),
    )


def engine_pod(resource: Resource) -> Pod | None:
    """The pod of a resource if it runs an engine for as long as it lives; a Job's ends by itself."""
    pod = pod_of(resource) if resource.kind not in {"Job", "CronJob"} else None
    return pod if pod is not None and next(pod.engines(), None) else None


def gpus_of(container: Mapping[str, Any], section: str = "limits") -> dict[str, Any]:
    """GPU resources of a container, by name."""
    asked = mapping(at(container, "resources", section))
    return {name: amount for name, amount in asked.items() if name.startswith(GPU_RESOURCES)}


def helm_values(resource: Resource) -> Mapping[str, Any] | None:
    """Values of a Helm release or chart; None if the resource is neither."""
    if resource.type not in {"kubernetes:helm.sh/v3:Release", "kubernetes:helm.sh/v4:Chart"}:
        return None
    return mapping(resource.at("values"))


def model_specs(resource: Resource) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Engines in the values of the vLLM Production Stack's chart, with their path."""
    specs: Sequence[Any] = items(at(helm_values(resource) or {}, "servingEngineSpec", "modelSpec"))
    for index, spec in enumerate(specs):
        found = mapping(spec)
        if known(found.get("enabled", True)) is not False:
            yield f"values.servingEngineSpec.modelSpec[{index}]", found


def image_references(resource: Resource) -> Iterator[tuple[str, str]]:
    """Every container image that a resource names, with the path at which it stands.

    Images in Helm values are found by the form that charts use: an `image` that is a text, or a `repository` beside a
    `tag`, `digest` or `registry`.
    """
    pod = pod_of(resource)
    if pod is not None:
        for path, container in pod.containers(init=True):
            yield f"{path}.image", text(container.get("image"))
    values = helm_values(resource)
    if values is not None:
        yield from _images_in(values, "values")


def _images_in(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, (list, tuple)):
        for index, child in enumerate(value):
            yield from _images_in(child, f"{path}[{index}]")
    if not isinstance(value, Mapping):
        return
    repository = value.get("repository")
    if isinstance(repository, str) and {"tag", "digest", "sha", "registry"} & set(value):
        tag, digest = text(value.get("tag")), text(value.get("digest")) or text(value.get("sha"))
        yield path, repository + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")
    elif isinstance(value.get("image"), str) and value["image"]:
        yield f"{path}.image", value["image"]
    for key, child in value.items():
        yield from _images_in(child, f"{path}.{key}")


@dataclass(frozen=True)
class Image:
    """A reference to a container image, taken apart."""

    repository: str
    tag: str
    digest: str

    @classmethod
    def parse(cls, reference: str) -> Image:
        """Take `registry:port/name:tag@sha256:...` apart; what is not there is ""."""
        name, _, digest = reference.partition("@")
        folder, slash, last = name.rpartition("/")
        base, _, tag = last.partition(":")
        return cls(f"{folder}{slash}{base}", tag, digest)
