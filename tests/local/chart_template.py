"""What Helm makes of a chart and values, without a cluster: Pulumi's Kubernetes provider has the template engine."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import json_format, struct_pb2
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from local.layout import TOOLS

PLUGIN = TOOLS / "plugins" / "pulumi-resource-kubernetes"
NO_ENGINE = "127.0.0.1:1"
"""The plugin wants the address of an engine, and asks it nothing for this."""

LARGEST_ANSWER = 64 * 2**20

Rendered = list[dict[str, Any]]
"""The objects that the templates make of a release."""


class TemplateError(Exception):
    """Helm refuses the values, or what the templates make of them; carries its text."""


class HelmTemplate:
    """Renders one chart."""

    def __init__(self, provider: provider_pb2_grpc.ResourceProviderStub, chart: Path) -> None:
        self._provider = provider
        self._chart = chart

    def __call__(self, release: str, values: Mapping[str, Any]) -> Rendered:
        """The objects of a release.

        Args:
            release: its name.
            values: of the user; the chart's own lie below.

        Raises:
            TemplateError: there are none.
        """
        wanted = {"path": str(self._chart), "release_name": release, "namespace": release, "values": values}
        arguments = struct_pb2.Struct()
        arguments.update({"jsonOpts": json.dumps(wanted)})
        request = provider_pb2.InvokeRequest(tok="kubernetes:helm:template", args=arguments)
        try:
            answer = self._provider.Invoke(request)
        except grpc.RpcError as error:
            raise TemplateError(error.details()) from error
        # `result` is a list of objects, whose whole numbers have become floats on the way.
        rendered: Rendered = _whole(json_format.MessageToDict(getattr(answer, "return"))["result"])
        return rendered


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


@contextmanager
def helm_template(chart: Path, home: Path) -> Iterator[HelmTemplate]:
    """A running plugin that renders a chart.

    Args:
        chart: its folder, as Helm takes it.
        home: an empty folder, in place of the user's.
    """
    environment = {**os.environ, "HOME": str(home)}
    with subprocess.Popen([PLUGIN, NO_ENGINE], stdout=subprocess.PIPE, text=True, env=environment) as plugin:
        try:
            assert plugin.stdout is not None
            address = f"127.0.0.1:{plugin.stdout.readline().strip()}"
            with grpc.insecure_channel(address, [("grpc.max_receive_message_length", LARGEST_ANSWER)]) as channel:
                provider = provider_pb2_grpc.ResourceProviderStub(channel)
                configuration = struct_pb2.Struct()
                configuration.update({"renderYamlToDirectory": str(home / "rendered")})
                provider.Configure(
                    provider_pb2.ConfigureRequest(
                        args=configuration,
                        variables={"kubernetes:config:renderYamlToDirectory": str(home / "rendered")},
                    )
                )
                yield HelmTemplate(provider, chart)
        finally:
            plugin.terminate()
