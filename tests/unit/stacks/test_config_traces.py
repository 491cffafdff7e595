"""Traces of engines: what is refused, what engines are told on both serving stacks, which way is opened.

Does not prove that a span arrives: the simulated engine sends none.
"""

from __future__ import annotations

from typing import Any

import pytest

from components.serving.traces import TracesArgs
from planner.flags.check import check_engine_arguments
from stacks.engines import further_engine_args
from stacks.isolation import trace_ports
from tests.rendered import command_lines
from tests.unit.components.samples import CHAT, deployment
from tests.unit.stacks.config_samples import errors, loaded, sample

pytestmark = pytest.mark.unit

ENGINE = "model_deployments__0__engine"
TRACES = f"{ENGINE}__traces"
WHERE = "model_deployments[0].engine.traces"
GRPC = {"endpoint": "http://collector.monitoring:4317"}


@pytest.mark.parametrize(
    ("changes", "start"),
    [
        ({TRACES: {}}, f"{WHERE}.endpoint: required, but not given"),
        ({TRACES: {"endpoint": "collector:4317"}}, f"{WHERE}.endpoint: "),
        ({TRACES: {"endpoint": "http://me:pw@collector:4317"}}, f"{WHERE}.endpoint: "),
        ({TRACES: {"endpoint": "http://collector:99999"}}, f"{WHERE}.endpoint: 99999 is no port"),
        (
            {TRACES: {"endpoint": "http://collector:4318", "protocol": "http"}},
            f"{WHERE}.endpoint: vLLM sends to this address as it is, and a receiver takes traces by HTTP below a path "
            "(got 'http://collector:4318'). Write http://collector:4318/v1/traces, or set protocol: grpc.",
        ),
        (
            {TRACES: {"endpoint": "http://collector:4317/v1/traces"}},
            f"{WHERE}.endpoint: gRPC knows no path: the receiver would be asked for another service",
        ),
        ({TRACES: {**GRPC, "sample_ratio": 2}}, f"{WHERE}.sample_ratio: must be a number from 0 to 1"),
        ({TRACES: GRPC, f"{ENGINE}__name": "sglang"}, f"{WHERE}: is written in vLLM's flags, and the engine is sglang"),
        (
            {TRACES: GRPC, f"{ENGINE}__extra_args": {"otlp_traces_endpoint": "http://a:1"}},
            "model_deployments[0].engine.extra_args.otlp_traces_endpoint: traces writes --otlp-traces-endpoint itself",
        ),
    ],
)
def test_what_is_refused(changes: dict[str, Any], start: str) -> None:
    (line,) = errors(sample(**changes))
    assert line.startswith(start), line


@pytest.mark.parametrize("stack", ["manifests", "production-stack"])
def test_the_engine_is_told_on_both_serving_stacks(stack: str) -> None:
    config = loaded(serving_stack=stack, **{TRACES: GRPC})
    engine, router = command_lines(config, "dev")
    assert "--otlp-traces-endpoint=http://collector.monitoring:4317" in engine.words
    assert check_engine_arguments(engine.engine, engine.version, engine.words) == []
    assert not [word for word in router.words if "otlp" in word or "otel" in word]


def test_variables_and_the_way_out() -> None:
    url = "http://collector.monitoring:4318/v1/traces"
    config = loaded(**{TRACES: {"endpoint": url, "protocol": "http", "sample_ratio": 0.25}})
    traces = further_engine_args(config.model_deployments[0].engine)["traces"]
    (workers,) = deployment(engine=type(CHAT.engine)(model="a/b", traces=traces)).workers
    assert workers.variables == {
        "OTEL_SERVICE_NAME": "chat",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0.25",
    }
    assert trace_ports(config.model_deployments) == (4318,)
    assert trace_ports(loaded().model_deployments) == ()


@pytest.mark.parametrize("wrong", [{"protocol": "udp"}, {"sample_ratio": 1.5}])
def test_what_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"protocol|sample_ratio"):
        TracesArgs(endpoint="http://a:1", **wrong)
