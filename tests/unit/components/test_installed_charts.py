"""Values that we send, against the charts themselves.

A chart's folder is named by an environment variable; where it is not, the test says so and is skipped. Every path that
we set must be one that the chart's values.yaml has (below an empty map anything goes), and the values must fit the
chart's values.schema.json where it has one. Does not prove what the templates make of them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.accelerators.node_images import NodeImage
from components.accelerators.runtime import AcceleratorRuntimeArgs, device_plugin_values, gpu_operator_values
from components.accelerators.values import dcgm_exporter_values
from components.autoscaling.keda import KedaArgs, KedaValues, add_on_values
from components.certificates.cert_manager import CertManagerArgs
from components.certificates.cert_manager import values as cert_manager_values
from components.charts import SYSTEM_NODES, Values
from components.observability.prometheus import PrometheusStackArgs
from components.observability.prometheus import values as prometheus_values
from components.scheduling import Sharing, SharingMode
from components.secrets import SecretArgs
from components.versions import (
    CERT_MANAGER_CHART,
    DCGM_EXPORTER_CHART,
    DEVICE_PLUGIN_CHART,
    GPU_OPERATOR_CHART,
    KEDA_CHART,
    KEDA_HTTP_ADD_ON_CHART,
    PROMETHEUS_STACK_CHART,
    Chart,
)
from tests.unit.components.samples import L4_POOL

pytestmark = pytest.mark.unit

MIG = AcceleratorRuntimeArgs(
    pools=(
        L4_POOL,
        type(L4_POOL)(
            name="mig",
            product="NVIDIA-H100",
            gpus_per_node=8,
            vcpu=96,
            memory_gib=1000,
            sharing=Sharing(SharingMode.MIG, 7, "1g.10gb"),
        ),
    ),
    node_image=NodeImage.GKE_COS,
)

ADMIN = SecretArgs(name="admin", keys=("admin-user", "admin-password"), values={})

ADD_ON = add_on_values(KedaArgs())

SENT: list[tuple[str, Chart, Values]] = [
    ("KEDA_CHART", KEDA_CHART, KedaValues(node_selector=SYSTEM_NODES)),
    ("KEDA_HTTP_ADD_ON_CHART", KEDA_HTTP_ADD_ON_CHART, ADD_ON),
    ("CERT_MANAGER_CHART", CERT_MANAGER_CHART, cert_manager_values(CertManagerArgs())),
    (
        "PROMETHEUS_STACK_CHART",
        PROMETHEUS_STACK_CHART,
        prometheus_values(PrometheusStackArgs(storage_class="gp3", grafana_admin=ADMIN)),
    ),
    ("DEVICE_PLUGIN_CHART", DEVICE_PLUGIN_CHART, device_plugin_values(MIG)),
    ("GPU_OPERATOR_CHART", GPU_OPERATOR_CHART, gpu_operator_values(MIG)),
    (
        "DCGM_EXPORTER_CHART",
        DCGM_EXPORTER_CHART,
        dcgm_exporter_values(MIG.tolerations(), monitors=True, runtime_class="nvidia", driver_root="/drivers"),
    ),
]

ELSEWHERE = {
    # Values of charts within a chart, and those that a chart's templates read but its values.yaml only comments on.
    "KEDA_HTTP_ADD_ON_CHART": {f"podSecurityContext.{part}" for part in ("operator", "scaler", "interceptor")},
    "PROMETHEUS_STACK_CHART": {"kube-state-metrics", "grafana.nodeSelector"},
    "DEVICE_PLUGIN_CHART": {"nfd.master.nodeSelector"},
    "GPU_OPERATOR_CHART": {"node-feature-discovery.master.nodeSelector", "operator.nodeSelector"},
}


def unknown_paths(sent: Mapping[str, Any], known: Mapping[str, Any], at: str = "") -> Iterator[str]:
    """Paths that the chart does not have; a map that is empty by default takes any key."""
    for key, value in sent.items():
        path = f"{at}.{key}" if at else key
        if key not in known:
            yield path
        elif isinstance(value, Mapping) and isinstance(known[key], Mapping) and known[key]:
            yield from unknown_paths(value, known[key], path)


def test_the_check_finds_what_a_chart_does_not_have() -> None:
    known = {"a": {"b": 1}, "open": {}, "list": []}
    assert list(unknown_paths({"a": {"b": 2}, "open": {"x": 1}, "list": [1]}, known)) == []
    assert list(unknown_paths({"a": {"c": 2}, "d": 1}, known)) == ["a.c", "d"]


@pytest.mark.parametrize(("variable", "chart", "values"), SENT, ids=[item[0] for item in SENT])
def test_the_chart_knows_every_value(variable: str, chart: Chart, values: Values) -> None:
    folder = os.environ.get(variable)
    if not folder:
        pytest.skip(f"{variable} does not name the folder of the chart {chart.name} {chart.version}")
    metadata = yaml.safe_load((Path(folder) / "Chart.yaml").read_text())
    assert metadata["name"] == chart.name
    # Some repositories have one version for all; their releases are tags.
    if metadata["version"] not in {"v1.0.0-devel", "v0.0.0"}:
        assert metadata["version"] == chart.version
    sent = values.render()
    known = yaml.safe_load((Path(folder) / "values.yaml").read_text())
    unknown = {
        path
        for path in unknown_paths(sent, known)
        if not any(path == other or path.startswith(f"{other}.") for other in ELSEWHERE.get(variable, ()))
    }
    assert unknown == set()
    schema = Path(folder) / "values.schema.json"
    if schema.exists():
        jsonschema = pytest.importorskip("jsonschema", reason="the chart has a schema and jsonschema is not installed")
        jsonschema.validate(sent, json.loads(schema.read_text()))
