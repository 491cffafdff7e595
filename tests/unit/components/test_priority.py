"""Which engines give way where GPUs are short.

Does not prove that the scheduler preempts: Kubernetes' own tests do.
"""

from __future__ import annotations

from typing import Any

import pytest

from components.serving.manifests import Manifests
from components.serving.production_stack.render import chart_values
from tests.unit.components.samples import context, deployment
from tests.unit.conftest import Engine

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("chosen", ["", "batch"])
def test_the_class_is_the_engines_alone(engine: Engine, chosen: str) -> None:
    """In our Deployments and in the chart's; routers hold the requests of all and stay."""
    values: list[dict[str, Any]] = []

    def program() -> None:
        where, model = context(), deployment(priority_class=chosen)
        Manifests(where).deploy(model)
        values.append(chart_values(where, model, runtime_class="", extra={}).render())

    engine.run(program)
    pods = {
        name: engine.one("apps/v1:Deployment", name)["spec"]["template"]["spec"]
        for name in ("chat-engine", "chat-router")
    }
    (spec,) = values[0]["servingEngineSpec"]["modelSpec"]
    expected = chosen or None
    assert pods["chat-engine"].get("priorityClassName") == spec.get("priorityClassName") == expected
    assert pods["chat-router"].get("priorityClassName") is None
