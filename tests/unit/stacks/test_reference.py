"""The reference: the Markdown in docs/ is fresh, the schema describes what the types accept.

Shows agreement with the types and with Pulumi.dev.yaml; not that an editor understands the schema: no JSON Schema
validator is installed, so the schema itself is read here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from stacks import reference
from stacks.cli import app
from stacks.config import ENVIRONMENT_KEY, EnvironmentConfig, load_environment

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[3]


def resolve(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    return node


def test_the_markdown_in_docs_is_fresh() -> None:
    written = (ROOT / "docs" / "config.md").read_text(encoding="utf-8")
    assert written == reference.markdown(), "run `make docs`"


def test_the_command_prints_the_same() -> None:
    run = CliRunner()
    assert run.invoke(app, ["schema", "--markdown"]).stdout == reference.markdown()
    assert json.loads(run.invoke(app, ["schema"]).stdout) == reference.environment_schema()
    assert json.loads(run.invoke(app, ["schema", "--stack-file"]).stdout) == reference.stack_file_schema()


def test_every_field_is_documented_with_its_meaning() -> None:
    schema = reference.environment_schema()
    for node in (schema, *schema["$defs"].values()):
        assert node.get("description") or "enum" in node
        for name, field in node.get("properties", {}).items():
            assert field.get("description") or resolve(schema, field).get("description"), name
            assert f"| `{name}` | " in reference.markdown()


def test_defaults_are_written_as_in_the_file() -> None:
    rows = reference.markdown().splitlines()
    assert [row for row in rows if row.startswith("| `paused` | `true` or `false` | `false` | ")]
    assert not [row for row in rows if "| `False` |" in row or "| `True` |" in row]


def test_the_schema_closes_every_object_and_names_the_words() -> None:
    schema = reference.environment_schema()
    assert schema["required"] == ["cloud", "node_pools", "model_deployments"]
    for node in (schema, *schema["$defs"].values()):
        if node["type"] == "object":
            assert node["additionalProperties"] is False
    assert resolve(schema, schema["properties"]["cloud"])["enum"] == ["local", "aws", "azure", "gcp", "existing"]
    pool = resolve(schema, schema["properties"]["node_pools"]["items"])
    assert pool["properties"]["sharing"]["discriminator"]["propertyName"] == "mode"
    assert sorted(pool["properties"]["sharing"]["discriminator"]["mapping"]) == ["mig", "mps", "none", "time-slicing"]


def test_the_schema_of_the_stack_file_wraps_that_of_the_environment() -> None:
    whole, part = reference.stack_file_schema(), reference.environment_schema()
    inner = whole["properties"]["config"]["properties"][ENVIRONMENT_KEY]
    assert inner == {key: value for key, value in part.items() if key not in {"$defs", "$schema"}}
    assert whole["$defs"] == part["$defs"]


def test_the_dev_stack_is_accepted_and_uses_only_keys_of_the_schema() -> None:
    document = yaml.safe_load((ROOT / "Pulumi.dev.yaml").read_text(encoding="utf-8"))
    raw = document["config"][ENVIRONMENT_KEY]
    assert isinstance(load_environment(raw, "dev"), EnvironmentConfig)
    schema = reference.environment_schema()

    def keys(value: Any, node: dict[str, Any]) -> None:
        node = resolve(schema, node)
        node = resolve(schema, next((item for item in node.get("anyOf", []) if "$ref" in item), node))
        if isinstance(value, dict):
            assert set(value) <= set(node["properties"])
            for key, child in value.items():
                keys(child, node["properties"][key])
        if isinstance(value, list):
            for child in value:
                keys(child, node["items"])

    keys(raw, schema)


def test_the_project_declares_the_key() -> None:
    project = yaml.safe_load((ROOT / "Pulumi.yaml").read_text(encoding="utf-8"))
    assert project["name"] == "inference-platform"
    assert project["runtime"] == "python"
    assert project["config"][ENVIRONMENT_KEY]["type"] == "object"
    assert "docs/config.md" in project["config"][ENVIRONMENT_KEY]["description"]
