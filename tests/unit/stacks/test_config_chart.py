"""The chart's values and source in the configuration.

What each mistake in the values says is the matter of tests/unit/components/test_chart_values.py.
"""

from __future__ import annotations

import pytest

from tests.unit.stacks.config_samples import errors, loaded, sample

pytestmark = pytest.mark.unit

STACK = {"serving_stack": "production-stack"}


def test_values_are_refused_with_their_path() -> None:
    values = {"servingEngineSpec": {"modelSpec": {"vllmConfig": {"enablePrefixCachin": True}}}}
    (line,) = errors(sample(**STACK, model_deployments__0__chart_values=values))
    assert line.startswith(
        "model_deployments[0].chart_values.servingEngineSpec.modelSpec.vllmConfig.enablePrefixCachin: unknown key; "
        "the chart would ignore it in silence (got True); choose from enablePrefixCaching"
    )
    assert line.endswith("Did you mean enablePrefixCaching?")


def test_values_without_the_chart() -> None:
    (line,) = errors(sample(model_deployments__0__chart_values={"routerSpec": {}}))
    assert line == (
        "model_deployments[0].chart_values: values of a chart, but serving_stack is manifests. "
        "Remove them, or set serving_stack: production-stack."
    )


@pytest.mark.parametrize(
    ("source", "path"),
    [
        ({"oci": "oci://a/b", "folder": "/c"}, "production_stack.folder"),
        ({"digest": "sha256:" + "0" * 64}, "production_stack.digest"),
        ({"folder": "/c", "version": "0.1.12"}, "production_stack.version"),
        ({"version": "latest"}, "production_stack.version"),
    ],
)
def test_a_source_that_contradicts_itself(source: dict[str, str], path: str) -> None:
    (line,) = errors(sample(**STACK, production_stack=source))
    assert line.startswith(f"{path}: ")


def test_a_source_without_the_chart() -> None:
    (line,) = errors(sample(production_stack={"folder": "/c"}))
    assert line.startswith("production_stack.folder: the source of a chart, but serving_stack is manifests")


@pytest.mark.parametrize("name", ["on", "null", "y"])
def test_a_name_that_the_charts_yaml_takes_for_something_else(name: str) -> None:
    """Seen with the real chart: its labels are not quoted, and the API refuses a boolean there."""
    (line,) = errors(sample(**STACK, model_deployments__0__name=name))
    assert line.startswith("model_deployments[0].name: the chart writes it without quotes")
    assert errors(sample(model_deployments__0__name=name)) == []


def test_the_stack_can_be_chosen_on_the_local_cloud() -> None:
    config = loaded(**STACK, production_stack={"oci": "oci://a/b", "digest": "sha256:" + "0" * 64})
    assert config.production_stack.oci == "oci://a/b"


ROUTER = {"enableRouter": True, "repository": "lmcache/lmstack-router", "tag": "v0.1.12"}
EXTRA = "model_deployments[0].chart_values.routerSpec.extraArgs"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["--feature-gates", "SemanticCache=true", "--semantic-cache-treshold", "0.9"],
            "--semantic-cache-treshold is no flag of production-stack-router 0.1.12 (got '0.9'); choose from "
            "--semantic-cache-threshold",
        ),
        (["--feature-gates=SemanticCache=true", "--semantic-cache-threshold=x"], "--semantic-cache-threshold must be "),
        (
            ["--semantic-cache-threshold", "0.9"],
            "the semantic cache is off: its other flags do nothing. Add --feature-gates=SemanticCache=true, or remove",
        ),
        (
            ["--feature-gates", "SemanticCashe=true"],
            "is no feature gate of the router, which would ignore it in silence (got 'SemanticCashe'); choose from "
            "SemanticCache, PIIDetection. Did you mean SemanticCache?",
        ),
        (
            ["--feature-gates=SemanticCache=on"],
            "the router takes it for false (got 'SemanticCache=on'); choose from SemanticCache=true, SemanticCache=f",
        ),
        (["--routing-logic", "session", "--session-key", "x"], "the chart writes --routing-logic itself. Remove it: "),
    ],
)  # fmt: skip
def test_arguments_of_the_charts_router_are_checked(words: list[str], line: str) -> None:
    values = {"routerSpec": {**ROUTER, "extraArgs": words}}
    assert errors(sample(**STACK, model_deployments__0__chart_values=values))[0].startswith(f"{EXTRA}: {line}")


def test_a_semantic_cache_as_an_option() -> None:
    words = ["--feature-gates", "SemanticCache=true", "--semantic-cache-threshold", "0.9", "--log-format", "json"]
    values = {"routerSpec": {**ROUTER, "extraArgs": words}}
    assert errors(sample(**STACK, model_deployments__0__chart_values=values)) == []
