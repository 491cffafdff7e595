"""The accelerator runtime: which of the two for which node image, every value, and never an exporter twice.

Does not prove that a driver loads or that a GPU is split: there is no GPU here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import yaml

from components.accelerators.node_images import NODE_IMAGES, NodeImage, Runtime, choose_runtime
from components.accelerators.runtime import (
    AcceleratorRuntime,
    AcceleratorRuntimeArgs,
    device_plugin_values,
    gpu_operator_values,
)
from components.accelerators.sharing import device_plugin_configs, mig_config
from components.scheduling import GPU_TAINT, GpuPool, Sharing, SharingMode, Taint
from tests.unit.components.samples import L4_POOL
from tests.unit.conftest import Engine

pytestmark = pytest.mark.unit

SLICED = replace(L4_POOL, name="sliced", sharing=Sharing(SharingMode.TIME_SLICING, 4))
MPS = replace(L4_POOL, name="mps", sharing=Sharing(SharingMode.MPS, 2))
MIG = replace(L4_POOL, name="mig", sharing=Sharing(SharingMode.MIG, 7, "1g.10gb"))
SPOT = replace(
    L4_POOL, name="spot", taints=(GPU_TAINT, Taint("kubernetes.azure.com/scalesetpriority", "spot", "NoSchedule"))
)

GPU_TOLERATION = {"key": "nvidia.com/gpu", "operator": "Equal", "value": "present", "effect": "NoSchedule"}
SPOT_TOLERATION = {**GPU_TOLERATION, "key": "kubernetes.azure.com/scalesetpriority", "value": "spot"}


def arguments(
    *pools: GpuPool, image: NodeImage = NodeImage.EKS_AL2023_NVIDIA, **changes: Any
) -> AcceleratorRuntimeArgs:
    return AcceleratorRuntimeArgs(pools=pools or (L4_POOL,), node_image=image, **changes)


def charts(engine: Engine, args: AcceleratorRuntimeArgs) -> list[str]:
    engine.seen.clear()
    engine.run(lambda: AcceleratorRuntime("prod-accelerators", args))
    return [item.inputs["chart"] for item in engine.seen if item.type.endswith(":Release")]


@pytest.mark.parametrize("mig", [False, True])
@pytest.mark.parametrize("image", NodeImage)
def test_the_smallest_runtime_that_does(image: NodeImage, mig: bool) -> None:
    """The whole matrix, written out once more."""
    always_operator = {NodeImage.BARE, NodeImage.EKS_UBUNTU, NodeImage.AKS_NO_DRIVER, NodeImage.GKE_COS}
    operator_for_mig = {NodeImage.WITH_DRIVER, NodeImage.EKS_AL2023_NVIDIA}
    operator = image in always_operator or (mig and image in operator_for_mig)
    assert choose_runtime(image, mig=mig) is (Runtime.GPU_OPERATOR if operator else Runtime.DEVICE_PLUGIN)


def test_every_image_has_its_facts_and_their_source() -> None:
    assert set(NODE_IMAGES) == set(NodeImage)
    assert all(facts.source for facts in NODE_IMAGES.values())


def test_the_device_plugin_is_told_each_way_of_sharing_once() -> None:
    twice = replace(SLICED, name="again")
    configs = device_plugin_configs((L4_POOL, SLICED, twice, MPS, MIG))
    mixed = {"version": "v1", "flags": {"migStrategy": "mixed"}}
    assert {name: yaml.safe_load(text) for name, text in configs.items()} == {
        "default": mixed,
        "mps-2": {
            **mixed,
            "sharing": {"mps": {"renameByDefault": True, "resources": [{"name": "nvidia.com/gpu", "replicas": 2}]}},
        },
        "time-slicing-4": {
            **mixed,
            "sharing": {
                "timeSlicing": {"renameByDefault": True, "resources": [{"name": "nvidia.com/gpu", "replicas": 4}]}
            },
        },
    }


@pytest.mark.parametrize("pool", [L4_POOL, SLICED, MPS, MIG])
def test_a_nodes_label_names_a_configuration_that_exists(pool: GpuPool) -> None:
    labels = pool.node_labels("g6.12xlarge", "on-demand")
    assert labels["nvidia.com/gpu.present"] == "true"
    wanted = labels.get("nvidia.com/device-plugin.config", "default")
    assert wanted in device_plugin_configs((pool,))
    layout = labels.get("nvidia.com/mig.config", "all-disabled")
    assert layout in yaml.safe_load(mig_config((pool,)))["mig-configs"]
    assert ("nvidia.com/mps.capable" in labels) == (pool is MPS)


def test_the_mig_managers_layouts() -> None:
    assert yaml.safe_load(mig_config((L4_POOL, MIG))) == {
        "version": "v1",
        "mig-configs": {
            "all-disabled": [{"devices": "all", "mig-enabled": False}],
            "all-1g.10gb": [{"devices": "all", "mig-enabled": True, "mig-devices": {"1g.10gb": 7}}],
        },
    }


def test_all_values_of_the_device_plugin() -> None:
    pools = (L4_POOL, SLICED, SPOT)
    assert device_plugin_values(arguments(*pools)).render() == {
        "config": {"map": device_plugin_configs(pools), "default": "default"},
        "tolerations": [GPU_TOLERATION, SPOT_TOLERATION],
        "nfd": {
            "worker": {"tolerations": [GPU_TOLERATION, SPOT_TOLERATION]},
            "master": {"nodeSelector": {"inference.platform/node-pool": "system"}},
        },
        "gfd": {"enabled": True},
    }


def test_all_values_of_the_gpu_operator_where_the_image_has_a_driver() -> None:
    values = gpu_operator_values(arguments(MIG)).render()
    assert values == {
        "driver": {"enabled": False},
        "toolkit": {"enabled": False},
        "devicePlugin": {
            "config": {
                "create": True,
                "name": "device-plugin-config",
                "default": "default",
                "data": device_plugin_configs((MIG,)),
            }
        },
        "mig": {"strategy": "mixed"},
        "migManager": {
            "enabled": True,
            "config": {
                "create": True,
                "name": "mig-config",
                "default": "all-disabled",
                "data": {"config.yaml": mig_config((MIG,))},
            },
        },
        "dcgmExporter": {
            "enabled": True,
            "serviceMonitor": {
                "enabled": True,
                "interval": "15s",
                "honorLabels": True,
                "relabelings": [{"sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "node"}],
            },
        },
        "daemonsets": {"tolerations": [GPU_TOLERATION]},
        "node-feature-discovery": {
            "worker": {"tolerations": [GPU_TOLERATION]},
            "master": {"nodeSelector": {"inference.platform/node-pool": "system"}},
        },
        "operator": {"nodeSelector": {"inference.platform/node-pool": "system"}},
        "validator": {"plugin": {"env": [{"name": "WITH_WORKLOAD", "value": "false"}]}},
    }


def test_what_differs_on_other_images() -> None:
    bare = gpu_operator_values(arguments(image=NodeImage.BARE)).render()
    assert (bare["driver"], bare["toolkit"]) == ({"enabled": True}, {"enabled": True})
    assert bare["migManager"] == {"enabled": False}
    cos = gpu_operator_values(arguments(MIG, image=NodeImage.GKE_COS)).render()
    root = "/home/kubernetes/bin/nvidia"
    assert cos["driver"] == {"enabled": False}
    assert cos["hostPaths"] == {"driverInstallDir": root}
    assert cos["toolkit"]["installDir"] == root
    assert cos["migManager"] == {"enabled": False}, "Google Cloud partitions when it makes the node"
    none = gpu_operator_values(arguments(image=NodeImage.AKS_NO_DRIVER)).render()
    assert none["operator"]["runtimeClass"] == "nvidia-container-runtime"


def test_never_two_exporters(engine: Engine) -> None:
    """All images, with and without MIG, with and without what the cluster brings."""
    for image, pool, plugin, dcgm in product(NodeImage, (L4_POOL, MIG), (True, False), (True, False)):
        args = arguments(pool, image=image, device_plugin=plugin, dcgm_exporter=dcgm)
        made = charts(engine, args)
        by_operator = "gpu-operator" in made and gpu_operator_values(args).dcgm_exporter.enabled
        assert made.count("dcgm-exporter") + by_operator == int(dcgm), (image, pool.name, plugin, made)
        assert len({"gpu-operator", "nvidia-device-plugin"} & set(made)) == int(plugin), (image, made)


def test_the_exporter_by_itself(engine: Engine) -> None:
    assert charts(engine, arguments(SPOT, device_plugin=False)) == ["dcgm-exporter"]
    release = engine.one("Release", "prod-accelerators-dcgm-exporter")
    assert (release["version"], release["namespace"]) == ("4.8.2", "accelerators")
    assert release["values"] == {
        "tolerations": [GPU_TOLERATION, SPOT_TOLERATION],
        "serviceMonitor": {
            "enabled": True,
            "interval": "15s",
            "honorLabels": True,
            "relabelings": [{"sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "node"}],
        },
        "nodeSelector": {"nvidia.com/gpu.present": "true"},
    }


def test_the_exporter_is_found_in_one_way_only(engine: Engine) -> None:
    charts(engine, arguments(device_plugin=False, monitors=False))
    values = engine.one("Release", "prod-accelerators-dcgm-exporter")["values"]
    assert values["serviceMonitor"]["enabled"] is False
    assert values["podAnnotations"]["prometheus.io/port"] == "9400"


def test_the_exporter_keeps_its_list_of_counters_where_the_driver_is_elsewhere(engine: Engine) -> None:
    charts(engine, arguments(image=NodeImage.GKE_COS, device_plugin=False))
    values = engine.one("Release", "prod-accelerators-dcgm-exporter")["values"]
    assert [mount["mountPath"] for mount in values["extraVolumeMounts"]] == [
        "/etc/dcgm-exporter/default-counters.csv",
        "/usr/local/nvidia",
    ]
    assert values["extraHostVolumes"] == [{"name": "nvidia-driver", "hostPath": "/home/kubernetes/bin/nvidia"}]


def test_children_and_the_quota_that_gke_asks_for(engine: Engine) -> None:
    charts(engine, arguments())
    names = {
        ("kubernetes:core/v1:Namespace", "prod-accelerators-namespace"): 1,
        ("kubernetes:helm.sh/v3:Release", "prod-accelerators-device-plugin"): 1,
        ("kubernetes:helm.sh/v3:Release", "prod-accelerators-dcgm-exporter"): 1,
    }
    assert engine.children() == Counter(names)
    charts(engine, arguments(image=NodeImage.GKE_UBUNTU))
    quota = ("kubernetes:core/v1:ResourceQuota", "prod-accelerators-priority-quota")
    assert engine.children() == Counter({**names, quota: 1})
    assert engine.one("ResourceQuota", quota[1])["spec"]["scopeSelector"]["matchExpressions"] == [
        {
            "operator": "In",
            "scopeName": "PriorityClass",
            "values": ["system-node-critical", "system-cluster-critical"],
        }
    ]
