"""One cloud, one SDK: what is imported for it, and what its extra installs.

Does not install anything: `pip install '.[aws]'` does, and needs a package registry.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from components.clouds import CLOUDS

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]
SDKS = {"aws": "pulumi_aws", "azure": "pulumi_azure_native", "gcp": "pulumi_gcp"}
CLIENTS = {"aws": ("boto3", "botocore"), "azure": ("azure.mgmt", "azure.identity"), "gcp": ("google.cloud",)}
"""With which preflight reads accounts; a program needs none."""

BUILD = """
import sys
from components.clouds import load_cloud
import stacks.environment

load_cloud({cloud!r})
print(*sys.modules, sep="\\n")
"""


@pytest.mark.parametrize("cloud", CLOUDS)
def test_only_the_chosen_clouds_sdk_is_imported(cloud: str) -> None:
    """By all that a program imports for an environment on it."""
    code = BUILD.format(cloud=cloud)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    modules = done.stdout.splitlines()
    found = {name.split(".")[0] for name in modules} & set(SDKS.values())
    assert found == ({SDKS[cloud]} if cloud in SDKS else set())
    others = [name for name in modules if re.fullmatch(r"components\.clouds\.\w+\.(cloud|cluster)", name)]
    assert {name.split(".")[2] for name in others} == {cloud}
    clients = tuple(name for names in CLIENTS.values() for name in names)
    assert [name for name in modules if name.startswith(clients)] == []


def test_each_extra_has_its_own_sdk_at_one_version_and_no_other() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for cloud, sdk in SDKS.items():
        pinned = [item for item in project["optional-dependencies"][cloud] if item.startswith("pulumi")]
        assert len(pinned) == 1
        assert re.fullmatch(rf"{sdk.replace('_', '-')}==\d+\.\d+\.\d+", pinned[0])
    assert not [
        item
        for item in project["dependencies"]
        if item.startswith(tuple(f"{sdk.replace('_', '-')}==" for sdk in SDKS.values()))
    ]


def test_what_is_installed_is_what_is_here() -> None:
    """A package or a table that is left out would be missed only where it is installed."""
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    included = {pattern.removesuffix("*") for pattern in setuptools["packages"]["find"]["include"]}
    folders = {file.parent.name for file in ROOT.glob("*/*.py")} - {"tests", "build"}
    assert included == folders
    shipped = {pattern.removeprefix("*") for pattern in setuptools["package-data"]["*"]}
    read = {file.suffix for name in ("components", "stacks", "planner", "local") for file in (ROOT / name).rglob("*")}
    assert read - {"", ".py", ".pyc"} <= shipped
