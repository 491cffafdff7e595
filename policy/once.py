"""Converts each resource once for all policies.

The SDK (pulumi_policy 1.21, `policy.py`: `Analyze`, `AnalyzeStack`) decodes a resource's properties and wraps them anew
for every policy: with 25 policies and 118 resources that is 3,000 conversions in each preview. Here the first
conversion is kept. Values that are not known become `policy.unknown.Unknown`, which knows its own path.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from google.protobuf.json_format import MessageToDict
from pulumi_policy import policy as sdk
from pulumi_policy.deserialize import deserialize_properties
from pulumi_policy.proxy import _is_unknown

from policy.unknown import Unknown

KEPT: Final = 8192
"""Resources whose conversion is kept; a stack has hundreds."""


class Memory:
    """Results of a function by the identity of its argument, which is kept alive as long as the result."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function
        self._results: OrderedDict[int, tuple[Any, Any]] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, argument: Any) -> Any:
        """The result, worked out at the first call."""
        with self._lock:
            found = self._results.get(id(argument))
        if found is not None:
            return found[1]
        result = self._function(argument)
        with self._lock:
            self._results[id(argument)] = (argument, result)
            if len(self._results) > KEPT:
                self._results.popitem(last=False)
        return result


def plain(value: Any, path: str = "") -> Any:
    """A value as mappings and lists, with `Unknown` for what is not known."""
    if isinstance(value, dict):
        return {key: plain(child, f"{path}.{key}" if path else key) for key, child in value.items()}
    if isinstance(value, list):
        return [plain(child, f"{path}[{index}]") for index, child in enumerate(value)]
    return Unknown(path) if _is_unknown(value) else value


class _Decoder:
    """Stands in for the module `json_format` of the SDK's `policy.py`, which uses this one function of it."""

    def __init__(self) -> None:
        self.MessageToDict = Memory(MessageToDict)


def convert_once() -> None:
    """Let the SDK keep conversions. Remediation, which we do not use, would convert as before."""
    decode = Memory(deserialize_properties)
    setattr(sdk, "json_format", _Decoder())  # noqa: B010 - a module's name, replaced on purpose
    setattr(  # noqa: B010
        sdk,
        "deserialize_properties",
        lambda properties, secrets=False: (
            deserialize_properties(properties, secrets) if secrets else decode(properties)
        ),
    )
    setattr(sdk, "unknown_checking_proxy", Memory(plain))  # noqa: B010
    # Called before every answer to read the same configuration again; no policy asks for it.
    setattr(sdk._PolicyAnalyzerServicer, "_configure_runtime_settings", lambda _: None)  # noqa: B010
