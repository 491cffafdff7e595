"""SGLang (`python3 -m sglang.launch_server`); its image has no entry point of its own.

On SIGTERM its /health answers 503 and it ends when no request is left; it looks every five seconds and has no deadline
(sglang 0.5, managers/tokenizer_manager.py `sigterm_watchdog`): the grace period is the deadline.
"""

from __future__ import annotations

from collections.abc import Mapping

from components.serving.base import EngineArgs
from components.serving.engines.base import HEALTH, flags, one_series
from components.versions import SGLANG_ENGINE


class Sglang:
    """The engine `sglang`."""

    image = SGLANG_ENGINE
    command: tuple[str, ...] = ("python3", "-m", "sglang.launch_server")
    health_path = HEALTH
    metrics_path = "/metrics"
    has_python = True

    def __init__(self, args: EngineArgs) -> None:
        self._args = args

    def arguments(self, served_name: str, address: str, port: int, drain_seconds: int) -> list[str]:
        """Of the module; `drain_seconds` is the pod's grace period, it takes no deadline itself."""
        del drain_seconds
        args = self._args
        words = [
            f"--model-path={args.model}",
            f"--served-model-name={served_name}",
            f"--host={address}",
            f"--port={port}",
            f"--mem-fraction-static={_static_share(args):g}",
            f"--tp-size={args.tensor_parallel}",
            # Off by default: nothing to scale by and nothing to see.
            "--enable-metrics",
        ]
        if args.revision:
            words.append(f"--revision={args.revision}")
        if args.max_model_len is not None:
            words.append(f"--context-length={args.max_model_len}")
        if args.max_num_seqs is not None:
            words.append(f"--max-running-requests={args.max_num_seqs}")
        return words + flags(args.extra_args)

    def variables(self) -> Mapping[str, str]:
        """None of its own."""
        return {}

    def files(self, served_name: str) -> Mapping[str, str]:
        """It reads none."""
        del served_name
        return {}

    def waiting_query(self, namespace: str, model: str, pods: str) -> str:
        """By the model's name, which is a label of SGLang's own."""
        del pods
        return one_series(f'sglang:num_queue_reqs{{namespace="{namespace}",model_name="{model}"}}')


def _static_share(args: EngineArgs) -> float:
    """Share of the GPU's memory for weights and KV cache: SGLang's figure, unlike vLLM's, leaves out the rest."""
    return args.gpu_memory_utilization if args.static_memory_share is None else args.static_memory_share
