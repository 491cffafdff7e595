"""Converts each resource once for all policies, and only if one of them looks at it.

The SDK (pulumi_policy 1.21, `policy.py`: `Analyze`, `AnalyzeStack`, `Remediate`) decodes a resource anew for
every policy and wraps each value in a proxy: with 26 policies and 147 resources those are 4,000 conversions in each
preview. Here a resource is decoded when a policy first reads it, in one pass, and the result is kept. Values that are
not known become `policy.unknown.Unknown`, which knows its own path.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from pulumi_policy import policy as sdk
from pulumi_policy.deserialize import SPECIAL_SECRET_SIG, SPECIAL_SIG_KEY
from pulumi_policy.proxy import _is_unknown

from policy.unknown import Unknown

KEPT: Final = 8192
"""Resources whose conversion is kept; a stack has hundreds."""

Path = tuple[Any, ...]
"""Where a value stands: the path of what it is in, and its key there; () for the whole."""


class Memory:
    """Results of a function by the identity of its argument, which is kept alive as long as the result."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function
        self._results: dict[int, tuple[Any, Any]] = {}
        self._lock = threading.Lock()
        # Messages that live on while the interpreter is taken apart crash it (protobuf 5.29's upb).
        atexit.register(self._results.clear)

    def __call__(self, argument: Any) -> Any:
        """The result, worked out at the first call."""
        found = self._results.get(id(argument))
        if found is not None:
            return found[1]
        result = self._function(argument)
        with self._lock:
            self._results[id(argument)] = (argument, result)
            if len(self._results) > KEPT:
                del self._results[next(iter(self._results))]
        return result


class Later(Mapping[str, Any]):
    """The properties of one resource, decoded when they are first read."""

    def __init__(self, message: Any) -> None:
        self._message = message
        self._decoded: dict[str, Any] | None = None

    def _all(self) -> dict[str, Any]:
        if self._decoded is None:
            self._decoded = decode(self._message)
        return self._decoded

    def __getitem__(self, key: str) -> Any:
        return self._all()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key."""
        return self._all().get(key, default)

    def copy(self) -> dict[str, Any]:
        """As a dictionary: the SDK keeps settings of policies by it."""
        return dict(self._all())


def decode(message: Any) -> dict[str, Any]:
    """A `google.protobuf.Struct` as mappings and lists; secrets in the clear, `Unknown` for what is not known."""
    return {key: _value(value, ((), key)) for key, value in message.fields.items()}


def _value(value: Any, path: Path) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        text = value.string_value
        return Unknown(_written(path)) if _is_unknown(text) else text
    if kind == "struct_value":
        fields = value.struct_value.fields
        if SPECIAL_SIG_KEY in fields and fields[SPECIAL_SIG_KEY].string_value == SPECIAL_SECRET_SIG:
            return _value(fields["value"], path)
        return {key: _value(child, (path, key)) for key, child in fields.items()}
    if kind == "list_value":
        return [_value(child, (path, index)) for index, child in enumerate(value.list_value.values)]
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    return value.bool_value if kind == "bool_value" else None


def _written(path: Path) -> str:
    """A path as people read it: spec.containers[0].image."""
    parts: list[str] = []
    while path:
        path, key = path
        parts.append(f"[{key}]" if isinstance(key, int) else f".{key}")
    return "".join(reversed(parts)).removeprefix(".")


class _Decoder:
    """Stands in for the module `json_format` of the SDK's `policy.py`, which uses this one function of it."""

    MessageToDict = Memory(Later)


def convert_once() -> None:
    """Let the SDK keep conversions, and leave out what no policy of ours asks for."""
    analyzer = sdk._PolicyAnalyzerServicer
    for name in ("_get_resource_options", "_get_provider_resource"):
        _remember(analyzer, name)
    # The SDK converts in three steps; the first does it all.
    _replace(sdk, "json_format", _Decoder)
    _replace(sdk, "deserialize_properties", lambda properties: properties)
    _replace(sdk, "unknown_checking_proxy", lambda properties: properties)
    # The engine asks for remediation before each analysis; no policy of ours changes a resource.
    nothing = sdk.proto.RemediateResponse()
    _replace(analyzer, "Remediate", lambda *_: nothing)
    # Called before every answer to read the same configuration again; no policy asks for it.
    _replace(analyzer, "_configure_runtime_settings", lambda *_: None)


def _remember(owner: Any, name: str) -> None:
    """Let a method that only reads its request work once for each."""
    method = getattr(owner, name)
    results = Memory(lambda request: method(None, request))
    _replace(owner, name, lambda _, request: results(request))


def _replace(owner: Any, name: str, value: Any) -> None:
    """Give a name of the SDK another meaning.

    Raises:
        AttributeError: this version of the SDK has no such name.
    """
    getattr(owner, name)
    setattr(owner, name, value)
