"""The processes of the embedded cluster: what they are, need, and when they are ready.

Every program is the real one at its pinned version; what is unusual for a
cluster is said beside the flag. `SPECIFICATIONS` is in start order.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from components.observability.scraping import OBJECT_LABELS
from local.forwarder import LISTENERS_VARIABLE
from local.layout import (
    API_PORT,
    FAKE_POD_CIDR,
    KUBE_STATE_METRICS_PORT,
    NODE_ADDRESS,
    PROCESS_POD_CIDR,
    PROMETHEUS_PORT,
    SERVICE_CIDR,
    ClusterFiles,
    tool,
)
from local.process import Process
from local.processes_keda import (
    keda_http_external_scaler,
    keda_http_interceptor,
    keda_http_operator,
    keda_metrics_apiserver,
    keda_operator,
)

ETCD_URL = "https://127.0.0.1:2379"
ETCD_PEER_URL = "http://127.0.0.1:2380"


def etcd(files: ClusterFiles) -> Process:
    """The store. Writes are not synced to disk: a test cluster, killed often, on one machine."""
    certificates = files.certificates
    return Process(
        name="etcd",
        command=(
            tool("etcd"),
            f"--data-dir={files.state / 'etcd'}",
            "--unsafe-no-fsync",
            f"--listen-client-urls={ETCD_URL}",
            f"--advertise-client-urls={ETCD_URL}",
            f"--listen-peer-urls={ETCD_PEER_URL}",
            f"--initial-advertise-peer-urls={ETCD_PEER_URL}",
            f"--initial-cluster=default={ETCD_PEER_URL}",
            "--client-cert-auth",
            f"--trusted-ca-file={certificates / 'etcd-ca.crt'}",
            f"--cert-file={certificates / 'etcd.crt'}",
            f"--key-file={certificates / 'etcd.key'}",
            "--log-level=warn",
        ),
        ready="tcp://127.0.0.1:2379",
    )


def kube_apiserver(files: ClusterFiles) -> Process:
    """The API server: RBAC, TLS, aggregation towards KEDA's metrics server."""
    c = files.certificates
    return Process(
        name="kube-apiserver",
        command=(
            tool("kube-apiserver"),
            "--bind-address=0.0.0.0",
            f"--secure-port={API_PORT}",
            f"--advertise-address={NODE_ADDRESS}",
            f"--service-cluster-ip-range={SERVICE_CIDR}",
            "--authorization-mode=Node,RBAC",
            "--anonymous-auth=false",
            # The node-lifecycle controller is off, so nobody would take this plugin's taint away.
            "--disable-admission-plugins=TaintNodesByCondition",
            f"--etcd-servers={ETCD_URL}",
            f"--etcd-cafile={c / 'etcd-ca.crt'}",
            f"--etcd-certfile={c / 'etcd-client.crt'}",
            f"--etcd-keyfile={c / 'etcd-client.key'}",
            f"--client-ca-file={c / 'ca.crt'}",
            f"--tls-cert-file={c / 'server.crt'}",
            f"--tls-private-key-file={c / 'server.key'}",
            f"--service-account-key-file={c / 'service-account.pub'}",
            f"--service-account-signing-key-file={c / 'service-account.key'}",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--requestheader-client-ca-file={c / 'front-proxy-ca.crt'}",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-username-headers=X-Remote-User",
            f"--proxy-client-cert-file={c / 'front-proxy-client.crt'}",
            f"--proxy-client-key-file={c / 'front-proxy-client.key'}",
            "--enable-aggregator-routing=true",
            "--profiling=false",
            f"--cert-dir={files.run}",
        ),
        needs=("etcd",),
        ready=f"https://{NODE_ADDRESS}:{API_PORT}/readyz",
    )


def kube_controller_manager(files: ClusterFiles) -> Process:
    """The controllers. The HPA looks every 2 s (15 s in a cluster) so that scaling can be watched."""
    c = files.certificates
    kubeconfig = str(files.kubeconfig_of("kube-controller-manager"))
    return Process(
        name="kube-controller-manager",
        command=(
            tool("kube-controller-manager"),
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            "--bind-address=127.0.0.1",
            "--use-service-account-credentials=true",
            "--leader-elect=false",
            f"--root-ca-file={c / 'ca.crt'}",
            f"--service-account-private-key-file={c / 'service-account.key'}",
            "--horizontal-pod-autoscaler-sync-period=2s",
            "--controllers=*,-nodeipam,-node-route-controller,-cloud-node-lifecycle-controller,"
            "-service-lb-controller,-node-lifecycle-controller",
            "--profiling=false",
            f"--cert-dir={files.run}",
        ),
        needs=("kube-apiserver",),
        ready="tcp://127.0.0.1:10257",
    )


def kube_scheduler(files: ClusterFiles) -> Process:
    """The scheduler, with its defaults."""
    kubeconfig = str(files.kubeconfig_of("kube-scheduler"))
    return Process(
        name="kube-scheduler",
        command=(
            tool("kube-scheduler"),
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            "--bind-address=127.0.0.1",
            "--leader-elect=false",
            f"--cert-dir={files.run}",
        ),
        needs=("kube-apiserver",),
        ready="tcp://127.0.0.1:10259",
    )


