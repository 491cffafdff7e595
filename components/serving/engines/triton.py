"""NVIDIA Triton with its OpenAI-compatible frontend, on the vLLM or the TensorRT-LLM backend.

Sources: triton-inference-server/server python/openai (flags, /health/ready), vllm_backend (model.json),
tensorrtllm_backend (metrics). With the vLLM backend the platform writes the model repository; with TensorRT-LLM the
user has built one, engines included, for the pool's GPU.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from components.serving.base import EngineArgs, TritonArgs
from components.serving.engines.base import FILES_FOLDER, one_series
from components.versions import TRITON_TENSORRT_LLM, TRITON_VLLM

FRONTEND: Final = "/opt/tritonserver/python/openai/openai_frontend/main.py"
BACKENDS: Final = {"vllm": "vllm", "tensorrt-llm": "tensorrtllm"}
"""Our names of the backends, and the frontend's."""

IMAGES: Final = {"vllm": TRITON_VLLM, "tensorrt-llm": TRITON_TENSORRT_LLM}

# The vLLM backend hands each request on at once: those that wait are counted by vLLM, whose figures Triton shows.
WAITING: Final = {
    "vllm": 'vllm:num_requests_waiting{{namespace="{namespace}",pod=~"{pods}"}}',
    "tensorrt-llm": 'nv_trt_llm_request_metrics{{namespace="{namespace}",pod=~"{pods}",request_type="waiting"}}',
}


class Triton:
    """The engine `triton`."""

    command: tuple[str, ...] = ("python3", FRONTEND)
    health_path = "/health/ready"
    metrics_path = "/metrics"
    has_python = True

    def __init__(self, args: EngineArgs) -> None:
        self._args = args
        self._own = args.triton or TritonArgs()

    @property
    def image(self) -> str:
        """One image for each backend."""
        return IMAGES[self._own.backend]

    def arguments(self, served_name: str, address: str, port: int, drain_seconds: int) -> list[str]:
        """Of the frontend."""
        del served_name, drain_seconds
        return [
            f"--model-repository={self._own.model_repository or f'{FILES_FOLDER}/models'}",
            f"--tokenizer={self._args.model}",
            f"--backend={BACKENDS[self._own.backend]}",
            f"--host={address}",
            f"--openai-port={port}",
        ]

    def variables(self) -> Mapping[str, str]:
        """None of its own."""
        return {}

    def files(self, served_name: str) -> Mapping[str, str]:
        """The model repository of the vLLM backend."""
        if self._own.model_repository:
            return {}
        return {
            f"models/{served_name}/config.pbtxt": (
                'backend: "vllm"\n'
                "instance_group [{count: 1 kind: KIND_MODEL}]\n"
                'parameters: {key: "REPORT_CUSTOM_METRICS" value: {string_value: "true"}}\n'
            ),
            f"models/{served_name}/1/model.json": json.dumps(self._model(), indent=2) + "\n",
        }

    def _model(self) -> dict[str, Any]:
        args = self._args
        found: dict[str, Any] = {
            "model": args.model,
            "gpu_memory_utilization": args.gpu_memory_utilization,
            "tensor_parallel_size": args.tensor_parallel,
            # Without them there is nothing to scale by.
            "disable_log_stats": False,
        }
        if args.max_model_len is not None:
            found["max_model_len"] = args.max_model_len
        if args.max_num_seqs is not None:
            found["max_num_seqs"] = args.max_num_seqs
        return found | {name.replace("-", "_"): value for name, value in sorted(args.extra_args.items())}

    def waiting_query(self, namespace: str, model: str, pods: str) -> str:
        """By the pods' names."""
        del model
        return one_series(WAITING[self._own.backend].format(namespace=namespace, pods=pods))
