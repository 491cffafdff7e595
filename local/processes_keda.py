"""The processes of KEDA and of its HTTP add-on in the embedded cluster; the others are in processes.py."""

from __future__ import annotations

from local.layout import (
    EXTERNAL_SCALER_PORT,
    INTERCEPTOR_ADMIN_PORT,
    INTERCEPTOR_PROXY_PORT,
    KEDA_METRICS_PORT,
    NODE_ADDRESS,
    ClusterFiles,
    tool,
)
from local.process import Process

KEDA_NAMESPACE = "keda"


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
