"""A simulator of the vLLM OpenAI server (image ``vllm/vllm-openai`` v0.32): no GPU, no weights, no tokenizer.

It accepts vLLM's ``serve`` arguments, speaks its HTTP API and exports its metrics. Continuous batching, the
paged KV cache, queueing and preemption are computed step by step; the time of a step comes from one stated
formula (:mod:`local.engine_simulator.latency`). The text that it returns is synthetic and says so.
"""
