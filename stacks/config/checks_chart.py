"""Checks of what a serving stack's chart is given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from components.versions import VLLM_STACK_CHART_VERSION
from stacks.config.models import EnvironmentConfig, ModelDeployment
from stacks.config.salvage import has
from stacks.config.shapes import show_path
from stacks.config.vocabulary import ServingStack
from stacks.errors import MISSING, FieldError, unknown_choice

CHARTS_ROUTER = "production-stack-router"

FEATURE_GATES = ("SemanticCache", "PIIDetection")
"""Of the chart's router: vllm-project/production-stack@a6c01db0 src/vllm_router/experimental/feature_gates.py."""

WRITTEN_BY_THE_CHART = {
    "--host": "containerPort, the address is every one",
    "--port": "containerPort",
    "--service-discovery": "serviceDiscovery",
    "--k8s-namespace": "serviceDiscovery",
    "--k8s-service-discovery-type": "k8sServiceDiscoveryType",
    "--k8s-label-selector": "serviceDiscovery",
    "--static-backends": "staticBackends",
    "--static-models": "staticModels",
    "--routing-logic": "routingLogic",
    "--prefix-min-match-length": "prefixMinMatchLength",
    "--session-key": "sessionKey",
    "--root-path": "rootPath",
    "--engine-stats-interval": "engineScrapeInterval",
    "--request-stats-window": "requestStatsWindow",
    "--lmcache-controller-port": "lmcacheControllerPort",
    "--lmcache-controller-reply-port": "lmcacheControllerReplyPort",
    "--lmcache-controller-heartbeat-port": "lmcacheControllerHeartbeatPort",
    "--otel-endpoint": "otel.endpoint",
    "--otel-service-name": "otel.serviceName",
    "--otel-secure": "otel.secure",
}
"""Flags of its router and the values they come from: vllm-stack 0.1.12 templates/deployment-router.yaml."""

YAML_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
"""Names that are truth values, or nothing at all, in the YAML that Helm reads."""


def check_chart(config: EnvironmentConfig, deployments: Sequence[ModelDeployment]) -> Iterator[FieldError]:
    """All errors in the values and the source of a chart.

    Args:
        config: valid, or salvaged from an invalid one.
        deployments: its model deployments.
    """
    if not has(config, "serving_stack"):
        return
    ours = config.serving_stack is ServingStack.PRODUCTION_STACK
    yield from _check_source(config, ours=ours)
    if ours:
        yield from _check_names(deployments)
    for index, deployment in enumerate(deployments):
        if not has(deployment, "chart_values") or not deployment.chart_values:
            continue
        path = f"model_deployments[{index}].chart_values"
        if not ours:
            message = f"values of a chart, but serving_stack is {config.serving_stack}"
            yield FieldError(path, MISSING, message, fix="Remove them, or set serving_stack: production-stack.")
            continue
        # The chart's models take longer to load than all else: only who gives values pays for them.
        from components.serving.production_stack.values.check import check_values

        for problem in check_values(deployment.chart_values):
            value = MISSING if problem.value is None else problem.value
            where = f"{path}.{show_path(problem.path)}" if problem.path else path
            yield FieldError(where, value, problem.message, problem.choices, problem.fix)
        yield from _check_router_arguments(deployment.chart_values.get("routerSpec"), f"{path}.routerSpec.extraArgs")


def _check_router_arguments(router: object, path: str) -> Iterator[FieldError]:
    """The chart hands them to its router as they are, which takes a wrong one for a reason to crash."""
    words = router.get("extraArgs") if isinstance(router, Mapping) else None
    if not isinstance(words, Sequence) or isinstance(words, str) or not all(isinstance(word, str) for word in words):
        return
    from planner.flags.check import check_engine_arguments

    for error in check_engine_arguments(CHARTS_ROUTER, VLLM_STACK_CHART_VERSION, words):
        value = MISSING if error.value is None else error.value
        yield FieldError(path, value, f"{error.flag} {error.message}", error.choices, error.fix)
    gates: dict[str, str] = {}
    for place, word in enumerate(words):
        flag, _, attached = word.partition("=")
        if flag in WRITTEN_BY_THE_CHART:
            fix = f"Remove it: set routerSpec.{WRITTEN_BY_THE_CHART[flag]}."
            yield FieldError(path, MISSING, f"the chart writes {flag} itself", fix=fix)
        elif flag == "--feature-gates":
            text = attached or "".join(words[place + 1 : place + 2])
            gates = {
                name.strip(): on.strip().lower() for name, _, on in (part.partition("=") for part in text.split(","))
            }
    yield from _check_gates(gates, path)
    if gates.get("SemanticCache") != "true" and any(word.startswith("--semantic-cache-") for word in words):
        message = "the semantic cache is off: its other flags do nothing"
        yield FieldError(path, MISSING, message, fix="Add --feature-gates=SemanticCache=true, or remove them.")


def _check_gates(gates: Mapping[str, str], path: str) -> Iterator[FieldError]:
    for name, on in gates.items():
        if name not in FEATURE_GATES:
            message = "is no feature gate of the router, which would ignore it in silence"
            yield unknown_choice(path, name, message, FEATURE_GATES)
        elif on not in {"true", "false"}:
            shown = f"{name}={on}"
            choices = (f"{name}=true", f"{name}=false")
            yield FieldError(path, shown, "the router takes it for false", choices, "Write true or false.")


def _check_names(deployments: Sequence[ModelDeployment]) -> Iterator[FieldError]:
    for index, deployment in enumerate(deployments):
        if has(deployment, "name") and deployment.name in YAML_WORDS:
            message = "the chart writes it without quotes, and YAML reads it as something else than a text"
            fix = f"For example model-{deployment.name}."
            yield FieldError(f"model_deployments[{index}].name", deployment.name, message, fix=fix)


def _check_source(config: EnvironmentConfig, *, ours: bool) -> Iterator[FieldError]:
    if not has(config, "production_stack"):
        return
    chart = config.production_stack
    fields = ("repository", "oci", "folder", "version", "digest")
    if not has(chart, *fields):
        return
    given = [name for name in fields if getattr(chart, name) is not None]
    if given and not ours:
        message = f"the source of a chart, but serving_stack is {config.serving_stack}"
        fix = "Remove it, or set serving_stack: production-stack."
        yield FieldError(f"production_stack.{given[0]}", getattr(chart, given[0]), message, fix=fix)
    sources = [name for name in given if name in {"repository", "oci", "folder"}]
    if len(sources) > 1:
        message = f"given together with {' and '.join(sources[:-1])}"
        yield FieldError(f"production_stack.{sources[-1]}", getattr(chart, sources[-1]), message, fix="Keep one.")
    if chart.digest is not None and chart.oci is None:
        yield FieldError("production_stack.digest", chart.digest, "only an OCI artifact has one", fix="Remove it.")
    if chart.version is not None and chart.folder is not None:
        yield FieldError("production_stack.version", chart.version, "a folder has its own", fix="Remove it.")
