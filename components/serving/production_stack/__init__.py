"""Serving stack `production-stack`: engines from the chart of the vLLM Production Stack, one Release per model."""
