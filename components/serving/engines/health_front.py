"""A front for engines whose health is not at /health, the one path that the router asks: HAProxy, in their pod.

It takes the pod's port and sends everything on to the engine, /health to the path that the engine has.
"""

from __future__ import annotations

from typing import Final

from pulumi_kubernetes.core.v1 import ContainerArgs, ContainerPortArgs, ResourceRequirementsArgs, VolumeMountArgs

from components.pods import NOBODY, confined, http_probe, pod_ip
from components.serving.engines.base import HEALTH
from components.timing import GENERATION_SECONDS
from components.versions import HAPROXY

FOLDER: Final = "/usr/local/etc/haproxy"
FILE: Final = "haproxy.cfg"
OWN_HEALTH: Final = "/front-health"
CPU, MEMORY = "100m", "128Mi"


def configuration(health_path: str, port: int, engine_port: int) -> str:
    """The text of haproxy.cfg; it reads the pod's address from POD_IP.

    Args:
        health_path: of the engine.
        port: to listen on.
        engine_port: where the engine listens, on the same address.
    """
    return f"""global
    log stdout format raw local0
    no strict-limits

defaults
    mode http
    option http-keep-alive
    timeout connect 5s
    timeout http-request 30s
    timeout http-keep-alive 1h
    timeout client {GENERATION_SECONDS}s
    timeout server {GENERATION_SECONDS}s

frontend pod
    bind "${{POD_IP}}:{port}"
    monitor-uri {OWN_HEALTH}
    http-request set-path {health_path} if {{ path {HEALTH} }}
    default_backend engine

backend engine
    server engine "${{POD_IP}}:{engine_port}"
"""


def front(port: int, volume: str) -> ContainerArgs:
    """The sidecar: it is there before the engine and goes after it.

    Args:
        port: that it takes.
        volume: that has its configuration.
    """
    return ContainerArgs(
        name="front",
        image=HAPROXY,
        restart_policy="Always",
        args=["-f", f"{FOLDER}/{FILE}"],
        env=[pod_ip()],
        ports=[ContainerPortArgs(name="http", container_port=port)],
        resources=ResourceRequirementsArgs(requests={"cpu": CPU, "memory": MEMORY}, limits={"memory": MEMORY}),
        security_context=confined(NOBODY),
        liveness_probe=http_probe(OWN_HEALTH, port, period=5),
        volume_mounts=[VolumeMountArgs(name=volume, mount_path=FOLDER, read_only=True)],
    )
