"""Decides which pods are the agent's and keeps one runner for each."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from lightkube.resources.core_v1 import Node, Pod

from local.node_agent.addresses import AddressesExhaustedError
from local.node_agent.fields import meta, spec
from local.node_agent.informer import DELETED, Changed, Listed, follow
from local.node_agent.leftovers import kill_unattended
from local.node_agent.pod_folder import recorded
from local.node_agent.pod_runner import PodRunner
from local.node_agent.surroundings import NodeFacts, Surroundings

log = logging.getLogger(__name__)

# KWOK's own mark of the nodes that it plays; ours are the same nodes.
NODE_ANNOTATION = ("kwok.x-k8s.io/node", "fake")
RUN_AGAIN_SECONDS = 5.0


class Agent:
    """The kubelet of all fake nodes, for the pods whose images are in the table."""

    def __init__(self, surroundings: Surroundings, node_labels: Mapping[str, str], default_host_ip: str) -> None:
        """Nothing happens before `run`.

        Args:
            surroundings: what all pods share.
            node_labels: labels that a node must have; empty: every fake node.
            default_host_ip: for nodes that state no InternalIP.
        """
        self._around = surroundings
        self._node_labels = dict(node_labels)
        self._default_host_ip = default_host_ip
        self._nodes: dict[str, NodeFacts] = {}
        # Pods of ours by image, by uid: run as soon as their node turns out to be ours too.
        self._waiting: dict[str, Pod] = {}
        self._runners: dict[str, PodRunner] = {}
        # Deleted by us, until the watch says so too: their last events must not start them again.
        self._finished: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._nodes_known = asyncio.Event()
        self._leftovers_gone = False

    async def run(self) -> None:
        """Follow nodes and pods for ever. Cancelled, it leaves all processes as they are."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow_nodes())
                group.create_task(self._follow_pods())
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- nodes --------------------------------------------------------------------------------------

    async def _follow_nodes(self) -> None:
        api = self._around.api
        async for news in follow("nodes", api.list_nodes, api.watch_nodes):
            if isinstance(news, Listed):
                self._nodes = {}
                for node in news.objects:
                    self._take_node(node)
                self._nodes_known.set()
            elif news.kind == DELETED:
                self._nodes.pop((news.item.metadata and news.item.metadata.name) or "", None)
            else:
                self._take_node(news.item)
            self._run_waiting()

    def _take_node(self, node: Node) -> None:
        name = (node.metadata and node.metadata.name) or ""
        if not self._is_ours(node):
            self._nodes.pop(name, None)
            return
        addresses = (node.status.addresses if node.status else None) or []
        internal = [address.address for address in addresses if address.type == "InternalIP"]
        allocatable = (node.status.allocatable if node.status else None) or {}
        self._nodes[name] = NodeFacts(
            internal[0] if internal else self._default_host_ip,
            {resource: str(amount) for resource, amount in allocatable.items()},
        )

    def _is_ours(self, node: Node) -> bool:
        annotations = (node.metadata and node.metadata.annotations) or {}
        labels = (node.metadata and node.metadata.labels) or {}
        name, value = NODE_ANNOTATION
        return annotations.get(name) == value and self._node_labels.items() <= labels.items()

    # --- pods ---------------------------------------------------------------------------------------

    async def _follow_pods(self) -> None:
        # Without the nodes no pod could be told to be ours, and its processes would be taken for leftovers.
        await self._nodes_known.wait()
        api = self._around.api
        async for news in follow("pods", api.list_pods, api.watch_pods):
            if isinstance(news, Listed):
                self._take_all(news.objects)
            else:
                self._take_change(news)

    def _take_all(self, pods: list[Pod]) -> None:
        present = {meta(pod).uid or "" for pod in pods}
        for uid, runner in self._runners.items():
            if uid not in present:
                runner.gone()
        self._waiting = {}
        self._finished &= present
        for pod in pods:
            self._take_pod(pod)
        if not self._leftovers_gone:
            self._leftovers_gone = True
            self._remove_leftovers(present)

    def _take_change(self, change: Changed[Pod]) -> None:
        uid = meta(change.item).uid or ""
        if change.kind != DELETED:
            self._take_pod(change.item)
            return
        self._waiting.pop(uid, None)
        self._finished.discard(uid)
        if uid in self._runners:
            self._runners[uid].gone()

    def _take_pod(self, pod: Pod) -> None:
        uid = meta(pod).uid or ""
        if uid in self._runners:
            self._runners[uid].update(pod)
        elif uid not in self._finished and self._knows_images(pod):
            self._waiting[uid] = pod
            self._run_waiting()

    def _knows_images(self, pod: Pod) -> bool:
        containers = (*(spec(pod).initContainers or []), *spec(pod).containers)
        return self._around.table.knows_all(container.image for container in containers)

    def _run_waiting(self) -> None:
        ours = [uid for uid, pod in self._waiting.items() if spec(pod).nodeName in self._nodes]
        for uid in ours:
            self._run_pod(self._waiting.pop(uid))

    def _run_pod(self, pod: Pod) -> None:
        uid = meta(pod).uid or ""
        try:
            runner = PodRunner(pod, self._nodes[spec(pod).nodeName or ""], self._around)
        except AddressesExhaustedError as error:
            log.error("%s/%s cannot run: %s", meta(pod).namespace, meta(pod).name, error)  # noqa: TRY400
            return
        self._runners[uid] = runner
        task = asyncio.create_task(self._accompany(uid, runner))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accompany(self, uid: str, runner: PodRunner) -> None:
        """Run a pod to its end. A fault is logged, and the pod taken up again from its record."""
        try:
            await runner.run()
        except Exception:
            log.exception("%s/%s: fault of the node agent", meta(runner.pod).namespace, meta(runner.pod).name)
            await asyncio.sleep(RUN_AGAIN_SECONDS)
            self._run_again(uid, runner)
            return
        del self._runners[uid]
        self._finished.add(uid)

    def _run_again(self, uid: str, runner: PodRunner) -> None:
        del self._runners[uid]
        self._waiting[uid] = runner.pod
        self._run_waiting()
        if runner.is_gone and uid in self._runners:
            self._runners[uid].gone()

    # --- what an earlier agent has left -------------------------------------------------------------

    def _remove_leftovers(self, present: set[str]) -> None:
        """After the first list: end the processes and forget the files of pods that do not exist any more."""
        attended = {container for runner in self._runners.values() for container in runner.running_containers}
        killed = kill_unattended(self._around.mark, attended)
        for folder in recorded(self._around.pods):
            record = folder.load()
            if record is None or record.uid not in present:
                folder.keep_only_logs()
        self._around.addresses.keep_only(present)
        log.info("%d pods taken over, %d leftover processes ended", len(self._runners), killed)
