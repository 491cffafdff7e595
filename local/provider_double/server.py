"""The gRPC side: Pulumi's ResourceProvider service, one server per stood-in provider.

Contract: pulumi/pulumi proto/pulumi/provider.proto. The engine attaches to a port named in
`PULUMI_DEBUG_PROVIDERS` (sdk/go/common/resource/plugin/provider_plugin.go, GetProviderAttachPort).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from types import TracebackType
from typing import Any

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from local.provider_double import check, diff, sdk_types
from local.provider_double.clouds import Account, cloud_of
from local.provider_double.wire import Properties, contains_unknown, from_struct, to_struct
from local.provider_double.world import ProviderError, Thing, World

WORKERS = 32
"""Calls in progress at once; the engine sends as many as its parallelism (default 4 per core)."""

KINDS = provider_pb2.PropertyDiff.Kind


class ProviderDouble:
    """Servers that stand in for some providers, over one world.

    Use as a context manager; `environment()` is what the engine has to be started with.

    Args:
        packages: `aws`, `azure-native`, `gcp`, `kubernetes`.
        world: where things exist and calls are written down; a new one if None.
        account: whose cloud it is.
    """

    def __init__(self, packages: Sequence[str], world: World | None = None, account: Account | None = None) -> None:
        self.world = world or World()
        self.account = account or Account()
        self.ports: dict[str, int] = {}
        self._servers: list[grpc.Server] = []
        for package in packages:
            server = grpc.server(futures.ThreadPoolExecutor(WORKERS), options=[("grpc.max_receive_message_length", -1)])
            servicer = _Servicer(package, self.world, self.account)
            provider_pb2_grpc.add_ResourceProviderServicer_to_server(servicer, server)
            self.ports[package] = server.add_insecure_port("127.0.0.1:0")
            self._servers.append(server)

    def __enter__(self) -> ProviderDouble:
        for server in self._servers:
            server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.world.close()
        for server in self._servers:
            server.stop(grace=0)

    def environment(self) -> dict[str, str]:
        """Variables that make the engine attach."""
        return {"PULUMI_DEBUG_PROVIDERS": ",".join(f"{package}:{port}" for package, port in self.ports.items())}


def _type_of(urn: str) -> str:
    """Type token of a URN; `urn:pulumi:stack::project::parent$type::name`."""
    return urn.split("::")[2].rsplit("$", 1)[-1]


def _refusing(method: Callable[..., Any]) -> Callable[..., Any]:
    """Answer a refusal of the cloud as gRPC does."""

    def answer(self: _Servicer, request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return method(self, request, context)
        except ProviderError as error:
            context.abort(grpc.StatusCode.UNKNOWN, str(error))

    return answer


def _failures(found: Sequence[check.Failure]) -> list[provider_pb2.CheckFailure]:
    return [provider_pb2.CheckFailure(property=failure.path, reason=failure.reason) for failure in found]


class _Servicer(provider_pb2_grpc.ResourceProviderServicer):
    """One provider. Method names are the protocol's."""

    def __init__(self, package: str, world: World, account: Account) -> None:
        self.package = package
        self.world = world
        self.cloud = cloud_of(package, account, world)

    def Attach(self, request: Any, context: Any) -> empty_pb2.Empty:
        return empty_pb2.Empty()

    def Cancel(self, request: Any, context: Any) -> empty_pb2.Empty:
        self.world.close()
        return empty_pb2.Empty()

    def GetPluginInfo(self, request: Any, context: Any) -> plugin_pb2.PluginInfo:
        return plugin_pb2.PluginInfo(version=sdk_types.package_version(self.package))

    def CheckConfig(self, request: Any, context: Any) -> provider_pb2.CheckResponse:
        found = check.errors(check.check_config(self.package, from_struct(request.news)))
        return provider_pb2.CheckResponse(inputs=request.news, failures=_failures(found))

    def DiffConfig(self, request: Any, context: Any) -> provider_pb2.DiffResponse:
        old, new = from_struct(request.old_inputs or request.olds), from_struct(request.news)
        return self._diff_response(f"pulumi:providers:{self.package}", old, new)

    def Configure(self, request: Any, context: Any) -> provider_pb2.ConfigureResponse:
        self.cloud.configure(from_struct(request.args))
        # The engine keeps track of secrets where a provider does not.
        return provider_pb2.ConfigureResponse(supportsPreview=True)

    @_refusing
    def Invoke(self, request: Any, context: Any) -> provider_pb2.InvokeResponse:
        arguments = from_struct(request.args)
        found = check.errors(check.check_function(request.tok, arguments))
        if found:
            return provider_pb2.InvokeResponse(failures=_failures(found))
        self.world.record("invoke", "", request.tok)
        return provider_pb2.InvokeResponse(**{"return": to_struct(self.cloud.invoke(request.tok, arguments))})

    def Check(self, request: Any, context: Any) -> provider_pb2.CheckResponse:
        token, news, olds = _type_of(request.urn), from_struct(request.news), from_struct(request.olds)
        found = check.check_inputs(token, news)
        self.world.warnings += [(request.urn, failure) for failure in found if failure.severity == "warning"]
        if refused := check.errors(found):
            return provider_pb2.CheckResponse(failures=_failures(refused))
        name = request.urn.rsplit("::", 1)[1]
        inputs = self.cloud.with_defaults(token, name, news, olds, bytes(request.randomSeed) or name.encode())
        return provider_pb2.CheckResponse(inputs=to_struct(inputs))

    def Diff(self, request: Any, context: Any) -> provider_pb2.DiffResponse:
        return self._diff_response(_type_of(request.urn), from_struct(request.old_inputs), from_struct(request.news))

    @_refusing
    def Create(self, request: Any, context: Any) -> provider_pb2.CreateResponse:
        token, inputs = _type_of(request.urn), from_struct(request.properties)
        if request.preview:
            # What the cloud will compute is left out: the SDK takes it as not known yet.
            return provider_pb2.CreateResponse(properties=to_struct(self.cloud.echoed(token, inputs)))
        name = request.urn.rsplit("::", 1)[1]
        replacement = any(thing.urn == request.urn for thing in self.world.things())
        identifier = ""
        try:
            self.world.suffer("create", token, name)
            self.cloud.check_requirements(token, inputs)
            identifier = self.cloud.identifier(token, name, inputs, seed=f"{request.urn}#{len(self.world.calls)}")
            outputs = self.cloud.outputs(token, identifier, inputs)
            self.world.add(Thing(request.urn, token, identifier, inputs, outputs))
        except ProviderError as error:
            self.world.record("create", request.urn, token, replacement=replacement, failed=str(error))
            raise
        self.world.record("create", request.urn, token, identifier, replacement=replacement)
        return provider_pb2.CreateResponse(id=identifier, properties=to_struct(outputs))

    def Read(self, request: Any, context: Any) -> provider_pb2.ReadResponse:
        token = _type_of(request.urn)
        self.world.record("read", request.urn, token, request.id)
        thing = self.world.get(token, request.id)
        if thing is None:
            return provider_pb2.ReadResponse()
        return provider_pb2.ReadResponse(
            id=thing.id, properties=to_struct(thing.outputs), inputs=to_struct(thing.inputs)
        )

    @_refusing
    def Update(self, request: Any, context: Any) -> provider_pb2.UpdateResponse:
        token, inputs = _type_of(request.urn), from_struct(request.news)
        if request.preview:
            kept = from_struct(request.olds)
            if contains_unknown(inputs):
                kept = {}
            return provider_pb2.UpdateResponse(properties=to_struct({**kept, **self.cloud.echoed(token, inputs)}))
        name = request.urn.rsplit("::", 1)[1]
        try:
            self.world.suffer("update", token, name)
            thing = self.world.get(token, request.id)
            if thing is None:
                raise ProviderError(f"{token} {request.id} not found")
            if refused := diff.refused(token, thing.inputs, inputs):
                raise ProviderError(f"PropertyChangeNotAllowed: {', '.join(refused)} of {token} {request.id}")
        except ProviderError as error:
            self.world.record("update", request.urn, token, request.id, failed=str(error))
            raise
        thing.inputs, thing.outputs = inputs, self.cloud.outputs(token, request.id, inputs)
        self.world.record("update", request.urn, token, request.id)
        return provider_pb2.UpdateResponse(properties=to_struct(thing.outputs))

    @_refusing
    def Delete(self, request: Any, context: Any) -> empty_pb2.Empty:
        token, name = _type_of(request.urn), request.urn.rsplit("::", 1)[1]
        replacement = sum(thing.urn == request.urn for thing in self.world.things()) > 1
        try:
            self.world.suffer("delete", token, name)
            thing = self.world.get(token, request.id)
            if thing is not None:
                self.cloud.check_holders(thing)
        except ProviderError as error:
            self.world.record("delete", request.urn, token, request.id, replacement=replacement, failed=str(error))
            raise
        self.world.remove(token, request.id)
        self.world.record("delete", request.urn, token, request.id, replacement=replacement)
        return empty_pb2.Empty()

    def _diff_response(self, token: str, old: Properties, new: Mapping[str, Any]) -> provider_pb2.DiffResponse:
        found = diff.differences(token, old, new)
        replacing = [difference.path for difference in found if difference.replaces]
        kinds = {
            difference.path: provider_pb2.PropertyDiff(
                kind=KINDS.Value(f"{difference.kind}_REPLACE" if difference.replaces else difference.kind),
                inputDiff=True,
            )
            for difference in found
        }
        changes = provider_pb2.DiffResponse.DIFF_SOME if found else provider_pb2.DiffResponse.DIFF_NONE
        return provider_pb2.DiffResponse(
            changes=changes,
            replaces=replacing,
            diffs=[difference.path for difference in found],
            detailedDiff=kinds,
            hasDetailedDiff=True,
            # Two of one name cannot exist side by side.
            deleteBeforeReplace=bool(replacing) and diff.same_given_name(token, old, new),
        )
