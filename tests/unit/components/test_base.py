"""Options that components give to their children.

Checks what is asked of the engine; that it does so (creation and destruction in this order) is for the engine tests.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.apps.v1 import Deployment
from pulumi_kubernetes.core.v1 import Namespace

from components.base import Component
from components.gateway.gateway import Gateway
from components.serving.manifests import ModelDeployment
from stacks.config import load_environment
from stacks.environment import build_environment
from tests.unit.conftest import Engine

pytestmark = pytest.mark.unit


class Sample(Component):
    """A component without children."""

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None, after: Any = ()) -> None:
        super().__init__("samples", name, opts, after)
        self.register_outputs({})


def test_the_type_token(engine: Engine) -> None:
    engine.run(lambda: Sample("one"))
    assert list(engine.components()) == [("inference-platform:samples:Sample", "one")]


def test_children_get_the_component_as_parent_and_nothing_of_the_callers(engine: Engine) -> None:
    def program() -> None:
        first = Sample("first")
        second = Sample("second")
        callers = pulumi.ResourceOptions(
            aliases=[pulumi.Alias(name="old")], protect=True, ignore_changes=["a"], depends_on=[second]
        )
        component = Sample("one", callers, after=(first,))
        options = component.child(second, ignore_changes=["spec.replicas"], timeout="2m")
        assert options.parent is component
        assert options.depends_on == [first, second]
        assert options.ignore_changes == ["spec.replicas"]
        assert options.custom_timeouts is not None
        assert (options.custom_timeouts.create, options.custom_timeouts.update) == ("2m", "2m")
        assert options.aliases is None
        assert options.protect is None
        assert component.child().ignore_changes is None
        assert component.child().custom_timeouts is None

    engine.run(program)


def test_what_comes_after_what(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Namespace after nodes; everything in it after the namespace; a ScaledObject after its Deployment and route."""
    made: list[tuple[str, str, pulumi.ResourceOptions | None]] = []
    original = pulumi.Resource.__init__

    def init(self: pulumi.Resource, t: str, name: str, *rest: Any, **named: Any) -> None:
        opts = named.get("opts", rest[2] if len(rest) > 2 else None)
        made.append((t, name, opts))
        original(self, t, name, *rest, **named)

    monkeypatch.setattr(pulumi.Resource, "__init__", init)
    with socket.create_server(("127.0.0.1", 0)) as server:
        file = tmp_path / "kubeconfig"
        address = f"https://127.0.0.1:{server.getsockname()[1]}"
        file.write_text(yaml.safe_dump({"clusters": [{"name": "local", "cluster": {"server": address}}]}))
        monkeypatch.setenv("INFERENCE_PLATFORM_KUBECONFIG", str(file))
        raw = {
            "cloud": "local",
            "node_pools": [{"name": "l4", "instance_type": "g6.12xlarge", "max_nodes": 2}],
            "model_deployments": [
                {"name": "chat", "source": {"hugging_face": "Qwen/Qwen2.5-Coder-7B-Instruct"}, "node_pool": "l4"}
            ],
        }
        engine.run(lambda: build_environment(load_environment(raw, "test"), "test"))

    def after(opts: pulumi.ResourceOptions | None) -> list[Any]:
        depends_on = opts.depends_on if opts else None
        return list(depends_on) if isinstance(depends_on, list) else []

    (namespace,) = (opts for t, _, opts in made if t.endswith(":Namespace"))
    assert len(after(namespace)) == 3
    inside = [(t, name, opts) for t, name, opts in made if opts and isinstance(opts.parent, (Gateway, ModelDeployment))]
    assert len(inside) == 4 + 11
    for t, name, opts in inside:
        assert isinstance(after(opts)[0], Namespace), (t, name)
    (scaling,) = (opts for t, _, opts in made if t.endswith(":ScaledObject"))
    assert [type(resource) for resource in after(scaling)] == [Namespace, Deployment, CustomResource]
