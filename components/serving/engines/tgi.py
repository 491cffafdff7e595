"""Hugging Face's Text Generation Inference (`text-generation-launcher`, which is the image's entry point).

Its metrics carry no model's name: pods tell models apart. On SIGTERM its router stops accepting and ends when requests
in flight have; the grace period is the deadline.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from components.serving.base import EngineArgs
from components.serving.engines.base import HEALTH, flags, one_series
from components.serving.weights import HUB
from components.versions import TGI_ENGINE

ANSWER_TOKENS: Final = 1
"""Least room for an answer: the longest prompt is the context less this."""


class Tgi:
    """The engine `tgi`."""

    image = TGI_ENGINE
    command: tuple[str, ...] = ()
    health_path = HEALTH
    metrics_path = "/metrics"
    has_python = True

    def __init__(self, args: EngineArgs) -> None:
        self._args = args

    def arguments(self, served_name: str, address: str, port: int, drain_seconds: int) -> list[str]:
        """Of the launcher. It takes any `model` in a request, so `served_name` is not told."""
        del served_name, drain_seconds
        args = self._args
        words = [
            f"--model-id={args.model}",
            f"--hostname={address}",
            f"--port={port}",
            f"--num-shard={args.tensor_parallel}",
            f"--cuda-memory-fraction={args.gpu_memory_utilization:g}",
        ]
        if args.revision:
            words.append(f"--revision={args.revision}")
        if args.max_model_len is not None:
            words += [
                f"--max-total-tokens={args.max_model_len}",
                f"--max-input-tokens={args.max_model_len - ANSWER_TOKENS}",
            ]
        if args.max_num_seqs is not None:
            words.append(f"--max-batch-size={args.max_num_seqs}")
        return words + flags(args.extra_args)

    def variables(self) -> Mapping[str, str]:
        """The image sets a cache of its own, which outranks HF_HOME."""
        return {"HUGGINGFACE_HUB_CACHE": HUB, "USAGE_STATS": "off"}

    def files(self, served_name: str) -> Mapping[str, str]:
        """It reads none."""
        del served_name
        return {}

    def waiting_query(self, namespace: str, model: str, pods: str) -> str:
        """By the pods' names."""
        del model
        return one_series(f'tgi_queue_size{{namespace="{namespace}",pod=~"{pods}"}}')
