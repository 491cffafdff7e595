"""Labels and selectors. Does not prove that Kubernetes accepts them: label syntax is checked by the API server."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.labels import EnvironmentLabels, Workload

pytestmark = pytest.mark.unit

NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)


@given(NAMES, NAMES, st.sampled_from(Workload), st.none() | NAMES)
def test_a_selector_selects_its_own_environment_only(
    one: str, other: str, workload: Workload, model: str | None
) -> None:
    selector = EnvironmentLabels(one).selector(workload, model)
    pods = EnvironmentLabels(other).of(workload, model)
    selected = selector.items() <= pods.items()
    assert selected == (one == other)


@given(NAMES, NAMES, NAMES)
def test_a_model_selector_selects_its_own_model_only(environment: str, one: str, other: str) -> None:
    labels = EnvironmentLabels(environment)
    selected = labels.selector(Workload.ENGINE, one).items() <= labels.of(Workload.ENGINE, other).items()
    assert selected == (one == other)


def test_all_labels_of_an_engine() -> None:
    assert EnvironmentLabels("dev").of(Workload.ENGINE, "chat") == {
        "app.kubernetes.io/name": "chat-engine",
        "app.kubernetes.io/part-of": "inference-platform",
        "app.kubernetes.io/managed-by": "pulumi",
        "inference.platform/environment": "dev",
        "inference.platform/component": "engine",
        "inference.platform/model": "chat",
    }


def test_the_gateway_has_no_model() -> None:
    assert EnvironmentLabels("dev").selector(Workload.GATEWAY) == {
        "inference.platform/environment": "dev",
        "inference.platform/component": "gateway",
    }


@pytest.mark.parametrize("name", ["", "Dev", "a_b", "-a", "a-", "a.b", "a" * 54])
def test_a_name_that_cannot_be_a_namespace_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="at most 53"):
        EnvironmentLabels(name)


def test_the_longest_name_makes_the_longest_namespace() -> None:
    assert len(EnvironmentLabels("a" * 53).namespace) == 63
