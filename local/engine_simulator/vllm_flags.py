"""Flags of ``vllm serve`` that the simulator accepts and ignores: a pod's arguments need no change for it.

Names from vLLM's ``EngineArgs.add_cli_args`` and ``FrontendArgs`` (main of August 2026, as of v0.32). Flags
that the simulator models are in :mod:`local.engine_simulator.arguments`.
"""

from __future__ import annotations

# Take one value.
_VALUES = """
additional-config all2all-backend allowed-headers allowed-local-media-path allowed-methods allowed-origins
api-server-count attention-backend attention-config chat-template chat-template-content-format
code-revision collect-detailed-traces compilation-config config config-format convert
cp-kv-cache-interleave-size cpu-distributed-timeout-seconds cpu-offload-gb data-parallel-address
data-parallel-backend data-parallel-rank data-parallel-rpc-port data-parallel-size
data-parallel-size-local data-parallel-start-rank dbo-decode-token-threshold dbo-prefill-token-threshold
dcp-comm-backend dcp-kv-cache-interleave-size decode-context-parallel-size default-chat-template-kwargs
default-mm-loras device-ids diffusion-config distributed-executor-backend distributed-timeout-seconds
download-dir dp-sync-interval ec-manager-config ec-transfer-config eplb-config expert-placement-strategy
fault-tolerance-config gdn-prefill-backend generation-config h11-max-header-count
h11-max-incomplete-event-size hf-config-path hf-overrides hf-token io-processor-plugin ir-op-priority
jit-monitor-mode kda-prefill-backend kernel-config kv-cache-metrics-sample kv-events-config
kv-offloading-backend kv-offloading-size kv-transfer-config limit-mm-per-prompt linear-backend load-format
log-config-file logprobs-mode long-prefill-token-threshold lora-dtype mamba-backend mamba-block-size
mamba-cache-dtype mamba-cache-mode mamba-cache-philox-rounds mamba-ssm-cache-dtype mamba-ssu-algorithm
master-addr master-port max-cpu-loras max-cudagraph-capture-size max-log-len max-logprobs max-lora-rank
max-loras max-num-queued-reqs max-num-queued-tokens max-num-scheduled-tokens max-parallel-loading-workers
media-io-kwargs middleware mm-encoder-attn-backend mm-encoder-attn-dtype mm-encoder-fp8-scale-path
mm-encoder-fp8-scale-save-margin mm-encoder-fp8-scale-save-path mm-encoder-tp-mode mm-hasher-algorithm
mm-ipc-gpu-memory-gb mm-processor-cache-gb mm-processor-cache-type mm-processor-device mm-processor-kwargs
mm-shm-cache-max-object-size-mb mm-tensor-ipc model-class-overrides model-impl model-loader-extra-config
moe-backend nnodes node-rank numa-bind-cpus offload-backend offload-group-size offload-num-in-group
offload-prefetch-step optimization-level otlp-traces-endpoint override-generation-config performance-mode
pipeline-parallel-size pooler-config prefill-context-parallel-size prefill-schedule-interval
prefix-cache-retention-interval prefix-caching-hash-algo prefix-match-unit profiler-config
pt-load-map-location quantization-config reasoning-config reasoning-parser reasoning-parser-plugin
renderer-num-workers replayssm-buffer-len response-role revision root-path runner
safetensors-load-strategy safetensors-prefetch-block-size safetensors-prefetch-num-threads scheduler-cls
scheduling-policy seed show-hidden-metrics-for-version spec-method spec-model spec-tokens
speculative-config ssl-ca-certs ssl-cert-reqs ssl-certfile ssl-ciphers ssl-keyfile stream-interval
structured-outputs-config swap-space task tokenizer tokenizer-mode tokenizer-revision tool-call-parser
tool-parser-plugin tool-server ubatch-size uds uvicorn-log-level video-pruning-method video-pruning-rate
watermark weight-transfer-config worker-cls worker-extension-cls
"""

# Take one or more values.
_LISTS = """
allowed-media-domains cpu-offload-params cudagraph-capture-sizes ignore-patterns
kv-cache-dtype-skip-layers logits-processors lora-modules lora-target-modules numa-bind-nodes
offload-params
"""

# Take no value; most have a ``--no-`` form.
_SWITCHES = """
aggregate-engine-logging allow-credentials allow-deprecated-quantization async-scheduling
cudagraph-metrics data-parallel-external-lb data-parallel-hybrid-lb data-parallel-multi-port-external-lb
dcp-q-replicate disable-access-log-for-endpoints disable-cascade-attn disable-chunked-mm-input
disable-custom-all-reduce disable-fastapi-docs disable-frontend-multiprocessing
disable-hybrid-kv-cache-manager disable-log-requests disable-log-stats disable-nccl-for-dp-synchronization
disable-sliding-window disable-uvicorn-access-log enable-auto-tool-choice enable-batch-sharded-sampling
enable-bf16x3-router-gemm enable-chunked-prefill enable-cumem-allocator enable-dbo enable-elastic-ep
enable-ep-weight-filter enable-eplb enable-expert-parallel enable-fault-tolerance
enable-flashinfer-autotune enable-layerwise-nvtx-tracing enable-log-deltas enable-log-outputs
enable-log-requests enable-logging-iteration-details enable-lora enable-mamba-cache-stochastic-rounding
enable-mfu-metrics enable-mixed-moe-lora-format enable-mm-embeds enable-moe-shared-loras
enable-nccl-comm-suspend enable-offline-docs enable-prompt-embeds enable-request-id-headers
enable-return-routed-experts enable-server-load-tracking enable-ssl-refresh enable-tokenizer-info-endpoint
enable-tower-connector-lora enable-trace-replay enforce-eager exclude-tools-when-tool-choice-none
fail-on-environ-validation fully-sharded-loras headless interleave-mm-strings jit-monitor-verbose
kv-cache-metrics kv-sharing-fast-prefill language-model-only log-error-stack mm-device-do-normalize
mm-encoder-only numa-bind per-request-spec-decode-metrics ray-workers-use-nsight return-sampling-mask
return-tokens-as-token-ids scheduler-reserve-full-isl skip-mm-profiling skip-tokenizer-init
specialize-active-lora tokens-only trust-remote-code trust-request-chat-template use-fp64-gumbel
use-replayssm use-tqdm-on-load
"""

# vLLM's short forms of ignored flags.
SHORT_FORMS = {
    "ac": "attention-config",
    "asc": "api-server-count",
    "cc": "compilation-config",
    "dc": "diffusion-config",
    "dcp": "decode-context-parallel-size",
    "dp": "data-parallel-size",
    "dpa": "data-parallel-address",
    "dpb": "data-parallel-backend",
    "dpe": "data-parallel-external-lb",
    "dph": "data-parallel-hybrid-lb",
    "dpl": "data-parallel-size-local",
    "dpn": "data-parallel-rank",
    "dpp": "data-parallel-rpc-port",
    "dpr": "data-parallel-start-rank",
    "ep": "enable-expert-parallel",
    "n": "nnodes",
    "O": "optimization-level",
    "pcp": "prefill-context-parallel-size",
    "pp": "pipeline-parallel-size",
    "r": "node-rank",
    "sc": "speculative-config",
}

IGNORED_VALUES = frozenset(_VALUES.split())
IGNORED_LISTS = frozenset(_LISTS.split())
IGNORED_SWITCHES = frozenset(_SWITCHES.split())
