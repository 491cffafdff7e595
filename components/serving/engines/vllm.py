"""vLLM (`vllm serve`, which is the image's entry point). It drains: --shutdown-timeout."""

from __future__ import annotations

from collections.abc import Mapping

from components.serving.base import EngineArgs
from components.serving.engines.base import HEALTH, flags, one_series
from components.versions import VLLM_ENGINE


class Vllm:
    """The engine `vllm`."""

    image = VLLM_ENGINE
    command: tuple[str, ...] = ()
    health_path = HEALTH
    metrics_path = "/metrics"
    has_python = True

    def __init__(self, args: EngineArgs) -> None:
        self._args = args

    def arguments(self, served_name: str, address: str, port: int, drain_seconds: int) -> list[str]:
        """Of `vllm serve`."""
        return vllm_arguments(self._args, served_name, drain_seconds, [f"--host={address}", f"--port={port}"])

    def variables(self) -> Mapping[str, str]:
        """No usage statistics leave the cluster."""
        return {"VLLM_NO_USAGE_STATS": "1"}

    def files(self, served_name: str) -> Mapping[str, str]:
        """It reads none."""
        del served_name
        return {}

    def waiting_query(self, namespace: str, model: str, pods: str) -> str:
        """By the model's name, which is a label of vLLM's own."""
        del pods
        return one_series(f'vllm:num_requests_waiting{{namespace="{namespace}",model_name="{model}"}}')


def vllm_arguments(args: EngineArgs, served_name: str, drain_seconds: int, listen: list[str]) -> list[str]:
    """The arguments of `vllm serve`; `listen` says where."""
    words = [
        args.model,
        f"--served-model-name={served_name}",
        *listen,
        f"--gpu-memory-utilization={args.gpu_memory_utilization:g}",
        f"--tensor-parallel-size={args.tensor_parallel}",
        # On SIGTERM requests in flight go on for so long; the default is to cut them off.
        f"--shutdown-timeout={drain_seconds}",
    ]
    if args.revision:
        words.append(f"--revision={args.revision}")
    if args.max_model_len is not None:
        words.append(f"--max-model-len={args.max_model_len}")
    if args.max_num_seqs is not None:
        words.append(f"--max-num-seqs={args.max_num_seqs}")
    if args.lora is not None:
        words += args.lora.arguments()
    return words + flags(args.extra_args)
