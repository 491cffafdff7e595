"""The status of a pod, as exact JSON.

Not proven here: that the API server takes it (the embedded cluster does that).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local.node_agent.states import ContainerRecord, Running, Terminated, Waiting, terminated_from_exit
from local.node_agent.status import PodSituation, TransitionTimes, pod_phase, pod_status
from tests.unit.node_agent.node_doubles import HOST_IP, IMAGE, make_pod, parsed

pytestmark = pytest.mark.unit

START = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
RUNNING = Running(started_at=START, pid=7, start_ticks=9)
WAITING = Waiting(reason="ContainerCreating")


def ended(code: int) -> Terminated:
    return Terminated(
        exit_code=code,
        reason="Completed" if code == 0 else "Error",
        container_id="process://a",
        started_at=START,
        finished_at=START + timedelta(seconds=5),
    )


def situation(records: dict[str, ContainerRecord], *, terminating: bool = False, **spec: Any) -> PodSituation:
    return PodSituation(
        pod=make_pod(**spec),
        records=records,
        pod_ip="127.77.0.1",
        host_ip=HOST_IP,
        start_time=START,
        volumes_ready=True,
        terminating=terminating,
    )


def written(case: PodSituation, now: datetime = START) -> dict[str, Any]:
    return pod_status(case, TransitionTimes(case.pod), now)


def condition(kind: str, status: str, reason: str | None = None, message: str | None = None) -> dict[str, Any]:
    return {
        "type": kind,
        "status": status,
        "observedGeneration": 1,
        "lastProbeTime": None,
        "lastTransitionTime": "2026-01-01T12:00:00Z",
        "reason": reason,
        "message": message,
    }


def test_a_running_and_ready_pod() -> None:
    record = ContainerRecord(state=RUNNING, container_id="process://a", started=True, ready=True)
    assert written(situation({"main": record})) == {
        "phase": "Running",
        "observedGeneration": 1,
        "conditions": [
            condition("PodReadyToStartContainers", "True"),
            condition("Initialized", "True"),
            condition("ContainersReady", "True"),
            condition("Ready", "True"),
        ],
        "hostIP": HOST_IP,
        "hostIPs": [{"ip": HOST_IP}],
        "podIP": "127.77.0.1",
        "podIPs": [{"ip": "127.77.0.1"}],
        "startTime": "2026-01-01T12:00:00Z",
        "containerStatuses": [
            {
                "name": "main",
                "image": IMAGE,
                "imageID": "process://test/program",
                "containerID": "process://a",
                "restartCount": 0,
                "ready": True,
                "started": True,
                "state": {"running": {"startedAt": "2026-01-01T12:00:00Z"}},
                "lastState": {},
            }
        ],
    }


def test_a_pod_that_waits_for_its_start() -> None:
    status = written(situation({"main": ContainerRecord(state=WAITING)}))
    unready = ("False", "ContainersNotReady", "containers with unready status: [main]")
    assert status["phase"] == "Pending"
    assert status["conditions"][2:] == [condition("ContainersReady", *unready), condition("Ready", *unready)]
    assert status["containerStatuses"] == [
        {
            "name": "main",
            "image": IMAGE,
            "imageID": "process://test/program",
            "restartCount": 0,
            "ready": False,
            "started": False,
            "state": {"waiting": {"reason": "ContainerCreating"}},
            "lastState": {},
        }
    ]


def test_a_container_between_two_starts() -> None:
    waiting = Waiting(reason="CrashLoopBackOff", message="back-off 1s")
    record = ContainerRecord(state=waiting, last_terminated=ended(3), restart_count=2, container_id="process://a")
    status = written(situation({"main": record}))
    assert status["phase"] == "Running"
    assert status["containerStatuses"][0]["state"] == {
        "waiting": {"reason": "CrashLoopBackOff", "message": "back-off 1s"}
    }
    assert status["containerStatuses"][0]["lastState"] == {
        "terminated": {
            "exitCode": 3,
            "reason": "Error",
            "startedAt": "2026-01-01T12:00:00Z",
            "finishedAt": "2026-01-01T12:00:05Z",
            "containerID": "process://a",
        }
    }


def test_a_pod_that_is_being_deleted_is_not_ready_though_its_containers_are() -> None:
    record = ContainerRecord(state=RUNNING, container_id="process://a", started=True, ready=True)
    status = written(situation({"main": record}, terminating=True))
    assert status["phase"] == "Running"
    assert [c["status"] for c in status["conditions"]] == ["True", "True", "False", "False"]
    assert [c["ready"] for c in status["containerStatuses"]] == [False]


def test_init_containers_come_first() -> None:
    init = [{"name": "first", "image": IMAGE}, {"name": "second", "image": IMAGE}]
    records = {
        "first": ContainerRecord(state=ended(0)),
        "second": ContainerRecord(state=RUNNING, started=True),
        "main": ContainerRecord(state=Waiting(reason="PodInitializing")),
    }
    status = written(situation(records, initContainers=init))
    assert status["phase"] == "Pending"
    message = "containers with incomplete status: [second]"
    assert status["conditions"][1] == condition("Initialized", "False", "ContainersNotInitialized", message)
    assert [(c["name"], c["ready"]) for c in status["initContainerStatuses"]] == [("first", True), ("second", False)]


def test_a_completed_pod() -> None:
    status = written(situation({"main": ContainerRecord(state=ended(0))}, restartPolicy="Never"))
    assert status["phase"] == "Succeeded"
    assert status["conditions"] == [
        condition("PodReadyToStartContainers", "False"),
        condition("Initialized", "True", "PodCompleted"),
        condition("ContainersReady", "False", "PodCompleted"),
        condition("Ready", "False", "PodCompleted"),
    ]


STATES = {
    "runs": ContainerRecord(state=RUNNING),
    "waits": ContainerRecord(state=WAITING),
    "backs off": ContainerRecord(state=WAITING, last_terminated=ended(1)),
    "succeeded": ContainerRecord(state=ended(0)),
    "failed": ContainerRecord(state=ended(1)),
}


@pytest.mark.parametrize(
    ("policy", "one", "other", "phase"),
    [
        ("Always", "runs", "waits", "Pending"),
        ("Always", "runs", "failed", "Running"),
        ("Always", "failed", "backs off", "Running"),
        ("Always", "succeeded", "succeeded", "Running"),
        ("OnFailure", "succeeded", "succeeded", "Succeeded"),
        ("OnFailure", "succeeded", "failed", "Running"),
        ("OnFailure", "succeeded", "backs off", "Running"),
        ("Never", "succeeded", "runs", "Running"),
        ("Never", "succeeded", "failed", "Failed"),
        ("Never", "succeeded", "succeeded", "Succeeded"),
        ("Never", "failed", "waits", "Pending"),
    ],
)
def test_phases(policy: str, one: str, other: str, phase: str) -> None:
    containers = [{"name": "one", "image": IMAGE}, {"name": "other", "image": IMAGE}]
    records = {"one": STATES[one], "other": STATES[other]}
    assert pod_phase(situation(records, restartPolicy=policy, containers=containers)) == phase


@pytest.mark.parametrize(("state", "phase"), [("succeeded", "Succeeded"), ("failed", "Failed"), ("runs", "Running")])
def test_the_last_phase_of_a_deleted_pod(state: str, phase: str) -> None:
    assert pod_phase(situation({"main": STATES[state]}, terminating=True)) == phase


def test_a_failed_init_container_fails_the_pod_that_is_never_restarted() -> None:
    init = [{"name": "first", "image": IMAGE}]
    records = {"first": STATES["failed"], "main": STATES["waits"]}
    assert pod_phase(situation(records, initContainers=init, restartPolicy="Never")) == "Failed"
    assert pod_phase(situation(records, initContainers=init, restartPolicy="Always")) == "Pending"


def test_a_readiness_gate_holds_the_pod_back() -> None:
    record = ContainerRecord(state=RUNNING, started=True, ready=True)
    case = situation({"main": record}, readinessGates=[{"conditionType": "example.com/open"}])
    message = 'corresponding condition of pod readiness gate "example.com/open" is not True'
    assert written(case)["conditions"][3] == condition("Ready", "False", "ReadinessGatesNotReady", message)
    body = case.pod.to_dict() | {"status": {"conditions": [{"type": "example.com/open", "status": "True"}]}}
    opened = PodSituation(parsed(type(case.pod), body), case.records, "127.77.0.1", HOST_IP, START, True)
    assert written(opened)["conditions"][3]["status"] == "True"


def test_transition_times_change_with_the_status_only_and_outlive_the_agent() -> None:
    ready = ContainerRecord(state=RUNNING, started=True, ready=True)
    case, times = situation({"main": ready}), TransitionTimes(make_pod())
    later, still_later = START + timedelta(seconds=10), START + timedelta(seconds=20)
    before = pod_status(case, times, START)
    assert pod_status(case, times, later) == before
    unready = situation({"main": ready.model_copy(update={"ready": False})})
    changed = [c["lastTransitionTime"][-3:] for c in pod_status(unready, times, later)["conditions"]]
    assert changed == ["00Z", "00Z", "10Z", "10Z"]
    known = parsed(type(case.pod), case.pod.to_dict() | {"status": {"conditions": before["conditions"]}})
    assert pod_status(case, TransitionTimes(known), still_later) == before


def test_an_exit_code_that_nobody_saw_is_reported_as_unknown() -> None:
    end = terminated_from_exit(RUNNING, "process://a", None)
    assert (end.exit_code, end.reason) == (137, "ContainerStatusUnknown")
    assert [terminated_from_exit(RUNNING, "", code).reason for code in (0, 1, 143)] == ["Completed", "Error", "Error"]
