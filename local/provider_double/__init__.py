"""A stand-in for the cloud provider plugins, so that the real Pulumi engine runs a cloud environment offline.

The engine attaches to it over gRPC (`PULUMI_DEBUG_PROVIDERS=aws:PORT,...`) instead of starting a plugin. Real: the
engine, its Python host, the program, the SDK's own types that every input is checked against. Simulated: all of
the cloud (what it accepts beyond the types, what it answers, how long it takes). See docs/provider-double.md.
"""

from __future__ import annotations

from local.provider_double.check import Failure, check_config, check_function, check_inputs
from local.provider_double.server import ProviderDouble
from local.provider_double.world import Call, Fault, World

__all__ = [
    "Call",
    "Failure",
    "Fault",
    "ProviderDouble",
    "World",
    "check_config",
    "check_function",
    "check_inputs",
]
