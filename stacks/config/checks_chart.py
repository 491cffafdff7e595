"""Checks of what a serving stack's chart is given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stacks.config.models import EnvironmentConfig, ModelDeployment
from stacks.config.salvage import has
from stacks.config.shapes import show_path
from stacks.config.vocabulary import ServingStack
from stacks.errors import MISSING, FieldError

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
