"""What kinds of workers serve a model, and how a router finds them: one class for each way, behind one interface.

A topology yields groups of equal engines (`Workers`): one Deployment and one ScaledObject each. Everything else of a
model deployment (account, router, route) is made once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from components.autoscaling.args import ScalingArgs
from components.labels import EnvironmentLabels, Workload
from components.pods import POD_IP

NIXL_PORT: Final = 5600
"""Where a prefill worker tells decode workers of its blocks; vLLM's default (VLLM_NIXL_SIDE_CHANNEL_PORT)."""

PREFILL: Final = "prefill"
DECODE: Final = "decode"


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Equal engines of a model deployment.

    Attributes:
        scaling: how many, and when.
        kind: in names: ``chat-engine``, ``chat-prefill``.
        role: in labels, beside those of every engine; "" where there is one kind only.
        arguments: flags that these have beside those of every engine.
        variables: that these have beside those of every engine; ``$(POD_IP)`` is the pod's address.
    """

    scaling: ScalingArgs
    kind: str = str(Workload.ENGINE)
    role: str = ""
    arguments: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)

    def name(self, model: str) -> str:
        """Name of their objects."""
        return f"{model}-{self.kind}"

    def logical(self, name: str) -> str:
        """What Pulumi's names of objects begin with of which each kind of worker has one."""
        return f"{name}-{self.role}" if self.role else name


class Topology(Protocol):
    """The kinds of workers of a model deployment."""

    @property
    def holds_requests(self) -> bool:
        """Whether its router repeats a request until a worker is there; if not, somebody before it must hold."""
        ...

    def workers(self, scaling: ScalingArgs) -> tuple[Workers, ...]:
        """All kinds.

        Args:
            scaling: of the model deployment.
        """
        ...

    def discovery(self, labels: EnvironmentLabels, model: str) -> list[str]:
        """Arguments by which `vllm-router` finds the workers."""
        ...


def selector_words(labels: EnvironmentLabels, model: str | None, role: str = "") -> list[str]:
    """Labels of workers as `vllm-router` takes them."""
    return [f"{key}={value}" for key, value in labels.selector(Workload.ENGINE, model, role).items()]


@dataclass(frozen=True)
class Aggregated:
    """Every worker does prefill and decode."""

    holds_requests: bool = True

    def workers(self, scaling: ScalingArgs) -> tuple[Workers, ...]:
        """One kind."""
        return (Workers(scaling=scaling),)

    def discovery(self, labels: EnvironmentLabels, model: str) -> list[str]:
        """By the labels of the model's engines."""
        return ["--service-discovery", "--selector", *selector_words(labels, model)]


@dataclass(frozen=True, kw_only=True)
class Disaggregated:
    """Prefill workers compute a prompt's keys and values, decode workers fetch them by NIXL and generate the answer.

    `vllm-router` asks a prefill worker for one token, gets the place of the blocks with it, and sends the request with
    that place to a decode worker (its ``--vllm-pd-disaggregation``). Measured on 0.1.17: without a complete pair it
    answers 503 at once, whatever its retries, and 500 when a worker dies; its ``/readiness`` follows the pairs.

    Attributes:
        prefill: scaling of the prefill workers.
        decode: scaling of the decode workers.
    """

    prefill: ScalingArgs
    decode: ScalingArgs
    holds_requests: bool = False

    def workers(self, scaling: ScalingArgs) -> tuple[Workers, ...]:
        """Two kinds, each with its own scaling."""
        del scaling
        return (
            _nixl(PREFILL, self.prefill, "kv_producer"),
            _nixl(DECODE, self.decode, "kv_consumer"),
        )

    def discovery(self, labels: EnvironmentLabels, model: str) -> list[str]:
        """By the labels of each kind."""
        return [
            *("--vllm-pd-disaggregation", "--service-discovery"),
            *("--prefill-selector", *selector_words(labels, model, PREFILL)),
            *("--decode-selector", *selector_words(labels, model, DECODE)),
            # A decode worker that has a conversation's blocks already fetches the rest only; prompts are matched by
            # the router's policy on the prefill side.
            *("--decode-policy", "power_of_two"),
        ]


def _nixl(kind: str, scaling: ScalingArgs, kv_role: str) -> Workers:
    """Workers that hand blocks over.

    kv_both still works with the NixlConnector, and is deprecated (vLLM 0.32.0 nixl/connector.py). A transfer that fails
    is computed anew by the decode worker: slower, and the request lives.
    """
    transfer = {"kv_connector": "NixlConnector", "kv_role": kv_role, "kv_load_failure_policy": "recompute"}
    return Workers(
        scaling=scaling,
        kind=kind,
        role=kind,
        arguments=(f"--kv-transfer-config={json.dumps(transfer, separators=(',', ':'))}",),
        variables={"VLLM_NIXL_SIDE_CHANNEL_HOST": POD_IP, "VLLM_NIXL_SIDE_CHANNEL_PORT": str(NIXL_PORT)},
    )
