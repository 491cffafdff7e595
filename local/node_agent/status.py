"""A pod's status as a kubelet reports it. Pure functions; times go in as arguments.

Source of the rules: pkg/kubelet/kubelet_pods.go (getPhase, generateAPIPodStatus,
convertStatusToAPIStatus) and pkg/kubelet/status/generate.go (conditions).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lightkube.models.core_v1 import Container
from lightkube.resources.core_v1 import Pod

from local.node_agent.fields import meta, spec
from local.node_agent.images import repository
from local.node_agent.states import ContainerRecord, Running, Terminated, Waiting

ALWAYS = "Always"
NEVER = "Never"
PENDING, RUNNING, SUCCEEDED, FAILED = "Pending", "Running", "Succeeded", "Failed"


@dataclass(frozen=True)
class Condition:
    """One condition before its times are known."""

    type: str
    ok: bool
    reason: str | None = None
    message: str | None = None


@dataclass(frozen=True)
class PodSituation:
    """Everything that a status is computed from.

    Attributes:
        pod: as the API server has it.
        records: of all containers, by name, init containers too.
        pod_ip: None before there is one.
        host_ip: of its node.
        start_time: when the agent first saw the pod.
        volumes_ready: its volumes are laid out.
        terminating: its deletion has begun.
    """

    pod: Pod
    records: Mapping[str, ContainerRecord]
    pod_ip: str | None
    host_ip: str
    start_time: datetime
    volumes_ready: bool
    terminating: bool = False

    @property
    def init_containers(self) -> Sequence[Container]:
        """In order."""
        return spec(self.pod).initContainers or []

    @property
    def containers(self) -> Sequence[Container]:
        """Those that make the pod."""
        return spec(self.pod).containers

    @property
    def all_ended(self) -> bool:
        """No container has a process, and each has ended once."""
        return all(isinstance(self.records[c.name].state, Terminated) for c in self.containers)


class TransitionTimes:
    """When each condition last changed its status."""

    def __init__(self, pod: Pod) -> None:
        """Goes on from what the API server has."""
        conditions = (pod.status.conditions if pod.status else None) or []
        self._known: dict[str, tuple[str, datetime]] = {
            condition.type: (condition.status, condition.lastTransitionTime)
            for condition in conditions
            if condition.lastTransitionTime is not None
        }

    def of(self, kind: str, status: str, now: datetime) -> datetime:
        """``now`` if the status is a new one, else the time at which it came."""
        known = self._known.get(kind)
        if known is None or known[0] != status:
            self._known[kind] = (status, now)
        return self._known[kind][1]


def pod_status(situation: PodSituation, times: TransitionTimes, now: datetime) -> dict[str, Any]:
    """The status as a strategic merge patch: what is None is taken away from the API server's copy."""
    phase = pod_phase(situation)
    generation = meta(situation.pod).generation
    status: dict[str, Any] = {
        "phase": phase,
        "observedGeneration": generation,
        "conditions": [_condition(condition, generation, times, now) for condition in conditions(situation, phase)],
        "hostIP": situation.host_ip,
        "hostIPs": [{"ip": situation.host_ip}],
        "startTime": _time(situation.start_time),
        "containerStatuses": [container_status(c, situation.records[c.name]) for c in situation.containers],
    }
    if situation.pod_ip is not None:
        status["podIP"] = situation.pod_ip
        status["podIPs"] = [{"ip": situation.pod_ip}]
    if situation.init_containers:
        status["initContainerStatuses"] = [
            container_status(c, situation.records[c.name], init=True) for c in situation.init_containers
        ]
    if situation.terminating:
        # A pod that is being deleted is not ready from that moment on, so that nobody sends it requests.
        for entry in status["containerStatuses"]:
            entry["ready"] = False
    return status


def pod_phase(situation: PodSituation) -> str:
    """The pod's phase."""
    policy = spec(situation.pod).restartPolicy or ALWAYS
    init = [situation.records[c.name] for c in situation.init_containers if not is_sidecar(c)]
    if policy == NEVER and any(isinstance(r.state, Terminated) and not r.succeeded for r in init):
        return FAILED
    records = [situation.records[c.name] for c in situation.containers]
    waits = any(isinstance(r.state, Waiting) and r.last_terminated is None for r in records)
    if waits or not initialized(situation):
        return PENDING
    if any(isinstance(r.state, Running) for r in records):
        return RUNNING
    final = situation.terminating and situation.all_ended
    succeeded = all(record.succeeded for record in records)
    if succeeded and (final or policy != ALWAYS):
        return SUCCEEDED
    return FAILED if final or policy == NEVER else RUNNING


