"""The processes of the embedded cluster: what they are, need, and when they are ready.

Every program is the real one at its pinned version; what is unusual for a
cluster is said beside the flag. `SPECIFICATIONS` is in start order.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from components.observability.scraping import OBJECT_LABELS
from local.layout import (
    API_PORT,
    EXTERNAL_SCALER_PORT,
    FAKE_POD_CIDR,
    INTERCEPTOR_ADMIN_PORT,
    INTERCEPTOR_PROXY_PORT,
    KEDA_METRICS_PORT,
    KUBE_STATE_METRICS_PORT,
    NODE_ADDRESS,
    PROCESS_POD_CIDR,
    PROMETHEUS_PORT,
    SERVICE_CIDR,
    ClusterFiles,
    tool,
)

ETCD_URL = "https://127.0.0.1:2379"
ETCD_PEER_URL = "http://127.0.0.1:2380"
KEDA_NAMESPACE = "keda"


@dataclass(frozen=True)
class Process:
    """One supervised process.

    Attributes:
        name: shown to the user, and the name of its log.
        command: program and arguments.
        environment: added to the supervisor's own small environment.
        needs: names of processes, or ``objects`` (the cluster's base objects), that
            must be ready before this one starts.
        ready: URL that answers below 400, or ``tcp://host:port`` that accepts, when
            the process is ready; "" when running is enough.
    """

    name: str
    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    ready: str = ""


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
        environment={"INFERENCE_PLATFORM_LISTENERS": os.environ.get("INFERENCE_PLATFORM_LISTENERS", "")},
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


def keda_operator(files: ClusterFiles) -> Process:
    """KEDA: scales 0 <-> 1 and makes the HPAs."""
    return Process(
        name="keda-operator",
        command=(
            tool("keda-operator"),
            f"--kubeconfig={files.kubeconfig_of('keda')}",
            f"--cert-dir={files.configuration / 'keda'}",
            "--enable-cert-rotation=false",
            "--enable-webhook-patching=false",
            "--enable-apiservice-patching=false",
            "--leader-elect=false",
            # Each message of a push trigger costs several calls. At the default of 20 calls a second the messages
            # of a busy model pile up, and are taken for activity long after it has ended.
            "--kube-api-qps=200",
            "--kube-api-burst=400",
            "--metrics-service-bind-address=127.0.0.1:9666",
            "--metrics-bind-address=127.0.0.1:18082",
            "--health-probe-bind-address=127.0.0.1:18083",
        ),
        environment=keda_environment(),
        needs=("objects",),
        ready="http://127.0.0.1:18083/readyz",
    )


def keda_metrics_apiserver(files: ClusterFiles) -> Process:
    """KEDA's metrics server: what the HPA reads through the API server."""
    kubeconfig = str(files.kubeconfig_of("keda"))
    certificates = files.configuration / "keda"
    return Process(
        name="keda-metrics-apiserver",
        command=(
            tool("keda-metrics-apiserver"),
            *(
                f"--{flag}={kubeconfig}"
                for flag in (
                    "kubeconfig",
                    "lister-kubeconfig",
                    "authentication-kubeconfig",
                    "authorization-kubeconfig",
                )
            ),
            f"--bind-address={NODE_ADDRESS}",
            f"--secure-port={KEDA_METRICS_PORT}",
            f"--tls-cert-file={certificates / 'tls.crt'}",
            f"--tls-private-key-file={certificates / 'tls.key'}",
            f"--client-ca-file={certificates / 'ca.crt'}",
            f"--cert-dir={certificates}",
            "--metrics-service-address=127.0.0.1:9666",
            "--port=18084",
        ),
        environment=keda_environment(),
        needs=("objects",),
        ready=f"tcp://{NODE_ADDRESS}:{KEDA_METRICS_PORT}",
    )


def keda_environment() -> dict[str, str]:
    """KEDA asks its own pod's namespace of the environment."""
    return {
        "WATCH_NAMESPACE": "",
        "POD_NAMESPACE": KEDA_NAMESPACE,
        "KEDA_CLUSTER_OBJECT_NAMESPACE": KEDA_NAMESPACE,
    }


def keda_http_interceptor(files: ClusterFiles) -> Process:
    """Counts the requests in flight per model, and so wakes models."""
    return Process(
        name="keda-http-interceptor",
        command=(tool("keda-http-interceptor"),),
        environment={
            "KUBECONFIG": str(files.kubeconfig_of("keda-http-interceptor")),
            "KEDA_HTTP_PROXY_PORT": str(INTERCEPTOR_PROXY_PORT),
            "KEDA_HTTP_ADMIN_PORT": str(INTERCEPTOR_ADMIN_PORT),
            "OTEL_PROM_EXPORTER_PORT": "18223",
            # A long prompt on a queue may take longer than the default 300 s to its first byte.
            "KEDA_HTTP_RESPONSE_HEADER_TIMEOUT": "3600s",
        },
        needs=("objects",),
        ready=f"tcp://{NODE_ADDRESS}:{INTERCEPTOR_PROXY_PORT}",
    )


def keda_http_external_scaler(files: ClusterFiles) -> Process:
    """Tells KEDA of requests in flight; looks at the interceptor every 50 ms, so that a wake-up starts soon."""
    return Process(
        name="keda-http-external-scaler",
        command=(tool("keda-http-external-scaler"),),
        environment={
            "KUBECONFIG": str(files.kubeconfig_of("keda-http-external-scaler")),
            "KEDA_HTTP_SCALER_TARGET_ADMIN_NAMESPACE": KEDA_NAMESPACE,
            "KEDA_HTTP_SCALER_TARGET_ADMIN_DEPLOYMENT": "keda-add-ons-http-interceptor",
            "KEDA_HTTP_SCALER_TARGET_ADMIN_SERVICE": "keda-add-ons-http-interceptor-admin",
            "KEDA_HTTP_SCALER_TARGET_ADMIN_PORT": str(INTERCEPTOR_ADMIN_PORT),
            "KEDA_HTTP_SCALER_PORT": str(EXTERNAL_SCALER_PORT),
            "KEDA_HTTP_QUEUE_TICK_DURATION": "50ms",
            # Shorter than KEDA can work through, it would pile up (see keda_operator).
            "KEDA_HTTP_SCALER_STREAM_INTERVAL_MS": "200",
            "OTEL_PROM_EXPORTER_PORT": "18224",
        },
        needs=("objects",),
        ready=f"tcp://{NODE_ADDRESS}:{EXTERNAL_SCALER_PORT}",
    )


def keda_http_operator(files: ClusterFiles) -> Process:
    """Sets the conditions of InterceptorRoutes."""
    return Process(
        name="keda-http-operator",
        command=(
            tool("keda-http-operator"),
            "--metrics-bind-address=127.0.0.1:18085",
            "--health-probe-bind-address=127.0.0.1:18086",
        ),
        environment={
            "KUBECONFIG": str(files.kubeconfig_of("keda-http-operator")),
            "KEDA_HTTP_OPERATOR_EXTERNAL_SCALER_SERVICE": "keda-add-ons-http-external-scaler",
            "KEDA_HTTP_OPERATOR_EXTERNAL_SCALER_PORT": "9090",
            "KEDA_HTTP_OPERATOR_NAMESPACE": KEDA_NAMESPACE,
        },
        needs=("objects",),
        ready="http://127.0.0.1:18086/healthz",
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
