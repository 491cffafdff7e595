"""Reading Pulumi.<stack>.yaml: each way in which it can be broken gives one message, with the line where there is one.

Shows what we say; not that Pulumi itself reads the file alike (it accepts duplicate keys, for one).
"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from stacks.config import ENVIRONMENT_KEY, load_stack_file
from stacks.errors import ConfigError
from tests.unit.stacks.config_samples import MINIMAL

pytestmark = pytest.mark.unit

SYNTAX = "Tabs, missing colons and wrong indentation are the usual causes."


def lines(folder: Path, content: str | bytes, stack: str = "x") -> list[str]:
    path = folder / f"Pulumi.{stack}.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError) as error:
        load_stack_file(stack, folder)
    return [item.line() for item in error.value.errors]


def environment(text: str) -> str:
    return f"config:\n  {ENVIRONMENT_KEY}:\n{text}"


def test_a_good_file_by_name_and_by_path(tmp_path: Path) -> None:
    path = tmp_path / "Pulumi.prod.yaml"
    path.write_text(yaml.safe_dump({"config": {"kubernetes:context": "x", ENVIRONMENT_KEY: dict(MINIMAL)}}))
    config = load_stack_file("prod", tmp_path)
    assert config.model_deployments[0].name == "chat"
    assert load_stack_file(path) == load_stack_file("acme/inference-platform/prod", tmp_path) == config


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (
            "",
            "Pulumi.x.yaml: the file is empty. Describe the environment under config: inference-platform:environment:.",
        ),
        ("- 1", "Pulumi.x.yaml: must be a mapping with the key config. See Pulumi.dev.yaml for an example."),
        ("confg: {}", "Pulumi.x.yaml: has no key config. Rename confg to config."),
        ("a: 1", "Pulumi.x.yaml: has no key config. Put the configuration under config:."),
        (
            "config: []",
            "Pulumi.x.yaml: config must be a mapping of keys to values. See Pulumi.dev.yaml for an example.",
        ),
        (
            "config: {}",
            "inference-platform:environment: required, but not given: it describes the whole environment. Describe the "
            "environment under config: inference-platform:environment:.",
        ),
        (
            "config: {'inference-platform:env': {}}",
            "inference-platform:environment: required, but not given: it describes the whole environment. Rename "
            "inference-platform:env.",
        ),
        (
            "config:\n\ta: 1",
            "Pulumi.x.yaml: is not valid YAML in line 2, column 1: found character '\\t' that cannot start any token. "
            + SYNTAX,
        ),
        (
            "config:\n  a: [1, 2\n  b: 3\n",
            "Pulumi.x.yaml: is not valid YAML in line 3, column 4: expected ',' or ']', but got ':'. " + SYNTAX,
        ),
        (
            environment("    cloud: local\n    cloud: aws\n"),
            "Pulumi.x.yaml: is not valid YAML in line 4, column 5: the key 'cloud' is there twice, first in line 3. "
            "Correct this line.",
        ),
        (
            environment("    cloud: !!python/object:os.system x\n"),
            "Pulumi.x.yaml: is not valid YAML in line 3, column 12: could not determine a constructor for the tag "
            "'tag:yaml.org,2002:python/object:os.system'. Correct this line.",
        ),
        (
            environment("    cloud: 2026-99-99\n"),
            "Pulumi.x.yaml: is not valid YAML in line 3, column 12: this value cannot be read: month must be in 1..12. "
            "Correct this line.",
        ),
        (
            environment(f"    cloud: {'9' * 5000}\n"),
            "Pulumi.x.yaml: is not valid YAML in line 3, column 12: this value cannot be read: a number of thousands "
            "of "
            "digits. Correct this line.",
        ),
        (
            environment("    cloud: *nowhere\n"),
            "Pulumi.x.yaml: is not valid YAML in line 3, column 12: found undefined alias 'nowhere'. Correct this "
            "line.",
        ),
        pytest.param(
            "config: " + "[" * 100_000,
            "Pulumi.x.yaml: is nested too deeply. A configuration has at most six levels.",
            id="nested-100000-deep",
        ),
        (
            b"config:\n  a: \xff\n",
            "Pulumi.x.yaml: is not UTF-8 text (byte 0xff in line 2). Save it as UTF-8, or restore it from git.",
        ),
        (
            "config:\n  a: \x07\n",
            "Pulumi.x.yaml: is not valid YAML in line 2: a character that YAML does not allow. Remove it, or restore "
            "the "
            "file from git.",
        ),
        (
            "#" * 1_000_001,
            "Pulumi.x.yaml: has more than a megabyte: this is not a stack file. Check {path}.",
        ),
        (
            environment("    secure: v1:abc\n"),
            "environment: is an encrypted value: the environment object is shown in plans and outputs, so no secret "
            "belongs in it. Declare it in secrets, keep its value under inference-platform:secrets "
            "(docs/security.md), and refer to it by name.",
        ),
        (
            environment("    - local\n"),
            "environment: must be a mapping of keys to values (got ['local']); choose from cloud, serving_stack, "
            "region, cluster, node_pools, model_deployments, gateway, weights, production_stack and 12 more.",
        ),
    ],
    ids=str,
)
def test_a_broken_file(tmp_path: Path, content: str | bytes, line: str) -> None:
    assert lines(tmp_path, content) == [line.replace("{path}", str(tmp_path / "Pulumi.x.yaml"))]


def test_unknown_keys_of_the_project_come_with_the_other_errors(tmp_path: Path) -> None:
    config = {"inference-platform:replicas": 3, "aws:region": "x", ENVIRONMENT_KEY: {**MINIMAL, "cloud": 1}}
    assert lines(tmp_path, yaml.safe_dump({"config": config})) == [
        "inference-platform:replicas: unknown key; choose from inference-platform:environment, "
        "inference-platform:secrets. Remove it.",
        "cloud: not one of the words that can stand here (got 1); choose from local, aws, azure, gcp, existing.",
    ]
    config[ENVIRONMENT_KEY] = dict(MINIMAL)
    assert lines(tmp_path, yaml.safe_dump({"config": config})) == [
        "inference-platform:replicas: unknown key; choose from inference-platform:environment, "
        "inference-platform:secrets. Remove it.",
    ]


def test_a_secret_in_plain_text_is_told_where_the_environment_is_missing_too(tmp_path: Path) -> None:
    config = {"inference-platform:secrets": {"hugging-face": {"token": "x"}}}
    missing, plain = lines(tmp_path, yaml.safe_dump({"config": config}))
    assert missing == (
        "inference-platform:environment: required, but not given: it describes the whole environment. "
        "Describe the environment under config: inference-platform:environment:."
    )
    assert plain.startswith("inference-platform:secrets.hugging-face.token: is not encrypted. Set it with")
    config["inference-platform:enviroment"] = {}
    assert lines(tmp_path, yaml.safe_dump({"config": config})) == [
        missing.replace(
            "Describe the environment under config: inference-platform:environment:.",
            "Rename inference-platform:enviroment.",
        ),
        plain,
    ]


def test_anchors_may_repeat_and_even_contain_themselves(tmp_path: Path) -> None:
    text = environment("    &all\n    cloud: local\n    node_pools: [*all, *all]\n    engine: *all\n")
    found = lines(tmp_path, text)
    assert [line.split(":")[0] for line in found][-2:] == ["model_deployments", "engine"]
    assert all(len(line) < 1000 for line in found)


def test_a_stack_that_is_not_there(tmp_path: Path) -> None:
    for name in ("dev", "prod"):
        (tmp_path / f"Pulumi.{name}.yaml").touch()
    with pytest.raises(ConfigError) as error:
        load_stack_file("prd", tmp_path)
    assert str(error.value) == (
        f"stack: 1 error\n  stack: there is no Pulumi.prd.yaml in {tmp_path} (got 'prd'); choose from dev, prod. "
        "Did you mean prod?"
    )


@pytest.mark.parametrize("name", ["", "..", "a/", "a\0b"])
def test_what_cannot_be_a_stack(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="is not a stack's name"):
        load_stack_file(name, tmp_path)


def test_a_folder_in_place_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.x.yaml").mkdir()
    with pytest.raises(ConfigError, match=r"Pulumi\.x\.yaml: cannot be read: Is a directory\."):
        load_stack_file("x", tmp_path)