def initialized(situation: PodSituation) -> bool:
    """Every init container has done its part."""
    return not _incomplete_init(situation)


def is_sidecar(container: Container) -> bool:
    """An init container that goes on beside the others."""
    return container.restartPolicy == ALWAYS


def conditions(situation: PodSituation, phase: str) -> list[Condition]:
    """The conditions that a kubelet owns; PodScheduled is the scheduler's."""
    incomplete = _incomplete_init(situation)
    if phase == SUCCEEDED:
        init = Condition("Initialized", True, "PodCompleted")
    elif incomplete:
        text = f"containers with incomplete status: [{' '.join(incomplete)}]"
        init = Condition("Initialized", False, "ContainersNotInitialized", text)
    else:
        init = Condition("Initialized", True)
    containers = _containers_ready(situation, phase)
    return [
        Condition("PodReadyToStartContainers", situation.volumes_ready and phase not in (SUCCEEDED, FAILED)),
        init,
        containers,
        _ready(situation, containers),
    ]


def container_status(container: Container, record: ContainerRecord, *, init: bool = False) -> dict[str, Any]:
    """One entry of containerStatuses.

    Args:
        container: as the pod describes it.
        record: what is known of it.
        init: it is an init container, which is ready once it has succeeded.
    """
    ready = record.ready or (init and record.succeeded and not is_sidecar(container))
    status: dict[str, Any] = {
        "name": container.name,
        "image": container.image or "",
        # No image was pulled: what it names here is the row of images.toml.
        "imageID": f"process://{repository(container.image or '')}",
        "restartCount": record.restart_count,
        "ready": ready,
        "started": record.started,
        "state": _state(record.state),
        "lastState": {} if record.last_terminated is None else _state(record.last_terminated),
    }
    if record.container_id:
        status["containerID"] = record.container_id
    return status


def _incomplete_init(situation: PodSituation) -> list[str]:
    return [
        c.name
        for c in situation.init_containers
        if not (situation.records[c.name].started if is_sidecar(c) else situation.records[c.name].succeeded)
    ]


def _containers_ready(situation: PodSituation, phase: str) -> Condition:
    if phase in (SUCCEEDED, FAILED):
        reason = "PodCompleted" if phase == SUCCEEDED else "PodFailed"
        return Condition("ContainersReady", False, reason)
    unready = [c.name for c in situation.containers if situation.terminating or not situation.records[c.name].ready]
    if not unready:
        return Condition("ContainersReady", True)
    text = f"containers with unready status: [{' '.join(unready)}]"
    return Condition("ContainersReady", False, "ContainersNotReady", text)


def _ready(situation: PodSituation, containers: Condition) -> Condition:
    if not containers.ok:
        return Condition("Ready", False, containers.reason, containers.message)
    present = (situation.pod.status.conditions if situation.pod.status else None) or []
    true = {condition.type for condition in present if condition.status == "True"}
    closed = [gate.conditionType for gate in spec(situation.pod).readinessGates or [] if gate.conditionType not in true]
    if closed:
        text = "; ".join(f'corresponding condition of pod readiness gate "{c}" is not True' for c in closed)
        return Condition("Ready", False, "ReadinessGatesNotReady", text)
    return Condition("Ready", True)


def _condition(condition: Condition, generation: int | None, times: TransitionTimes, now: datetime) -> dict[str, Any]:
    status = "True" if condition.ok else "False"
    return {
        "type": condition.type,
        "status": status,
        "observedGeneration": generation,
        "lastProbeTime": None,
        "lastTransitionTime": _time(times.of(condition.type, status, now)),
        "reason": condition.reason,
        "message": condition.message,
    }


def _state(state: Waiting | Running | Terminated) -> dict[str, Any]:
    """One of the three forms of a container's state."""
    if isinstance(state, Waiting):
        return {"waiting": _without_none({"reason": state.reason, "message": state.message})}
    if isinstance(state, Running):
        return {"running": {"startedAt": _time(state.started_at)}}
    return {
        "terminated": _without_none(
            {
                "exitCode": state.exit_code,
                "reason": state.reason,
                "message": state.message,
                "startedAt": _time(state.started_at) if state.started_at else None,
                "finishedAt": _time(state.finished_at) if state.finished_at else None,
                "containerID": state.container_id,
            }
        )
    }


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _time(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
