"""Labels and selectors of an environment, from one object, so that no selector reaches across environments."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

PREFIX: Final = "inference.platform"
ENVIRONMENT: Final = f"{PREFIX}/environment"
COMPONENT: Final = f"{PREFIX}/component"
MODEL: Final = f"{PREFIX}/model"
NODE_POOL: Final = f"{PREFIX}/node-pool"
CAPACITY_TYPE: Final = f"{PREFIX}/capacity-type"
ROLE: Final = f"{PREFIX}/role"
"""Of engines that do a part of the work: prefill or decode."""

MODEL_HEADER: Final = "x-inference-model"
"""HTTP header that carries a request's model from the gateway on; a client may set it itself."""

NAMESPACE_PREFIX: Final = "inference-"
LONGEST_DNS_LABEL: Final = 63


class Workload(StrEnum):
    """What an object is in the data path; the value of the component label."""

    ENGINE = "engine"
    ROUTER = "router"
    GATEWAY = "gateway"
    WEIGHTS = "weights"
    IMAGES = "images"


@dataclass(frozen=True)
class EnvironmentLabels:
    """Names and labels of one environment.

    Attributes:
        environment: its name, which is the Pulumi stack's.

    Raises:
        ValueError: the name cannot be part of a namespace's name.
    """

    environment: str

    def __post_init__(self) -> None:
        longest = LONGEST_DNS_LABEL - len(NAMESPACE_PREFIX)
        if len(self.environment) > longest or not re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", self.environment):
            raise ValueError(
                f"the environment's name {self.environment!r} must be lower-case letters, digits and dashes, "
                f"at most {longest}: it becomes the namespace {NAMESPACE_PREFIX}<name>"
            )

    @property
    def namespace(self) -> str:
        """The namespace of everything in the environment."""
        return f"{NAMESPACE_PREFIX}{self.environment}"

    @property
    def shared(self) -> dict[str, str]:
        """Labels of objects that belong to the whole environment."""
        return {
            "app.kubernetes.io/part-of": "inference-platform",
            "app.kubernetes.io/managed-by": "pulumi",
            ENVIRONMENT: self.environment,
        }

    def selector(self, workload: Workload, model: str | None = None, role: str = "") -> dict[str, str]:
        """What selects the pods of a kind of workload, of one model deployment if that is given; in one environment."""
        chosen = {ENVIRONMENT: self.environment, COMPONENT: str(workload)}
        if model is not None:
            chosen[MODEL] = model
        return {**chosen, ROLE: role} if role else chosen

    def of(self, workload: Workload, model: str | None = None, role: str = "") -> dict[str, str]:
        """All labels of an object; a superset of its selector."""
        name = str(workload) if model is None else f"{model}-{role or workload}"
        return {"app.kubernetes.io/name": name, **self.shared, **self.selector(workload, model, role)}
