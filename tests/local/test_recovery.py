"""Any one process is killed under load: the system recovers by itself, and requests fail only where their holder died.

The traffic is light and the engines are simulators. A cluster's kernel proxy would not lose the connections that
the user-space Service proxy loses here.
"""

from __future__ import annotations

import os
import select
import signal

import pytest

from local import cluster
from tests.local.conftest import Environment, until
from tests.local.processes import engine_at, supervised
from tests.local.traffic import Traffic

pytestmark = pytest.mark.local

# No request passes through these: not one may fail.
BESIDE_THE_PATH = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "coredns",
    "kwok",
    "node-agent",
    "prometheus",
    "keda-operator",
    "keda-metrics-apiserver",
    "keda-http-external-scaler",
    "keda-http-operator",
]
# Every request passes through these: what they hold when they die is lost at most.
ON_THE_PATH = ["forwarder", "service-proxy", "keda-http-interceptor"]


def kill(process: int) -> None:
    """Kill a process and wait for its end: until then its sockets take connections, which end with it."""
    handle = os.pidfd_open(process)
    try:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        ended, _, _ = select.select([handle], [], [], 10)
        assert ended, f"process {process} lives 10 s after SIGKILL"
    finally:
        os.close(handle)


def kill_in(traffic: Traffic, process: int) -> set[int]:
    """Kill a process; the ids of the requests that it may have held.

    In flight before, in flight after, or sent between: a request can fail before we have looked again.
    """
    sent, held = len(traffic.sent), {id(entry) for entry in traffic.in_flight()}
    kill(process)
    return held | {id(entry) for entry in (*traffic.in_flight(), *traffic.sent[sent:])}


def kill_under_load(environment: Environment, process: str) -> tuple[Traffic, set[int]]:
    """Kill a process in the middle of traffic, wait for its recovery and some more traffic.

    Returns:
        The traffic, ended, and the ids of the requests that were in flight when the process died.
    """
    files = environment.files
    restarts = cluster.status(files)["processes"][process]["restarts"]
    with Traffic(environment.url, "chat") as traffic:
        until(lambda: traffic.answered() >= 10, 60, "answers before the kill")
        held = kill_in(traffic, supervised(files, process))
        until(lambda: cluster.status(files)["processes"][process]["restarts"] > restarts, 10, f"{process} restarted")
        until(lambda: cluster.status(files)["ready"], 30, f"the cluster ready again after {process}")
        answered = traffic.answered()
        until(lambda: traffic.answered() >= answered + 10, 30, "answers after the recovery")
    return traffic, held


@pytest.mark.parametrize("process", BESIDE_THE_PATH)
def test_no_request_fails_when_a_process_beside_the_path_dies(environment: Environment, process: str) -> None:
    traffic, _ = kill_under_load(environment, process)
    assert [entry.answer for entry in traffic.failed()] == []


@pytest.mark.parametrize("process", ON_THE_PATH)
def test_only_requests_in_its_hands_fail_when_a_process_on_the_path_dies(
    environment: Environment,
    process: str,
    record_property: pytest.RecordProperty,  # type: ignore[name-defined]
) -> None:
    traffic, held = kill_under_load(environment, process)
    failed = traffic.failed()
    record_property("failed", len(failed))
    print(f"{process}: {len(failed)} of {len(traffic.sent)} requests failed, {len(held)} were in its hands")
    assert [(entry.at - traffic.sent[0].at, entry.answer) for entry in failed if id(entry) not in held] == []


def test_only_its_own_requests_fail_when_an_engine_dies(environment: Environment) -> None:
    """The agent starts it again in the same pod; requests that had no answer yet move to another engine."""
    with Traffic(environment.url, "chat", per_second=30, tokens=300) as traffic:
        until(lambda: environment.replicas("chat")[1] >= 2, 60, "two engines ready")
        victim = environment.engine_pods("chat")[0]
        assert victim.status is not None
        assert victim.status.podIP is not None
        before = victim.status.containerStatuses[0].restartCount if victim.status.containerStatuses else 0
        held = kill_in(traffic, engine_at(environment.files, victim.status.podIP))
        answered = traffic.answered()
        until(lambda: traffic.answered() >= answered + 50, 60, "answers after the kill")
    failed = traffic.failed()
    print(f"engine: {len(failed)} of {len(traffic.sent)} requests failed, {len(held)} were in flight on all engines")
    assert [entry.answer for entry in failed if id(entry) not in held] == []
    name = victim.metadata.name if victim.metadata else None
    again = [pod for pod in environment.engine_pods("chat") if pod.metadata and pod.metadata.name == name]
    counts = [
        pod.status.containerStatuses[0].restartCount for pod in again if pod.status and pod.status.containerStatuses
    ]
    assert counts in ([before + 1], []), "started again in place, or scaled away since"


def test_process_1_is_a_power_cut_and_the_environment_comes_back(environment: Environment) -> None:
    """Everything dies, the store survives, all pods are started again."""
    first = int((environment.files.run / "cluster.pid").read_text())
    os.kill(first, signal.SIGKILL)
    until(lambda: int((environment.files.run / "cluster.pid").read_text()) != first, 20, "a new process 1")
    until(lambda: cluster.status(environment.files)["ready"], 40, "the cluster ready again")
    with Traffic(environment.url, "code", per_second=1, tokens=5) as traffic:
        until(lambda: traffic.answered() >= 3, 60, "answers after the power cut")