def coredns(files: ClusterFiles) -> Process:
    """Name resolution of Pods and Services."""
    return Process(
        name="coredns",
        command=(tool("coredns"), "-conf", str(files.configuration / "Corefile")),
        needs=("objects",),
        ready=f"http://{NODE_ADDRESS}:18181/ready",
    )


def kwok(files: ClusterFiles) -> Process:
    """Nodes that are not there, and the life of pods whose image no process stands for."""
    return Process(
        name="kwok",
        command=(
            tool("kwok"),
            f"--kubeconfig={files.kubeconfig_of('kwok')}",
            f"--config={files.configuration / 'kwok-stages.yaml'}",
            "--manage-all-nodes=false",
            "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
            f"--cidr={FAKE_POD_CIDR}",
            f"--node-ip={NODE_ADDRESS}",
            "--node-lease-duration-seconds=40",
            f"--server-address={NODE_ADDRESS}:18247",
        ),
        needs=("objects",),
        ready=f"http://{NODE_ADDRESS}:18247/healthz",
    )


def service_proxy(files: ClusterFiles) -> Process:
    """What kube-proxy does, in user space."""
    return Process(
        name="service-proxy",
        command=(
            sys.executable,
            "-m",
            "local.service_proxy",
            f"--kubeconfig={files.kubeconfig_of('service-proxy')}",
        ),
        needs=("kube-apiserver",),
    )


def node_agent(files: ClusterFiles) -> Process:
    """What a kubelet does, with processes in place of containers."""
    return Process(
        name="node-agent",
        command=(
            sys.executable,
            "-m",
            "local.node_agent",
            f"--kubeconfig={files.kubeconfig_of('node-agent')}",
            f"--state-dir={files.state / 'pods'}",
            f"--pod-cidr={PROCESS_POD_CIDR}",
        ),
        needs=("objects",),
    )


def forwarder(files: ClusterFiles) -> Process:
    """Brings connections to the host's 127.0.0.1 into the namespace."""
    return Process(
        name="forwarder",
        command=(
            sys.executable,
            "-m",
            "local.forwarder",
            f"--kubeconfig={files.kubeconfig_of('service-proxy')}",
        ),
        environment={LISTENERS_VARIABLE: os.environ.get(LISTENERS_VARIABLE, "")},
    )


def prometheus(files: ClusterFiles) -> Process:
    """Prometheus, finding pods by their annotations."""
    return Process(
        name="prometheus",
        command=(
            tool("prometheus"),
            f"--config.file={files.configuration / 'prometheus.yaml'}",
            f"--storage.tsdb.path={files.state / 'prometheus'}",
            "--storage.tsdb.retention.time=1d",
            # The rule loader tells it when rules have changed.
            "--web.enable-lifecycle",
            f"--web.listen-address={NODE_ADDRESS}:{PROMETHEUS_PORT}",
            "--log.level=warn",
        ),
        needs=("objects",),
        ready=f"http://{NODE_ADDRESS}:{PROMETHEUS_PORT}/-/ready",
    )


def rule_loader(files: ClusterFiles) -> Process:
    """PrometheusRule objects become Prometheus' rule files, as the Prometheus operator does it."""
    return Process(
        name="rule-loader",
        command=(
            sys.executable,
            "-m",
            "local.rule_loader",
            f"--kubeconfig={files.kubeconfig_of('rule-loader')}",
            f"--folder={files.rules}",
            f"--prometheus=http://{NODE_ADDRESS}:{PROMETHEUS_PORT}",
        ),
        needs=("objects",),
    )


def kube_state_metrics(files: ClusterFiles) -> Process:
    """What the objects in the API say, as metrics: nodes, pods, Deployments, autoscalers."""
    return Process(
        name="kube-state-metrics",
        command=(
            tool("kube-state-metrics"),
            f"--kubeconfig={files.kubeconfig_of('kube-state-metrics')}",
            "--resources=nodes,pods,deployments,horizontalpodautoscalers",
            f"--metric-labels-allowlist={','.join(OBJECT_LABELS)}",
            "--host=127.0.0.1",
            f"--port={KUBE_STATE_METRICS_PORT}",
            "--telemetry-host=127.0.0.1",
            f"--telemetry-port={KUBE_STATE_METRICS_PORT + 1}",
        ),
        needs=("objects",),
        ready=f"http://127.0.0.1:{KUBE_STATE_METRICS_PORT}/livez",
    )


SPECIFICATIONS: tuple[Callable[[ClusterFiles], Process], ...] = (
    forwarder,
    etcd,
    kube_apiserver,
    kube_controller_manager,
    kube_scheduler,
    service_proxy,
    coredns,
    keda_operator,
    keda_metrics_apiserver,
    node_agent,
    kwok,
    prometheus,
    rule_loader,
    kube_state_metrics,
    keda_http_interceptor,
    keda_http_external_scaler,
    keda_http_operator,
)
