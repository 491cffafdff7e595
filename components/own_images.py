"""The images of the pods that the platform itself makes."""

from __future__ import annotations

from typing import Final

from components.versions import (
    HAPROXY,
    SGLANG_ENGINE,
    TGI_ENGINE,
    TRITON_TENSORRT_LLM,
    TRITON_VLLM,
    VLLM_ENGINE,
    VLLM_ROUTER,
)

OWN_IMAGES: Final = (
    VLLM_ENGINE,
    SGLANG_ENGINE,
    TGI_ENGINE,
    TRITON_VLLM,
    TRITON_TENSORRT_LLM,
    VLLM_ROUTER,
    HAPROXY,
)
"""Those that `image_digests` can pin; charts bring others."""
