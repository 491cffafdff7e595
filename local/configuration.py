"""Configuration files of the cluster's processes, written afresh at every start."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import yaml

from components.observability.scraping import pod_scrape_job
from local.certificates import IDENTITIES, write
from local.layout import API_PORT, DNS_ADDRESS, KUBE_STATE_METRICS_PORT, NODE_ADDRESS, ClusterFiles, share
from local.node_agent.images import known_images

SIMULATED_DCGM_PATH = "/simulated-dcgm"
"""Of an engine simulator; its module is not imported here, since it loads a web server."""

COREFILE = """cluster.local:53 in-addr.arpa:53 {{
    bind {dns}
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {kubeconfig}
        ttl 1
    }}
    ready {node}:18181
    errors
}}
.:53 {{
    bind {dns}
    # The namespace has no other network: say so at once instead of letting lookups time out.
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"""


def write_all(files: ClusterFiles, api_port: int) -> None:
    """Write every file that a process of the cluster reads.

    Args:
        files: the cluster's folders.
        api_port: port on the host's 127.0.0.1 that leads to the API server.
    """
    for name in IDENTITIES:
        write_kubeconfig(files, name, f"https://{NODE_ADDRESS}:{API_PORT}", files.kubeconfig_of(name))
    write_kubeconfig(files, "admin", f"https://127.0.0.1:{api_port}", files.kubeconfig)
    write_keda_certificates(files)
    corefile = COREFILE.format(dns=DNS_ADDRESS, node=NODE_ADDRESS, kubeconfig=files.kubeconfig_of("coredns"))
    write(files.configuration / "Corefile", corefile.encode())
    write_yaml(files.configuration / "prometheus.yaml", [prometheus_configuration(files)])
    write_yaml(files.configuration / "kwok-stages.yaml", kwok_stages())


def write_kubeconfig(files: ClusterFiles, identity: str, server: str, path: Path) -> None:
    """Access for one identity, certificates included, so that the file can be moved."""

    def encoded(name: str) -> str:
        return base64.b64encode((files.certificates / name).read_bytes()).decode()

    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "local",
        "clusters": [{"name": "local", "cluster": {"server": server, "certificate-authority-data": encoded("ca.crt")}}],
        "contexts": [{"name": "local", "context": {"cluster": "local", "user": identity}}],
        "users": [
            {
                "name": identity,
                "user": {
                    "client-certificate-data": encoded(f"{identity}.crt"),
                    "client-key-data": encoded(f"{identity}.key"),
                },
            }
        ],
    }
    write_yaml(path, [document])


def write_yaml(path: Path, documents: list[dict[str, Any]]) -> None:
    """Write YAML documents, readable by the owner alone."""
    write(path, yaml.safe_dump_all(documents, sort_keys=False).encode())


def write_keda_certificates(files: ClusterFiles) -> None:
    """KEDA looks for fixed names in one folder."""
    folder = files.configuration / "keda"
    folder.mkdir(exist_ok=True)
    for source, target in (("ca.crt", "ca.crt"), ("server.crt", "tls.crt"), ("server.key", "tls.key")):
        write(folder / target, (files.certificates / source).read_bytes())


def prometheus_configuration(files: ClusterFiles) -> dict[str, Any]:
    """Scrape all pods that ask for it, every second.

    A cluster scrapes every 15 to 30 s; here waking and scaling are to be watched.
    """
    return {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(files.rules / "*.yaml")],
        "scrape_configs": [
            pod_scrape_job({"kubeconfig_file": str(files.kubeconfig_of("prometheus"))}),
            simulated_dcgm_job(files),
            {"job_name": "keda-operator", "static_configs": [{"targets": ["127.0.0.1:18082"]}]},
            {
                "job_name": "kube-state-metrics",
                # Namespace, pod and node are those that a series is about.
                "honor_labels": True,
                "static_configs": [{"targets": [f"127.0.0.1:{KUBE_STATE_METRICS_PORT}"]}],
            },
            {"job_name": "keda-http-interceptor", "static_configs": [{"targets": ["127.0.0.1:18223"]}]},
        ],
    }


def simulated_dcgm_job(files: ClusterFiles) -> dict[str, Any]:
    """The simulated GPUs of engine pods, which a cluster's DCGM exporter would tell of real ones."""
    job = pod_scrape_job({"kubeconfig_file": str(files.kubeconfig_of("prometheus"))})
    component = "__meta_kubernetes_pod_label_inference_platform_component"
    engines = {"source_labels": [component], "regex": "engine", "action": "keep"}
    # The exporter knows a GPU's pod and node, and nothing of models.
    page = [
        {"target_label": "__metrics_path__", "replacement": SIMULATED_DCGM_PATH},
        {"regex": "inference_(model|component)", "action": "labeldrop"},
    ]
    return {**job, "job_name": "simulated-dcgm", "relabel_configs": [engines, *job["relabel_configs"], *page]}


def kwok_stages() -> list[dict[str, Any]]:
    """KWOK's own stages for nodes and pods, with two changes.

    Nodes take their capacity from the annotation that the node pool set, since the API
    server ignores a status that is applied with the object. Pods whose image a process
    stands for are left to the node agent.
    """
    stages = [
        load_stage("node/fast/node-initialize.yaml"),
        load_stage("node/heartbeat-with-lease/node-heartbeat-with-lease.yaml"),
        *(load_stage(f"pod/fast/pod-{name}.yaml") for name in ("ready", "complete", "delete")),
    ]
    for stage in stages:
        if stage["spec"]["resourceRef"]["kind"] == "Pod":
            stage["spec"]["selector"]["matchExpressions"].append(only_unknown_images())
        if stage["metadata"]["name"] == "node-initialize":
            use_capacity_annotation(stage)
    return stages


def load_stage(relative: str) -> dict[str, Any]:
    """One Stage as KWOK ships it."""
    stage: dict[str, Any] = yaml.safe_load((share("kwok/stage") / relative).read_text())
    return stage


def only_unknown_images() -> dict[str, Any]:
    """Selects pods that have a container whose image is not in the node agent's table."""
    names = ", ".join(f'"{image}"' for image in sorted(known_images()))
    known = f'.image | sub("[:@][^/]*$"; "") | IN({names})'
    return {
        "key": f"[.spec.containers[], .spec.initContainers[]?] | all({known})",
        "operator": "NotIn",
        "values": ["true"],
    }


def use_capacity_annotation(stage: dict[str, Any]) -> None:
    """Replace KWOK's boundless default capacity by the pool's."""
    template: str = stage["spec"]["next"]["statusTemplate"]
    boundless = "cpu: 1k\n  memory: 1Ti\n  pods: 1M"
    if template.count(boundless) != 2:  # noqa: PLR2004 - allocatable and capacity
        raise ValueError("KWOK's node-initialize stage has changed: adapt use_capacity_annotation")
    pool = (
        '{{ range $key, $value := fromJson (default `{"pods":"110"}` '
        "(index .metadata.annotations `inference.platform/capacity`)) }}"
    )
    stage["spec"]["next"]["statusTemplate"] = template.replace(
        boundless, pool + "\n  {{ $key }}: {{ $value | Quote }}\n  {{ end }}"
    )
