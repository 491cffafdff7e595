"""An image of the user's own that answers the OpenAI API below /v1; everything else about it is the user's word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from components.serving.base import EngineArgs
from components.serving.engines.base import one_series

PLACEHOLDERS: Final = ("{model}", "{name}", "{address}", "{port}", "{gpus}", "{drain_seconds}", "{revision}")
"""What stands in a custom engine's arguments for what the platform knows."""

POD_PLACEHOLDERS: Final = ("{namespace}", "{name}", "{pods}")
"""What stands in its query."""


class Custom:
    """The engine `custom`."""

    def __init__(self, args: EngineArgs) -> None:
        if args.custom is None:
            raise ValueError("a custom engine needs its image: engine.custom")
        self._args, self._own = args, args.custom

    @property
    def image(self) -> str:
        """The user's."""
        return self._own.image

    @property
    def command(self) -> tuple[str, ...]:
        """The user's; empty: the image's entry point."""
        return self._own.command

    @property
    def health_path(self) -> str:
        """The user's."""
        return self._own.health_path

    @property
    def has_python(self) -> bool:
        """Nobody knows."""
        return False

    @property
    def metrics_path(self) -> str:
        """The user's; "": it has none."""
        return self._own.metrics_path

    def arguments(self, served_name: str, address: str, port: int, drain_seconds: int) -> list[str]:
        """The user's, with the platform's values in the place of `PLACEHOLDERS`."""
        gpus = str(self._args.tensor_parallel)
        values = (
            self._args.model,
            served_name,
            address,
            str(port),
            gpus,
            str(drain_seconds),
            self._args.revision or "main",
        )
        return [_filled(word, dict(zip(PLACEHOLDERS, values, strict=True))) for word in self._own.arguments]

    def variables(self) -> Mapping[str, str]:
        """The user's."""
        return self._own.variables

    def files(self, served_name: str) -> Mapping[str, str]:
        """It reads none."""
        del served_name
        return {}

    def waiting_query(self, namespace: str, model: str, pods: str) -> str:
        """The user's, or nothing that ever waits: then only requests in flight scale it."""
        if not self._own.waiting_metric:
            return "vector(0)"
        values = dict(zip(POD_PLACEHOLDERS, (namespace, model, pods), strict=True))
        return one_series(_filled(self._own.waiting_metric, values))


def _filled(text: str, values: Mapping[str, str]) -> str:
    for placeholder, value in values.items():
        text = text.replace(placeholder, value)
    return text
