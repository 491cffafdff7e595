"""What the operating system images of GPU nodes bring, as data; decides what has to be installed.

No provider and no SDK: a cloud says which image its nodes run, and this table says the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class NodeImage(StrEnum):
    """Operating system image of a cluster's GPU nodes."""

    WITH_DRIVER = "with-driver"
    """Any image with NVIDIA's driver, its container toolkit and a container runtime that uses it by default."""
    BARE = "bare"
    """Any image that the GPU Operator supports, without a driver."""
    EKS_AL2023_NVIDIA = "eks-al2023-nvidia"
    EKS_BOTTLEROCKET_NVIDIA = "eks-bottlerocket-nvidia"
    EKS_UBUNTU = "eks-ubuntu"
    AKS_UBUNTU = "aks-ubuntu"
    AKS_AZURE_LINUX = "aks-azure-linux"
    AKS_NO_DRIVER = "aks-no-driver"
    """AKS with `gpuProfile.driver: None`: the driver is the GPU Operator's."""
    GKE_COS = "gke-cos"
    GKE_UBUNTU = "gke-ubuntu"


@dataclass(frozen=True, kw_only=True)
class NodeImageFacts:
    """What an image brings.

    Attributes:
        driver: NVIDIA's kernel driver is there, or the cloud installs it.
        toolkit: the container toolkit is there.
        mig_by_cloud: GPUs are partitioned when the cloud makes the node; else the GPU Operator's MIG manager does it.
        runtime_class: that GPU pods of the runtime must name; "" where the default runtime will do.
        driver_root: folder of the host that the driver is in, where it is not the usual one.
        priority_quota: pods with a system priority class are refused outside of kube-system unless a ResourceQuota
            allows them.
        source: where this is from.
    """

    driver: bool
    toolkit: bool
    mig_by_cloud: bool = False
    runtime_class: str = ""
    driver_root: str = ""
    priority_quota: bool = False
    source: str


_OPERATOR_VALUES: Final = "NVIDIA's AI cluster recipes, gpu-operator values by cloud, 2026-08"
COS_DRIVER_ROOT: Final = "/home/kubernetes/bin/nvidia"

NODE_IMAGES: Final[Mapping[NodeImage, NodeImageFacts]] = MappingProxyType(
    {
        NodeImage.WITH_DRIVER: NodeImageFacts(driver=True, toolkit=True, source="by definition"),
        NodeImage.BARE: NodeImageFacts(driver=False, toolkit=False, source="by definition"),
        NodeImage.EKS_AL2023_NVIDIA: NodeImageFacts(driver=True, toolkit=True, source=_OPERATOR_VALUES),
        NodeImage.EKS_BOTTLEROCKET_NVIDIA: NodeImageFacts(
            driver=True,
            toolkit=True,
            mig_by_cloud=True,
            source="Bottlerocket: settings.kubernetes.device-plugins.nvidia",
        ),
        NodeImage.EKS_UBUNTU: NodeImageFacts(driver=False, toolkit=False, source=_OPERATOR_VALUES),
        NodeImage.AKS_UBUNTU: NodeImageFacts(driver=True, toolkit=True, mig_by_cloud=True, source=_OPERATOR_VALUES),
        NodeImage.AKS_AZURE_LINUX: NodeImageFacts(
            driver=True, toolkit=True, mig_by_cloud=True, source="Azure: GPUs on AKS; no MIG on Azure Linux"
        ),
        NodeImage.AKS_NO_DRIVER: NodeImageFacts(
            driver=False,
            toolkit=True,
            runtime_class="nvidia-container-runtime",
            source="NVIDIA/gpu-operator issue 525",
        ),
        NodeImage.GKE_COS: NodeImageFacts(
            driver=True,
            toolkit=False,
            mig_by_cloud=True,
            driver_root=COS_DRIVER_ROOT,
            priority_quota=True,
            source=_OPERATOR_VALUES,
        ),
        NodeImage.GKE_UBUNTU: NodeImageFacts(
            driver=True, toolkit=True, mig_by_cloud=True, priority_quota=True, source="Google Cloud: GPUs on GKE"
        ),
    }
)


class Runtime(StrEnum):
    """What is installed to make GPUs schedulable."""

    DEVICE_PLUGIN = "device-plugin"
    """NVIDIA's device plugin with GPU feature discovery."""
    GPU_OPERATOR = "gpu-operator"
    """NVIDIA's GPU Operator, which also installs drivers and partitions GPUs."""


def choose_runtime(image: NodeImage, *, mig: bool) -> Runtime:
    """The smallest runtime that does what is needed.

    Args:
        image: of the GPU nodes.
        mig: a pool's GPUs are split by MIG.
    """
    facts = NODE_IMAGES[image]
    if not facts.driver or not facts.toolkit or (mig and not facts.mig_by_cloud):
        return Runtime.GPU_OPERATOR
    return Runtime.DEVICE_PLUGIN
